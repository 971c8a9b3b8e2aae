"""The operator as a process, an emulated Google Cloud and each API server, driven and seen from outside.

Servers and the operator live until a worker turns to another folder's tests; every test has a namespace and a
project of its own.
"""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.scene import Scene
from tests.e2e.stage import Stage, set_stage, with_operator
from tests.e2e.tenants import LENT, Tenants
from tests.servers.kube_apis import KUBE_APIS

SEED = Path(__file__).parents[2] / "examples" / "seed.yaml"

VAULT = """
projectID: acme-vault
secrets:
- name: stripe-key
  policy:
  - {role: roles/secretmanager.secretAccessor, members: ["group:billing@example.com"]}
"""
SAFE = """
projectID: acme-safe
secrets: [{name: paypal-key}]
"""
"""Two more projects of the seed, because secrets cannot be created."""

ALONE, HOME, AWAY = "acme-alone", "acme-home", "acme-away"
SHOP = {"location": "europe-west1", "name": "shop"}
SHARES_ACCOUNTS = {"constraint": "iam.disableCrossProjectServiceAccountUsage", "enforce": False}
OUTSIDE: list[dict[str, Any]] = [
    {"projectID": "acme-closed", "parent": ""},
    {"projectID": ALONE, "parent": "", "services": [SHOP]},
    {"projectID": HOME, "parent": "", "services": [SHOP]},
    {"projectID": AWAY, "parent": "", "orgPolicies": [SHARES_ACCOUNTS]},
]
"""And some that lie in no organization, so that nobody may do anything there that they do not grant."""

OPEN_PROJECT = """
kind: ManagedProject
metadata: {name: $scene}
spec:
  driftInterval: 1s
  locations: [europe-west1]
  namespaces: {names: [$scene]}
  guardrails:
    grants:
    - roles: [roles/viewer, roles/cloudsql.client, roles/logging.logWriter]
      targetKinds: [Project]
      members: ["*"]
"""
"""Lent to the scene's namespace, with a few harmless roles to be granted on it."""


@pytest.fixture(scope="package", params=KUBE_APIS)
def kube_api_name(request: pytest.FixtureRequest) -> str:
    """The API server that a test runs on; part of its id."""
    name: str = request.param
    return name


@pytest.fixture(scope="package")
def shared_stage(kube_api_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    run_dir = tmp_path_factory.mktemp(kube_api_name)
    seeded = [yaml.safe_load(VAULT), yaml.safe_load(SAFE), *OUTSIDE]
    projects = [*yaml.safe_load(SEED.read_text())["projects"], *seeded]
    with set_stage(kube_api_name, run_dir, with_operator({"projects": projects})) as stage:
        yield stage


@pytest.fixture
def stage(shared_stage: Stage) -> Stage:
    """The folder's stage with its operator at work and its cloud in health."""
    shared_stage.google.ensure()
    shared_stage.cloud.recover()
    shared_stage.ensure_operator()
    return shared_stage


@pytest.fixture
def closed_scene(stage: Stage) -> Iterator[Scene]:
    """A scene whose project nobody has lent yet."""
    scene = Scene(stage, f"e2e-{uuid.uuid4().hex[:10]}")
    yield scene
    scene.end()


@pytest.fixture
def scene(closed_scene: Scene) -> Scene:
    """A scene whose project is lent to its namespace."""
    closed_scene.apply(OPEN_PROJECT)
    return closed_scene


@pytest.fixture(scope="module")
def tenants(shared_stage: Stage) -> Iterator[Tenants]:
    """Two teams on one project, whose objects stand."""
    shared_stage.google.ensure()
    shared_stage.cloud.recover()
    shared_stage.ensure_operator()
    scene = Scene(shared_stage, f"lent-{uuid.uuid4().hex[:8]}")
    tenants = Tenants(scene)
    scene.apply(tenants.text(LENT))
    scene.ready(f"ManagedProject/{tenants.vault}", "CloudRunIdentity/checkout")
    scene.ready("CloudRunIdentity/mallory", namespace=tenants.mallory)
    yield tenants
    scene.end()
