"""The plan for a custom role in every state of the role, of its record and of its holders."""

from dataclasses import replace
from itertools import product

import pytest

from cloudrun_identity.api import LedgerRole, Reason
from cloudrun_identity.controllers.custom_role.holders import RoleHolders
from cloudrun_identity.controllers.custom_role.plan import (
    RoleSeen,
    RoleWant,
    plan,
)
from cloudrun_identity.gcp.custom_roles import CustomRoleState
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.reconcile.outcomes import Failing
from cloudrun_identity.reconcile.steps import Refuse
from tests.unit.controllers.carry_out import NOON, step_texts

from .roles import (
    ADOPTED,
    AS_DECLARED,
    CREATING,
    DELETED,
    NAME,
    NARROW,
    NOT_HELD,
    OPS,
    OTHER_NAMESPACE,
    RECORD,
    TARGET,
    WIDE,
    declared,
    deletion,
    seen,
    want,
)

OTHER_OBJECT = DELETED.replace(owner="payments/former")


def replace_spec(want: RoleWant, changes: dict[str, object]) -> RoleWant:
    spec = want.obj.spec.to_dict() | changes
    return replace(want, obj=want.obj.model_validate(want.obj.to_dict() | {"spec": spec}))


def absent(record: LedgerRole | None = RECORD) -> RoleSeen:
    return RoleSeen(None, record, holders=NOT_HELD)


CREATE = "role: absent → created"
UNDELETE = "role: deleted → present"
ADOPT = "role: exists already → adopted"
TITLE = "title: Old → Runner"
GAINED, LOST = "permission run.jobs.get: missing → held", "permission run.jobs.delete: held → removed"
DENIED, CONFLICT = "Refuse DeniedByGuardrail", "Refuse Conflict"

PLANS: dict[str, tuple[RoleWant, RoleSeen, list[str]]] = {
    # No role
    "absent, no record": (declared(None), absent(None), [f"CreateRole {CREATE}"]),
    "absent, creating": (declared(CREATING), absent(CREATING), [f"CreateRole {CREATE}"]),
    "absent, present before": (declared(), absent(), [f"CreateRole {CREATE}"]),
    "absent, adopted before": (declared(ADOPTED), absent(ADOPTED), [f"CreateRole {CREATE}"]),
    "absent, deleted before": (declared(DELETED), absent(DELETED), [f"CreateRole {CREATE}"]),
    "absent, denied holder": (declared(None, denied=True), absent(None), [f"{DENIED} {CREATE}"]),
    # A deleted role
    "deleted by another user": (declared(None), seen(record=None, deleted=True), [f"{CONFLICT} {UNDELETE}"]),
    "deleted, deleted before": (
        declared(DELETED),
        seen(record=DELETED, deleted=True),
        [f"UndeleteRole {UNDELETE}"],
    ),
    "deleted, deleted by a former object": (
        declared(OTHER_OBJECT),
        seen(record=OTHER_OBJECT, deleted=True),
        [f"UndeleteRole {UNDELETE}"],
    ),
    "deleted, deleted in another namespace": (
        declared(OTHER_NAMESPACE),
        seen(record=OTHER_NAMESPACE, deleted=True),
        [f"{CONFLICT} {UNDELETE}"],
    ),
    "deleted, present before": (declared(), seen(deleted=True), [f"UndeleteRole {UNDELETE}"]),
    "deleted, other title": (
        declared(),
        seen(deleted=True, title="Old"),
        [f"UndeleteRole {UNDELETE}", f"UpdateRole {TITLE}"],
    ),
    "deleted, narrower": (
        declared(),
        seen(deleted=True, permissions=NARROW),
        [f"UndeleteRole {UNDELETE}", f"UpdateRole {GAINED}"],
    ),
    "deleted, narrower, denied holder": (
        declared(denied=True),
        seen(deleted=True, permissions=NARROW),
        [f"{DENIED} {UNDELETE}, {GAINED}"],
    ),
    "deleted, creating": (
        declared(CREATING),
        seen(record=CREATING, deleted=True),
        [f"UndeleteRole {UNDELETE}"],
    ),
    "deleted, permissions not admitted": (
        declared(),
        seen(deleted=True, permissions=frozenset({"iam.roles.create"})),
        [f"{DENIED} {UNDELETE}"],
    ),
    "deleted, denied holder": (declared(denied=True), seen(deleted=True), [f"{DENIED} {UNDELETE}"]),
    # A role that the object does not manage
    "unmanaged": (declared(None), seen(record=None), [f"{CONFLICT} {ADOPT}"]),
    "unmanaged, deleted before": (declared(DELETED), seen(record=DELETED), [f"{CONFLICT} {ADOPT}"]),
    "adoptable": (declared(None, adopts=True), seen(record=None), [f"AdoptRole {ADOPT}"]),
    "adoptable, deleted before": (
        declared(DELETED, adopts=True),
        seen(record=DELETED),
        [f"AdoptRole {ADOPT}"],
    ),
    "adoptable, other title": (
        declared(None, adopts=True),
        seen(record=None, title="Old"),
        [f"AdoptRole {ADOPT}", f"UpdateRole {TITLE}"],
    ),
    "adoptable, narrower": (
        declared(None, adopts=True),
        seen(record=None, permissions=NARROW),
        [f"AdoptRole {ADOPT}", f"UpdateRole {GAINED}"],
    ),
    "adoptable, narrower, denied holder": (
        declared(None, denied=True, adopts=True),
        seen(record=None, permissions=NARROW),
        [f"{DENIED} {ADOPT}, {GAINED}"],
    ),
    "adoptable, as declared, denied holder": (
        declared(None, denied=True, adopts=True),
        seen(record=None),
        [f"AdoptRole {ADOPT}"],
    ),
    "adoptable, permissions not admitted": (
        declared(None, adopts=True),
        seen(record=None, permissions=frozenset({"iam.roles.create"})),
        [f"{DENIED} {ADOPT}"],
    ),
    # A role that the object manages
    "as declared": (declared(), seen(), []),
    "as declared, adopted": (declared(ADOPTED), seen(record=ADOPTED), []),
    "as declared, denied holder": (declared(denied=True), seen(), []),
    "as declared, creating": (declared(CREATING), seen(record=CREATING), ["ConfirmRole"]),
    "as declared, creating, denied holder": (
        declared(CREATING, denied=True),
        seen(record=CREATING),
        ["ConfirmRole"],
    ),
    "other title": (declared(), seen(title="Old"), [f"UpdateRole {TITLE}"]),
    "other title, creating": (
        declared(CREATING),
        seen(record=CREATING, title="Old"),
        ["ConfirmRole", f"UpdateRole {TITLE}"],
    ),
    "other title, denied holder": (declared(denied=True), seen(title="Old"), [f"UpdateRole {TITLE}"]),
    "other description": (
        want(description="Runs"),
        seen(description="Old"),
        ["UpdateRole description: Old → Runs"],
    ),
    "no description": (want(description="Runs"), seen(), ["UpdateRole description: unset → Runs"]),
    "other stage": (declared(), seen(stage="ALPHA"), ["UpdateRole stage: ALPHA → GA"]),
    "title and description of another user": (
        want(title=None),
        seen(title="Other", description="Other"),
        [],
    ),
    "wider": (declared(), seen(permissions=WIDE), [f"UpdateRole {LOST}"]),
    "wider, denied holder": (declared(denied=True), seen(permissions=WIDE), [f"UpdateRole {LOST}"]),
    "narrower": (declared(), seen(permissions=NARROW), [f"UpdateRole {GAINED}"]),
    "narrower, denied holder": (
        declared(denied=True),
        seen(permissions=NARROW),
        [f"{DENIED} {GAINED}"],
    ),
    "narrower, creating, denied holder": (
        declared(CREATING, denied=True),
        seen(record=CREATING, permissions=NARROW),
        [f"{DENIED} {GAINED}"],
    ),
    "disabled, denied holder": (
        declared(denied=True),
        seen(stage="DISABLED"),
        [f"{DENIED} stage: DISABLED → GA"],
    ),
    "every difference": (
        declared(),
        seen(title="Old", stage="BETA", permissions=(WIDE - {"run.jobs.get"})),
        [f"UpdateRole {TITLE}, stage: BETA → GA, {GAINED}, {LOST}"],
    ),
    "unsupported permission": (declared(), seen("run.jobs.get", permissions=NARROW), []),
    "unsupported permission, denied holder": (
        declared(denied=True),
        seen("run.jobs.get", permissions=NARROW),
        [],
    ),
    # Deletion
    "deletion, no record": (deletion(), seen(record=None), []),
    "deletion, deleted before": (deletion(), seen(record=DELETED), []),
    "deletion, absent": (deletion(), absent(), ["ForgetRole"]),
    "deletion, deleted": (deletion(), seen(deleted=True), ["RecordDeletion"]),
    "deletion, present": (deletion(), seen(), ["DeleteRole role: present → deleted", "RecordDeletion"]),
    "deletion, creating": (
        deletion(),
        seen(record=CREATING),
        ["DeleteRole role: present → deleted", "RecordDeletion"],
    ),
    "deletion, in use": (deletion("IAMBinding payments/ops"), absent(), ["Wait InUse"]),
    "deletion, in use, no record": (deletion("IAMBinding payments/ops"), absent(None), []),
    "deletion, abandoned": (deletion(abandon=True), absent(), ["LeaveRole"]),
    "deletion, abandoned, adopted": (deletion(abandon=True), absent(ADOPTED), ["ForgetRole"]),
    "deletion, abandoned, in use": (
        deletion("IAMBinding payments/ops", abandon=True),
        absent(),
        ["LeaveRole"],
    ),
}


@pytest.mark.parametrize(("wanted", "found", "steps"), PLANS.values(), ids=PLANS)
def test_plan_of_a_state(wanted: RoleWant, found: RoleSeen, steps: list[str]) -> None:
    assert step_texts(plan(wanted, found, NOON)) == steps


ROLES: list[CustomRoleState | None] = [
    None,
    *(
        replace(AS_DECLARED, deleted=deleted, title=title, stage=stage, permissions=permissions)
        for deleted, title, stage, permissions in product(
            (False, True), ("Runner", "Old"), ("GA", "DISABLED"), (AS_DECLARED.permissions, WIDE, NARROW)
        )
    ),
]
RECORDS = (None, CREATING, RECORD, ADOPTED, DELETED, OTHER_NAMESPACE)


def test_every_plan_either_acts_or_refuses_and_names_one_resource() -> None:
    for record, adopts, denied in product(RECORDS, (False, True), (False, True)):
        wanted = declared(record, denied=denied, adopts=adopts)
        for found in ROLES:
            made = plan(wanted, RoleSeen(found, record, holders=NOT_HELD), NOON)
            assert made == plan(wanted, RoleSeen(found, record, holders=NOT_HELD), NOON)
            assert not made.actions or made.actions == made.steps
            assert {each.resource for each in made.actions} <= {f"//iam.googleapis.com/{NAME}"}


def test_deletion_plans_every_state_without_a_refusal() -> None:
    for record, found, users, abandon in product(RECORDS, ROLES, ((), ("IAMBinding a/b",)), (False, True)):
        made = plan(deletion(*users, abandon=abandon), RoleSeen(found, record), NOON)
        assert not any(isinstance(each, Refuse) for each in made.steps)


def left_by(owner: str, *, made: LedgerRole = RECORD, held: bool = True) -> list[str]:
    """Return the steps for the deletion of a role that an object left granted."""
    grant, _ = OPS
    ledger = Ledger.of(TARGET).with_left({grant: owner})
    wanted = replace(deletion(), ledgers=lambda: [ledger])
    holders = RoleHolders(frozenset({grant} if held else ()), frozenset({grant}))
    return step_texts(plan(wanted, RoleSeen(AS_DECLARED, made, holders=holders), NOON))


def test_role_that_an_object_left_granted_is_left() -> None:
    assert left_by("CloudRunIdentity/payments/ops/u") == ["LeaveRole"]
    assert left_by("CloudRunIdentity/payments/ops/u", made=ADOPTED) == ["ForgetRole"]
    deleted = ["DeleteRole role: present → deleted", "RecordDeletion"]
    assert left_by("CloudRunIdentity/payments/ops/u", held=False) == deleted, "the grant was removed"
    assert left_by("CloudRunIdentity/shop/ops/u") == deleted, "another namespace cannot block the deletion"


def test_role_is_not_deleted_while_its_holders_are_unknown() -> None:
    unreadable = Failing(Reason.API_UNAVAILABLE, "no answer")
    seen_role = RoleSeen(AS_DECLARED, RECORD, holders=RoleHolders(unreadable=unreadable))
    assert plan(deletion(), seen_role, NOON).outcome == unreadable


def test_role_with_a_permission_in_its_other_form_is_as_declared() -> None:
    spec = {"permissions": ["iam.googleapis.com/workloadIdentityPools.get", "run.jobs.run"]}
    registered = frozenset({"iam.workloadIdentityPools.get", "run.jobs.run"})
    obj = replace_spec(declared(), spec)
    assert plan(obj, seen(permissions=registered), NOON).steps == ()
    widened = registered | {"run.jobs.get"}
    assert step_texts(plan(obj, seen(permissions=widened), NOON)) == [
        "UpdateRole permission run.jobs.get: held → removed"
    ]
