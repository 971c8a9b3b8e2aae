"""Fixtures that drive the operator's process from outside, with an emulated Google Cloud and each API server.

A worker keeps the servers and the operator until it starts the tests of another folder. Every test has a
namespace and a project of its own.
"""

import uuid
from collections.abc import Callable, Generator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.examples import Example
from tests.e2e.manifests import IDENTITY, PROJECT_WITH_KEYS
from tests.e2e.scene import Scene
from tests.e2e.stage import OPERATOR, Stage, set_stage, with_operator
from tests.e2e.tenants import DELEGATED, Tenants
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
HIDDEN = """
projectID: acme-hidden
secrets: [{name: stripe-key}]
"""
"""Projects with secrets, which the emulator's API cannot create. Each is for the tests of one module: a scene
leaves its ManagedProjects suspended, and a second one on the same project is a conflict."""

FULL_PROJECT, LACKING, UNKNOWN = "acme-crowded", "acme-lacking", "acme-unknown"
KEYLESS, SHARED = "acme-keyless", "acme-shared"
"""Projects in which the failures of `test_on_call.py` happen."""

FULL = """
projectID: acme-full
quotas: {serviceAccounts: 1}
serviceAccounts: [{accountID: filler}]
"""
"""Project that has the maximum number of service accounts."""

ALONE, HOME, AWAY = "acme-alone", "acme-home", "acme-away"
SHOP = {"location": "europe-west1", "name": "shop"}
LOOKING = ["resourcemanager.projects.get", "iam.serviceAccounts.get", "iam.serviceAccounts.list"]
SHARES_ACCOUNTS = {"constraint": "iam.disableCrossProjectServiceAccountUsage", "enforce": False}
OUTSIDE: list[dict[str, Any]] = [
    {"projectID": "acme-closed", "parent": ""},
    {"projectID": "acme-narrow", "parent": "", "serviceAccounts": [{"accountID": "legacy"}]},
    {"projectID": ALONE, "parent": "", "services": [SHOP]},
    {"projectID": HOME, "parent": "", "services": [SHOP]},
    {"projectID": AWAY, "parent": "", "orgPolicies": [SHARES_ACCOUNTS]},
    {
        "projectID": LACKING,
        "parent": "",
        "roles": [{"roleID": "lookout", "permissions": LOOKING}],
        "policy": [{"role": f"projects/{LACKING}/roles/lookout", "members": [f"serviceAccount:{OPERATOR}"]}],
    },
    {"projectID": UNKNOWN, "parent": ""},
    {
        "projectID": FULL_PROJECT,
        "quotas": {"serviceAccounts": 1},
        "serviceAccounts": [{"accountID": "filler"}],
    },
    {
        "projectID": KEYLESS,
        "orgPolicies": [{"constraint": "iam.disableServiceAccountKeyCreation", "enforce": True}],
    },
    {"projectID": SHARED, "orgPolicies": [SHARES_ACCOUNTS]},
]
"""Projects without an organization, where only their own policies grant permissions, and limited ones."""

OPEN_PROJECT = """
kind: ManagedProject
metadata: {name: $scene}
spec:
  driftInterval: 1s
  locations: [europe-west1]
  namespaces: {names: [$scene]}
  guardrails:
    grants:
    - roles: [roles/cloudsql.client, roles/logging.logWriter]
      targetKinds: [Project]
      members: ["*"]
      namespaces: ["*"]
    - roles: [roles/viewer]
      targetKinds: [Project]
      members: ["*"]
      namespaces: ["*"]
      allowEscalation: true
"""
"""Project that is delegated to the scene's namespace, with a few roles."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the state of the operators to the report of a failed test: one that ended answers no condition."""
    report = yield
    stage = item.funcargs.get("shared_stage")
    if report.failed and isinstance(stage, Stage):
        report.sections.append(("Operators", stage.operators_text()))
    return report


@pytest.fixture(scope="package", params=KUBE_APIS)
def kube_api_name(request: pytest.FixtureRequest) -> str:
    """Return the name of the API server; part of the test's ID."""
    name: str = request.param
    return name


@pytest.fixture(scope="package")
def shared_stage(kube_api_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    run_dir = tmp_path_factory.mktemp(kube_api_name)
    seeded = [*map(yaml.safe_load, (VAULT, SAFE, HIDDEN, FULL)), *OUTSIDE]
    projects = [*yaml.safe_load(SEED.read_text())["projects"], *seeded]
    with set_stage(kube_api_name, run_dir, with_operator({"projects": projects})) as stage:
        yield stage


@pytest.fixture
def stage(shared_stage: Stage) -> Stage:
    """Provide the shared stage with a running operator and no pending faults."""
    _prepare(shared_stage)
    return shared_stage


def _prepare(stage: Stage) -> None:
    stage.google.ensure()
    stage.cloud.recover()
    stage.ensure_operator()


@pytest.fixture
def closed_scene(stage: Stage) -> Iterator[Scene]:
    """Provide a scene whose project is not delegated yet."""
    scene = Scene(stage, f"e2e-{uuid.uuid4().hex[:10]}")
    yield scene
    scene.end()


@pytest.fixture
def scene(closed_scene: Scene) -> Scene:
    """Provide a scene whose project is delegated to its namespace."""
    closed_scene.apply(OPEN_PROJECT)
    return closed_scene


@pytest.fixture
def scene_with_keys(closed_scene: Scene) -> Iterator[Scene]:
    """Provide a scene that admits keys, with an identity; reset the clock of keys afterwards."""
    closed_scene.apply(PROJECT_WITH_KEYS)
    closed_scene.apply(IDENTITY)
    closed_scene.ready("CloudRunIdentity/checkout")
    yield closed_scene
    closed_scene.stage.set_key_clock(timedelta())


@pytest.fixture
def example(stage: Stage) -> Iterator[Callable[[str], Example]]:
    """Provide the examples by the names of their folders, and delete them at the end."""
    used: list[Example] = []

    def provide(name: str) -> Example:
        used.append(Example(stage, name))
        return used[-1]

    yield provide
    for each in used:
        each.delete()
    for each in used:
        each.deleted()


@pytest.fixture
def tenants(two_teams: Tenants, stage: Stage) -> Tenants:
    """Provide two teams with Ready objects on one project, and a running operator."""
    assert two_teams.scene.stage is stage
    return two_teams


@pytest.fixture(scope="module")
def two_teams(shared_stage: Stage) -> Iterator[Tenants]:
    """Provide the two teams of all tests of a module."""
    _prepare(shared_stage)
    scene = Scene(shared_stage, f"team-{uuid.uuid4().hex[:8]}")
    tenants = Tenants(scene)
    scene.apply(tenants.text(DELEGATED))
    scene.ready(f"ManagedProject/{tenants.vault}", f"ManagedProject/{tenants.careless}")
    scene.ready("CloudRunIdentity/checkout")
    scene.ready("CloudRunIdentity/mallory", "CloudRunIdentity/careless", namespace=tenants.mallory)
    yield tenants
    scene.end()
