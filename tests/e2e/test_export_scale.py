"""Test that a project with many accounts and teams is exported, planned and applied without a change.

`--accounts=1000` sets the number of accounts. `--junitxml` writes the seconds and calls of each step.
"""

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

ACCOUNTS_OF_TEAM = 50
"""Maximum number of accounts of a team."""

PROJECT = "acme-large"
KINDS = ("CloudRunIdentity", "IAMBinding", "IdentityAttachment")
READING = ("Get", "List", "Query", "Test")


def email(account_id: str) -> str:
    return f"{account_id}@{PROJECT}.iam.gserviceaccount.com"


def member(account_id: str) -> str:
    return f"serviceAccount:{email(account_id)}"


def teams_of(accounts: int) -> list[str]:
    """Return the names of the teams that share this number of accounts."""
    return [f"team-{number:02}" for number in range(max(3, -(-accounts // ACCOUNTS_OF_TEAM)))]


def large_project(count: int) -> dict[str, Any]:
    """Return the seed of a project whose teams follow a naming convention, and the account of a deployer.

    The policy of the project stays below Google's limit of 1,500 principals, up to 1,100 accounts.
    """
    teams = teams_of(count)
    accounts = sorted(
        f"{teams[number % len(teams)]}-app-{number // len(teams):02}" for number in range(count - 1)
    )
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
def account_count(pytestconfig: pytest.Config) -> int:
    """Provide the number of accounts in the project."""
    count: int = pytestconfig.getoption("accounts")
    return count


@pytest.fixture
def large_stage(kube_api_name: str, tmp_path: Path, account_count: int) -> Iterator[Stage]:
    seed = with_operator({"projects": [large_project(account_count)]})
    with set_stage(kube_api_name, tmp_path, seed) as stage:
        yield stage


@pytest.fixture
def measured(
    large_stage: Stage, record_property: Callable[[str, object], None]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Provide a function that runs a command, and records its seconds and calls in the report."""

    def run(*arguments: str, step: str = "") -> subprocess.CompletedProcess[str]:
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
        record_property(f"{step or arguments[0]} seconds", round(time.monotonic() - start, 1))
        record_property(
            f"{step or arguments[0]} calls", json.dumps(summary(large_stage.cloud.calls() - before))
        )
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
    """Return the objects of the first kind of which some are not Ready, with the messages."""
    for kind in KINDS:
        found = stage.cluster.everywhere(kind)
        assert len(found) == sum(obj["kind"] == kind for obj in objects)
        left = [
            f"{kind} {each['metadata']['name']}: {ready.get('message')}"
            for each in found
            for ready in [
                {entry["type"]: entry for entry in each.get("status", {}).get("conditions", ())}.get(
                    "Ready", {}
                )
            ]
            if ready.get("status") != "True"
        ]
        if left:
            return left
    return []


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--patterns",)], ids=["exact", "patterns"])
def test_large_project_is_exported_planned_and_applied_unchanged(
    large_stage: Stage,
    measured: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
    options: tuple[str, ...],
    account_count: int,
    record_property: Callable[[str, object], None],
) -> None:
    stage, directory, teams = large_stage, tmp_path / "exported", teams_of(account_count)
    prefixes = [f"--namespace-by-prefix={team}-={team}" for team in teams]
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
    assert re.search(
        rf"exported: {account_count:,} accounts, .* in {len(teams) + 1} namespaces", exported.stderr
    )
    assert "left out" not in exported.stderr
    planned = measured("plan", f"--filename={directory}", step="plan without a cluster")
    assert (planned.stdout.splitlines()[1:], planned.returncode) == (["Nothing would change."], 0), (
        planned.stdout + planned.stderr
    )

    stage.start_operator(lease_duration="1m").wait_until_leading()  # the machine may be busy
    before, start = stage.cloud.calls(), time.monotonic()
    objects = applied(stage, directory)
    record_property("apply seconds", round(time.monotonic() - start, 1))
    eventually(lambda: unready(stage, objects), lambda left: not left, within=HUNG_AFTER)
    record_property("apply until all Ready seconds", round(time.monotonic() - start, 1))
    calls = stage.cloud.calls() - before
    record_property("apply until all Ready calls", json.dumps(summary(calls)))
    assert not [rpc for rpc in calls if not rpc.rpartition("/")[2].startswith(READING)]
    assert stage.cloud.policies() == policies

    stage.operator.stop()  # so that the calls are those of the plan
    again = measured(
        "plan",
        f"--filename={directory}",
        f"--kubeconfig={stage.kube_api.kubeconfig}",
        f"--operator-namespace={OPERATOR_NAMESPACE}",
        "--prune",
        step="plan with the cluster",
    )
    assert (again.stdout, again.returncode) == ("Nothing would change.\n", 0), again.stdout + again.stderr
