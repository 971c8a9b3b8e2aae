"""Test that a project with many accounts and teams is exported, planned and applied without a change."""

import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.cloud import LOCATION
from tests.e2e.cluster import Object
from tests.e2e.eventually import eventually
from tests.e2e.stage import OPERATOR_NAMESPACE, Stage, set_stage, with_operator
from tests.time_budget import HUNG_AFTER

TEAMS = 5
ACCOUNTS_OF_TEAM = 12
PROJECT = "acme-large"
KINDS = ("CloudRunIdentity", "IAMBinding", "IdentityAttachment")
READING = ("Get", "List", "Query", "Test")


def email(account_id: str) -> str:
    return f"{account_id}@{PROJECT}.iam.gserviceaccount.com"


def member(account_id: str) -> str:
    return f"serviceAccount:{email(account_id)}"


def large_project() -> dict[str, Any]:
    """Return the seed of a project with teams that follow a naming convention.

    The policy of the project stays below Google's limit of 1,500 principals.
    """
    teams = [f"team-{number:02}" for number in range(TEAMS)]
    accounts = [f"{team}-app-{number:02}" for team in teams for number in range(ACCOUNTS_OF_TEAM)]
    return {
        "projectID": PROJECT,
        "quotas": {"serviceAccounts": len(accounts) + 1},
        "serviceAccounts": [
            {
                "accountID": each,
                "policy": [
                    {
                        "role": "roles/iam.serviceAccountUser",
                        "members": [f"group:{each[:7]}@example.com", member("deployer")],
                    }
                ],
            }
            for each in accounts
        ]
        + [{"accountID": "deployer"}],
        "services": [
            {
                "location": LOCATION,
                "name": each,
                "serviceAccount": email(each),
                "policy": [{"role": "roles/run.invoker", "members": [f"group:{each[:7]}@example.com"]}],
            }
            for each in accounts[::10]
        ],
        "policy": [
            {"role": "roles/logging.logWriter", "members": [member(each) for each in accounts]},
            {"role": "roles/cloudsql.client", "members": [member(each) for each in accounts[::3]]},
            {"role": "roles/run.viewer", "members": [f"group:{team}@example.com" for team in teams]},
        ],
    }


@pytest.fixture
def large_stage(kube_api_name: str, tmp_path: Path) -> Iterator[Stage]:
    seed = with_operator({"projects": [large_project()]})
    with set_stage(kube_api_name, tmp_path, seed) as stage:
        yield stage


@pytest.fixture
def measured(
    large_stage: Stage, record_property: Callable[[str, object], None]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Provide a function that runs a command, and records its seconds and calls in the report."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        before, start = large_stage.cloud.calls(), time.monotonic()
        result = subprocess.run(
            [
                *(sys.executable, "-m", "cloudrun_identity", *arguments),
                f"--google-endpoint={large_stage.google.grpc_address}",
            ],
            capture_output=True,
            text=True,
            timeout=HUNG_AFTER,
            check=False,
        )
        record_property(f"{arguments[0]} seconds", round(time.monotonic() - start, 1))
        record_property(f"{arguments[0]} calls", json.dumps(summary(large_stage.cloud.calls() - before)))
        return result

    return run


def summary(calls: Counter[str]) -> dict[str, int]:
    return {rpc.rpartition(".")[2]: count for rpc, count in sorted(calls.items())}


def applied(stage: Stage, directory: Path) -> list[Object]:
    """Create the namespaces, and apply the files of a directory."""
    objects = [obj for file in sorted(directory.iterdir()) for obj in yaml.safe_load_all(file.read_text())]
    for namespace in namespaces_of(objects):
        stage.cluster.create_namespace(namespace)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(stage.cluster.apply, objects))
    return objects


def namespaces_of(objects: list[Object]) -> list[str]:
    (project,) = (obj for obj in objects if obj["kind"] == "ManagedProject")
    return [*project["spec"]["namespaces"]["names"]]


def unready(stage: Stage, objects: list[Object]) -> list[str]:
    """Return the objects that are not Ready, with the messages."""
    found = [
        each
        for namespace in namespaces_of(objects)
        for kind in KINDS
        for each in stage.cluster.all(kind, namespace)
    ]
    assert len(found) == len(objects) - 1
    return [
        f"{each['kind']} {each['metadata']['name']}: {ready.get('message')}"
        for each in found
        for ready in [
            {entry["type"]: entry for entry in each["status"].get("conditions", ())}.get("Ready", {})
        ]
        if ready.get("status") != "True"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--patterns",)], ids=["exact", "patterns"])
def test_large_project_is_exported_planned_and_applied_unchanged(
    large_stage: Stage,
    measured: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
    options: tuple[str, ...],
    record_property: Callable[[str, object], None],
) -> None:
    stage, directory = large_stage, tmp_path / "exported"
    prefixes = [f"--namespace-by-prefix=team-{number:02}-=team-{number:02}" for number in range(TEAMS)]
    policies = stage.cloud.policies()

    exported = measured(
        "export",
        f"--project={PROJECT}",
        f"--output={directory}",
        "--namespace=platform",
        *prefixes,
        *options,
    )
    assert exported.returncode == 0, exported.stderr
    count = TEAMS * ACCOUNTS_OF_TEAM + 1
    assert re.search(rf"exported: {count:,} accounts, .* in {TEAMS + 1} namespaces", exported.stderr)
    assert "left out" not in exported.stderr
    planned = measured("plan", f"--filename={directory}")
    assert (planned.stdout.splitlines()[1:], planned.returncode) == (["Nothing would change."], 0), (
        planned.stdout + planned.stderr
    )

    before, start = stage.cloud.calls(), time.monotonic()
    objects = applied(stage, directory)
    record_property("apply seconds", round(time.monotonic() - start, 1))
    stage.start_operator(lease_duration="1m")  # the machine may be busy
    eventually(lambda: unready(stage, objects), lambda left: not left, within=HUNG_AFTER / 3)
    record_property("ready seconds", round(time.monotonic() - start, 1))
    calls = stage.cloud.calls() - before
    record_property("ready calls", json.dumps(summary(calls)))
    assert not [rpc for rpc in calls if not rpc.rpartition("/")[2].startswith(READING)]
    assert stage.cloud.policies() == policies

    again = measured(
        "plan",
        f"--filename={directory}",
        f"--kubeconfig={stage.kube_api.kubeconfig}",
        f"--operator-namespace={OPERATOR_NAMESPACE}",
        "--prune",
    )
    assert (again.stdout, again.returncode) == ("Nothing would change.\n", 0), again.stdout + again.stderr
