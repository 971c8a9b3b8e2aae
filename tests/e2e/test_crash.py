"""Test that an operator killed at random moments loses and leaks nothing."""

import random
import time
from copy import deepcopy

import pytest

from tests.e2e.cloud import LOCATION
from tests.e2e.cluster import Object
from tests.e2e.scene import Scene
from tests.servers.kube_apis import EMBEDDED

NUMBERS = range(6)
KILLS = 2

IDENTITY = """
kind: CloudRunIdentity
metadata: {{name: worker-{number}}}
spec:
  displayName: Worker {number}
  roles: [{{role: roles/viewer}}, {{role: roles/cloudsql.client}}]
  users: [{{identityRef: {{name: worker-{neighbor}}}}}]
"""
BINDING = """
kind: IAMBinding
metadata: {{name: tokens-{number}}}
spec:
  target: {{kind: ServiceAccount, identityRef: {{name: worker-{number}}}}}
  role: roles/iam.serviceAccountTokenCreator
  members: [{{principal: "group:ops@example.com"}}]
"""
CLIENTS = """
kind: IAMBinding
metadata: {name: clients}
spec:
  target: {kind: Project}
  role: roles/cloudsql.client
  members: [{principal: "group:ops@example.com"}]
"""
ATTACHMENT = f"""
kind: IdentityAttachment
metadata: {{name: shop}}
spec:
  workload: {{kind: Service, location: {LOCATION}, name: shop}}
  identityRef: {{name: worker-0}}
"""


def neighbor(number: int) -> int:
    return (number + 1) % len(NUMBERS)


BATCH = "---".join(
    manifest.format(number=number, neighbor=neighbor(number))
    for number in NUMBERS
    for manifest in (IDENTITY, BINDING)
)
NAMES = [
    f"{name}-{number}" for name in ("CloudRunIdentity/worker", "IAMBinding/tokens") for number in NUMBERS
]


@pytest.mark.slow
@pytest.mark.parametrize("kube_api_name", [EMBEDDED], indirect=True, scope="package")
def test_batch_applied_under_kills_converges_to_its_declaration(scene: Scene) -> None:
    scene.cloud.add(scene.project, "roles/viewer", "user:ann@example.com")
    moments = random.Random(1)

    scene.apply(BATCH)
    for _ in range(KILLS):
        kill_and_restart(scene, moments)
    scene.ready(*NAMES)

    accounts = scene.cloud.accounts(scene.name)
    workers = sorted(scene.member(f"worker-{number}") for number in NUMBERS)
    assert {name: account["displayName"] for name, account in accounts.items()} == {
        f"worker-{number}": f"Worker {number}" for number in NUMBERS
    }
    assert scene.cloud.deleted_accounts(scene.name) == []
    assert sorted_policy(scene, scene.project) == {
        "roles/viewer": [*workers, "user:ann@example.com"],
        "roles/cloudsql.client": workers,
    }
    for number in NUMBERS:
        account, user = scene.account(f"worker-{number}"), scene.member(f"worker-{neighbor(number)}")
        assert scene.cloud.policy(account) == {
            "roles/iam.serviceAccountTokenCreator": ["group:ops@example.com"],
            "roles/iam.serviceAccountUser": [user],
        }
        assert entries(scene, f"//iam.googleapis.com/{account}") == {
            ("roles/iam.serviceAccountTokenCreator", "group:ops@example.com"): [binding(scene, number)],
            ("roles/iam.serviceAccountUser", user): [identity(scene, number)],
        }
    assert entries(scene, f"//cloudresourcemanager.googleapis.com/{scene.project}") == {
        (role, scene.member(f"worker-{number}")): [identity(scene, number)]
        for number in NUMBERS
        for role in ("roles/viewer", "roles/cloudsql.client")
    }
    assert len(scene.ledger_targets()) == len(NUMBERS) + 1


@pytest.mark.slow
@pytest.mark.parametrize("kube_api_name", [EMBEDDED], indirect=True, scope="package")
def test_batch_deleted_under_kills_leaves_nothing_behind(scene: Scene) -> None:
    scene.cloud.add(scene.project, "roles/viewer", "user:ann@example.com")
    moments = random.Random(2)
    scene.apply(BATCH)
    scene.ready(*NAMES)

    scene.delete(*NAMES)
    for _ in range(KILLS):
        kill_and_restart(scene, moments)
    scene.wait_until_deleted(*NAMES)

    assert scene.policy() == {"roles/viewer": ["user:ann@example.com"]}
    assert scene.cloud.accounts(scene.name) == {}
    assert scene.ledger_targets() == set()


@pytest.mark.parametrize("kube_api_name", [EMBEDDED], indirect=True, scope="package")
def test_grants_of_an_invalid_ledger_are_not_left_behind(
    scene: Scene,
) -> None:
    scene.apply(CLIENTS)
    scene.ready("IAMBinding/clients")
    granted = scene.policy()
    ledger = scene.raw_ledger(f"//cloudresourcemanager.googleapis.com/{scene.project}")
    sound = ledger["spec"]["bindings"]
    edited = deepcopy(sound)
    edited[0]["members"][0]["owners"] = ["clients"]

    scene.stage.operator.kill()
    scene.edit_ledger(ledger, {"bindings": edited})
    scene.stage.ensure_operator()
    scene.delete("IAMBinding/clients")

    message = scene.fails("IAMBinding/clients", "LedgerInvalid")
    assert f"{ledger['metadata']['name']} cannot be read" in message
    assert "owners[0]: 'clients': must be KIND/NAMESPACE/NAME/UID" in message
    assert scene.policy() == granted
    scene.edit_ledger(ledger, {"bindings": sound})
    scene.wait_until_deleted("IAMBinding/clients")
    assert scene.policy() == {}


@pytest.mark.parametrize("kube_api_name", [EMBEDDED], indirect=True, scope="package")
def test_restarted_operator_releases_grants_beside_kinds_without_grants(scene: Scene) -> None:
    scene.cloud.deploy("services", scene.name, "shop")
    scene.apply("---".join((CLIENTS, IDENTITY.format(number=0, neighbor=0), ATTACHMENT)))
    scene.ready("IAMBinding/clients", "IdentityAttachment/shop")

    scene.stage.operator.kill()
    scene.stage.ensure_operator()
    scene.delete("IAMBinding/clients")

    scene.wait_until_deleted("IAMBinding/clients")
    assert "group:ops@example.com" not in scene.policy().get("roles/cloudsql.client", [])


def identity(scene: Scene, number: int) -> str:
    """Return the owner key of an identity of the batch."""
    return f"CloudRunIdentity/{scene.name}/worker-{number}"


def binding(scene: Scene, number: int) -> str:
    """Return the owner key of a binding of the batch."""
    return f"IAMBinding/{scene.name}/tokens-{number}"


def kill_and_restart(scene: Scene, moments: random.Random) -> None:
    """Kill the operator after a random time, and start the next one."""
    time.sleep(moments.uniform(0, 2))
    scene.stage.operator.kill()
    scene.stage.ensure_operator()


def sorted_policy(scene: Scene, resource: str) -> Object:
    return {role: sorted(members) for role, members in scene.cloud.policy(resource).items()}


def entries(scene: Scene, target: str) -> dict[tuple[str, str], list[str]]:
    """Return the owners of each granted role and member in the ledger of a policy."""
    return {
        (binding["role"], member["member"]): [owner.rpartition("/")[0] for owner in member["owners"]]
        for binding in scene.ledger(target)["bindings"]
        for member in binding["members"]
        if member["state"] == "Granted" and not member.get("presentBefore")
    }
