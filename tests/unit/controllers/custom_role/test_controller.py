"""What a CustomRole decides by itself: what differs, who uses it, what its status tells."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, cast

import pytest

from cloudrun_identity.api import CustomRole, LedgerEntry, LedgerRole, Origin, Reason, RoleState, TargetKind
from cloudrun_identity.controllers.custom_role.controller import CustomRoleController
from cloudrun_identity.controllers.custom_role.plan import RoleSeen, RoleWant
from cloudrun_identity.gcp.custom_roles import CustomRoleState
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.model import Ledger, entry_of
from cloudrun_identity.reconcile.cluster_state import ObjectKey, custom_role_key, role_key
from cloudrun_identity.reconcile.outcomes import Refused, Waiting
from cloudrun_identity.reconcile.preconditions import Allowed, Blocked
from tests.unit.controllers.carry_out import NOON, carried_out
from tests.unit.controllers.cluster_state import FakeWorld, parsed, project

ROLE = """
kind: CustomRole
metadata: {name: runner, namespace: payments, uid: u-runner}
spec:
  projectRef: {name: payments-prod}
  roleID: runner
  title: Runner
  permissions: [run.jobs.get, run.jobs.run]
"""
PROJECT = project(guardrails={"customRoles": {"permissions": ["run.*"]}})
NAME = "projects/payments-prod-1234/roles/runner"
TARGET = Target(TargetKind.PROJECT, "payments-prod-1234")
RECORD = LedgerRole(
    role_id="runner",
    owner="payments/runner",
    owner_uid="u-runner",
    origin=Origin.CREATED,
    state=RoleState.PRESENT,
)
AS_DECLARED = CustomRoleState(NAME, "Runner", "", "GA", frozenset({"run.jobs.get", "run.jobs.run"}), b"1")


class RegisteredGrants:
    """The grants that objects have registered."""

    def __init__(self, *grants: tuple[Grant, str]) -> None:
        self._grants = grants

    def about_to_hold(self, role: str, project_id: str) -> Iterable[tuple[Grant, str]]:
        return self._grants


class OneLedger:
    """The ledger of the project's policy, with one record."""

    def __init__(self, record: LedgerRole | None) -> None:
        self._ledger = Ledger.of(TARGET).with_role(record) if record else Ledger.of(TARGET)

    def ledger(self, target: Target) -> Ledger:
        return self._ledger

    async def update(self, target: Target, change: Callable[[Ledger], Ledger]) -> Ledger:
        raise AssertionError("nothing is recorded")


def controller(*grants: tuple[Grant, str], record: LedgerRole | None = RECORD) -> CustomRoleController:
    nothing: Any = None
    return CustomRoleController(
        nothing, nothing, OneLedger(record), RegisteredGrants(*grants), lambda: NOON, lambda _: None
    )


def changes(want: RoleWant, seen: RoleSeen) -> list[str]:
    return [str(each) for each in controller().plan(want, seen, NOON).changes]


def role(**spec: Any) -> CustomRole:
    return cast("CustomRole", parsed(ROLE, **spec))


def want(record: LedgerRole | None = RECORD, **spec: Any) -> RoleWant:
    cluster = FakeWorld(PROJECT, roles=[record] if record else ())
    resolved = controller(record=record).resolve(role(**spec), Allowed(PROJECT, observe=False), cluster)
    assert isinstance(resolved, RoleWant)
    return resolved


def seen(*unsupported: str, record: LedgerRole | None = RECORD, **fields: Any) -> RoleSeen:
    return RoleSeen(replace(AS_DECLARED, **fields), record, frozenset(unsupported))


def test_role_as_declared_has_no_changes() -> None:
    assert changes(want(), seen()) == []


def test_unset_fields_are_left_unchanged() -> None:
    assert changes(want(title=None), seen(title="theirs", description="theirs")) == []


@pytest.mark.parametrize(
    ("found", "change"),
    [
        (RoleSeen(None, RECORD), "role: absent → created"),
        (seen(deleted=True), "role: deleted → present"),
        (seen(title="theirs"), "title: theirs → Runner"),
        (seen(stage="ALPHA"), "stage: ALPHA → GA"),
        (seen(permissions=frozenset({"run.jobs.run"})), "permission run.jobs.get: missing → held"),
        (
            seen(permissions=AS_DECLARED.permissions | {"run.jobs.delete"}),
            "permission run.jobs.delete: held → removed",
        ),
    ],
)
def test_every_difference_is_a_change(found: RoleSeen, change: str) -> None:
    assert changes(want(), found) == [change]


def test_adoption_and_updates_are_changes_of_one_plan() -> None:
    adopting = want(record=None, adoption="Adopt")
    assert changes(adopting, seen(title="theirs", record=None)) == [
        "role: exists already → adopted",
        "title: theirs → Runner",
    ]


def test_unsupported_permission_is_an_issue_and_no_change() -> None:
    found = seen("run.jobs.get", permissions=frozenset({"run.jobs.run"}))
    assert changes(want(), found) == []
    summary = controller().summarize(want(), found)
    assert summary.fields["unsupported_permissions"] == ("run.jobs.get",)
    assert summary.issues == ("spec.permissions: custom roles cannot hold run.jobs.get; they are left out",)


def test_role_of_another_object_is_refused() -> None:
    there = cast("CustomRole", parsed(ROLE.replace("namespace: payments", "namespace: shop")))
    way = "delete that object first, or choose another roleID"
    assert refusal(there) == f"spec.roleID: role runner is owned by CustomRole shop/runner; {way}"


def test_role_of_a_deleted_object_is_refused_with_a_remedy() -> None:
    way = "which is deleted; create that object again to manage it, or choose another roleID"
    assert refusal() == f"spec.roleID: role runner is owned by CustomRole shop/runner, {way}"


def refusal(*others: CustomRole) -> str:
    """Why the object cannot have the role that is recorded as `shop/runner`'s."""
    theirs = LedgerRole(
        role_id="runner",
        owner="shop/runner",
        owner_uid="u-theirs",
        origin=Origin.CREATED,
        state=RoleState.PRESENT,
    )
    cluster = FakeWorld(PROJECT, *others, roles=[theirs])
    found = controller().resolve(role(), Allowed(PROJECT, observe=False), cluster)
    assert isinstance(found, Blocked)
    assert isinstance(found.outcome, Refused)
    assert found.outcome.reason is Reason.CONFLICT
    return found.outcome.message


# Its deletion waits for whoever uses it.


async def waits_for(cluster: FakeWorld, *desired_grants: tuple[Grant, str]) -> str:
    kind = controller(*desired_grants)
    deletion = kind.resolve_deletion(role(), cluster, abandon=False)
    assert deletion is not None
    outcome = (await carried_out(kind, deletion)).outcome
    assert isinstance(outcome, Waiting)
    assert outcome.reason is Reason.IN_USE
    return outcome.message


def held_by(*owners: str) -> dict[Grant, LedgerEntry]:
    grant = Grant(TARGET, NAME, "group:ops@example.com")
    return {grant: entry_of(grant, owners)}


async def test_deletion_waits_for_objects_that_name_the_role() -> None:
    cluster = FakeWorld(PROJECT, roles=[RECORD])
    cluster.references[custom_role_key("payments", "runner")] = {ObjectKey("IAMBinding", "payments", "ops")}
    cluster.references[role_key(NAME)] = {ObjectKey("CloudRunIdentity", "payments", "web")}
    message = await waits_for(cluster)
    assert "used by CloudRunIdentity payments/web, IAMBinding payments/ops; remove it from these" in message


async def test_deletion_waits_for_a_holder_in_another_namespace() -> None:
    cluster = FakeWorld(PROJECT, roles=[RECORD], entries=held_by("IAMBinding/shop/ops/u"))
    assert "used by IAMBinding shop/ops;" in await waits_for(cluster)


async def test_deletion_waits_for_a_registered_grant_of_the_role() -> None:
    desired_grant = (Grant(TARGET, NAME, "group:ops@example.com"), "CloudRunIdentity/shop/web/u")
    assert "used by CloudRunIdentity shop/web;" in await waits_for(
        FakeWorld(PROJECT, roles=[RECORD]), desired_grant
    )


async def test_message_names_the_first_users_and_counts_the_others() -> None:
    cluster = FakeWorld(
        PROJECT, roles=[RECORD], entries=held_by(*(f"IAMBinding/shop/ops-{each}/u" for each in range(5)))
    )
    assert (
        "IAMBinding shop/ops-2 and 2 more; remove it from these objects, or delete them"
        in await waits_for(cluster)
    )
