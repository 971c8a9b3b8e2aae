"""Test members that the policy shows under another address, and deleted members that no identity declares."""

import pytest

from tests.e2e.eventually import becomes, eventually
from tests.e2e.scene import Scene

ROLE = "roles/cloudsql.client"
JOHN, ALIAS = "user:john.doe-$scene@gmail.example", "user:john-$scene@acme.example"
CLIENTS = f"""
kind: IAMBinding
metadata: {{name: clients}}
spec:
  target: {{kind: Project}}
  role: {ROLE}
  members: [{{principal: "{ALIAS}"}}]
"""
OTHERS = """
kind: IAMBinding
metadata: {name: others}
spec:
  target: {kind: Project}
  role: roles/cloudsql.client
  members:
  - {principal: "serviceAccount:checkout-old@$scene.iam.gserviceaccount.com"}
  - {principal: "group:ops-$scene@acme.example"}
"""


def named(scene: Scene, member: str) -> str:
    return member.replace("$scene", scene.name)


def writes(scene: Scene) -> int:
    return scene.cloud.calls()["Projects/SetIamPolicy"]


def idle(scene: Scene) -> None:
    """Wait until the operator has read the policy several times; check that it writes nothing."""
    before = scene.cloud.calls()
    eventually(lambda: (scene.cloud.calls() - before)["Projects/GetIamPolicy"], lambda reads: reads >= 3)
    assert not (scene.cloud.calls() - before)["Projects/SetIamPolicy"]


def has_alias(scene: Scene) -> str:
    """Give a user outside the domain a secondary address; return the primary address as a member."""
    john, alias = named(scene, JOHN), named(scene, ALIAS)
    scene.cloud.edit_principal(john, aliases=[alias.removeprefix("user:")])
    return john


def registered(scene: Scene, name: str) -> dict[str, str]:
    """Return the registered form of each grant of an object that has one."""
    return {
        grant["member"]: grant["registeredMember"]
        for grant in scene.status(name)["grants"]
        if "registeredMember" in grant
    }


def test_alias_is_granted_by_one_write_and_removed_with_its_object(scene: Scene) -> None:
    john = has_alias(scene)
    before = writes(scene)
    scene.apply(CLIENTS)
    scene.ready("IAMBinding/clients")

    assert scene.policy() == {ROLE: [john]}
    assert registered(scene, "IAMBinding/clients") == {named(scene, ALIAS): john}
    idle(scene)
    assert writes(scene) == before + 1
    scene.delete_and_wait("IAMBinding/clients")
    assert scene.policy() == {}


def test_primary_address_that_had_the_role_before_keeps_it(scene: Scene) -> None:
    john = has_alias(scene)
    scene.cloud.add(scene.project, ROLE, john)
    scene.apply(CLIENTS)
    scene.ready("IAMBinding/clients")

    scene.delete_and_wait("IAMBinding/clients")

    assert scene.policy() == {ROLE: [john]}


def test_alias_of_an_unknown_member_is_reported_and_not_written_again(scene: Scene) -> None:
    john = has_alias(scene)
    for member in (john, "user:eve@example.com"):
        scene.cloud.add(scene.project, ROLE, member)
    scene.apply(CLIENTS)

    scene.fails("IAMBinding/clients", "Rejected", saying="declare the primary address")
    assert scene.is_stalled("IAMBinding/clients")
    idle(scene)
    scene.delete_and_wait("IAMBinding/clients")
    assert scene.policy() == {ROLE: [john, "user:eve@example.com"]}


def test_renamed_user_keeps_the_grant_until_its_release(scene: Scene) -> None:
    ann = named(scene, ALIAS)
    renamed = named(scene, "user:renamed-$scene@acme.example")
    scene.cloud.add(scene.project, ROLE, "user:eve@example.com")
    scene.apply(CLIENTS)
    scene.ready("IAMBinding/clients")
    before = writes(scene)
    scene.cloud.edit_principal(ann, rename=renamed.removeprefix("user:"))

    eventually(lambda: registered(scene, "IAMBinding/clients"), lambda forms: forms == {ann: renamed})

    scene.ready("IAMBinding/clients")
    idle(scene)
    assert writes(scene) <= before + 1
    scene.delete_and_wait("IAMBinding/clients")
    assert scene.policy() == {ROLE: ["user:eve@example.com"]}


def test_observed_alias_is_missing_until_its_registered_form_is_known(scene: Scene) -> None:
    has_alias(scene)
    scene.apply(CLIENTS.replace("spec:", "spec:\n  managementPolicy: Observe"))
    scene.fails("IAMBinding/clients", "DriftDetected")
    assert scene.policy() == {}
    scene.patch("IAMBinding/clients", "spec: {managementPolicy: Manage}")
    scene.ready("IAMBinding/clients")

    scene.patch("IAMBinding/clients", "spec: {managementPolicy: Observe}")

    scene.ready("IAMBinding/clients")
    idle(scene)


def test_tombstones_of_undeclared_members_are_released(scene: Scene) -> None:
    account = scene.cloud.create_account(scene.name, "checkout-old")
    older = scene.cloud.create_account(scene.name, "older-account")
    scene.cloud.add(scene.project, ROLE, f"serviceAccount:{older}")
    scene.cloud.edit_account(older, "delete")
    theirs = scene.policy()
    scene.apply(OTHERS)
    scene.ready("IAMBinding/others")
    group = named(scene, "group:ops-$scene@acme.example")
    scene.cloud.edit_account(account, "delete")
    scene.cloud.edit_principal(group, delete=True)
    becomes(lambda: len(scene.policy()[ROLE]), 3)

    scene.delete_and_wait("IAMBinding/others")

    assert scene.policy() == theirs, "older tombstones stay"
    scene.cloud.edit_account(account, "undelete")
    scene.cloud.edit_principal(group, undelete=True)
    assert scene.policy() == theirs, "no restored member has the role again"


@pytest.mark.slow
def test_recreated_account_leaves_no_tombstone(scene: Scene) -> None:
    account = scene.cloud.create_account(scene.name, "checkout-old")
    members = [f"serviceAccount:{account}", named(scene, "group:ops-$scene@acme.example")]
    scene.apply(OTHERS)
    scene.ready("IAMBinding/others")
    for _ in range(2):
        scene.cloud.edit_account(account, "delete")
        scene.fails("IAMBinding/others", "Rejected")
        scene.cloud.create_account(scene.name, "checkout-old")
        scene.patch("IAMBinding/others", f'metadata: {{annotations: {{"retry": "{_}"}}}}')
        scene.ready("IAMBinding/others")
        assert sorted(scene.policy()[ROLE]) == sorted(members)
    scene.delete_and_wait("IAMBinding/others")
    assert scene.policy() == {}
