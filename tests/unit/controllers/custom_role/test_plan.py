"""The plan for a custom role in every state of the role, of its record and of its holders."""

from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest

from cloudrun_identity.api import LedgerRole, Origin, Reason, RoleDeletionPolicy
from cloudrun_identity.controllers.custom_role.plan import (
    RoleSeen,
    RoleWant,
    deleted_role_refusal,
    leaves_role,
    plan,
    shown,
)
from cloudrun_identity.gcp.custom_roles import ID_TAKEN_FOR, CustomRoleState
from cloudrun_identity.reconcile.steps import Refuse, Wait
from tests.unit.controllers.carry_out import NOON, step_texts

from .roles import ADOPTED, AS_DECLARED, CREATING, DELETED, NAME, OPS, RECORD, deletion, role, seen, want

WIDE = AS_DECLARED.permissions | {"run.jobs.delete"}
NARROW = frozenset({"run.jobs.run"})
OTHER_NAMESPACE = DELETED.replace(owner="shop/runner")
OTHER_OBJECT = DELETED.replace(owner="payments/former")


def absent(record: LedgerRole | None = RECORD) -> RoleSeen:
    return RoleSeen(None, record)


def declared(record: LedgerRole | None = RECORD, *, denied: bool = False, adopts: bool = False) -> RoleWant:
    """Return the declared role. If `denied`, the guardrails do not admit the grants of the role."""
    return want(record, *([OPS] if denied else []), adoption="Adopt" if adopts else "Fail")


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
    "deletion, abandoned": (deletion(abandon=True), absent(), ["ForgetRole"]),
    "deletion, abandoned, in use": (
        deletion("IAMBinding payments/ops", abandon=True),
        absent(),
        ["ForgetRole"],
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
            made = plan(wanted, RoleSeen(found, record), NOON)
            assert made == plan(wanted, RoleSeen(found, record), NOON)
            assert not made.actions or made.actions == made.steps
            assert {each.resource for each in made.actions} <= {f"//iam.googleapis.com/{NAME}"}


def test_deletion_plans_every_state_without_a_refusal() -> None:
    for record, found, users, abandon in product(RECORDS, ROLES, ((), ("IAMBinding a/b",)), (False, True)):
        made = plan(deletion(*users, abandon=abandon), RoleSeen(found, record), NOON)
        assert not any(isinstance(each, Refuse) for each in made.steps)


# Messages


def message(wanted: RoleWant, found: RoleSeen) -> str:
    (step,) = plan(wanted, found, NOON).steps
    assert isinstance(step, Refuse | Wait)
    return step.message


def test_refused_expansion_names_the_object_that_grants_the_role() -> None:
    text = message(declared(denied=True), seen(permissions=NARROW))
    assert text.startswith("spec.permissions: IAMBinding shop/ops grants the role already, and guardrails.")


def test_refused_adoption_names_the_field_that_permits_it() -> None:
    assert message(declared(None), seen(record=None)) == (
        f"Role {NAME} exists already; set spec.adoption to Adopt to take it over, or choose another roleID"
    )


@pytest.mark.parametrize(
    ("wanted", "found", "field"),
    [
        (declared(None, adopts=True), seen(record=None, permissions=frozenset({"iam.x.y"})), "spec.adoption"),
        (declared(), seen(deleted=True, permissions=frozenset({"iam.x.y"})), "spec.roleID"),
    ],
    ids=["adoption", "undelete"],
)
def test_refused_permissions_of_an_existing_role_name_the_field(
    wanted: RoleWant, found: RoleSeen, field: str
) -> None:
    text = message(wanted, found)
    assert text.startswith(f"{field}: {NAME} has permissions that are not admitted: guardrails.customRoles")


def test_deleted_role_of_another_namespace_is_free_after_its_retention() -> None:
    text = message(declared(OTHER_NAMESPACE), seen(record=OTHER_NAMESPACE, deleted=True))
    assert text == (
        "spec.roleID: role runner belonged to CustomRole shop/runner and is deleted; choose another roleID "
        f"until {NOON + ID_TAKEN_FOR:%Y-%m-%d}"
    )


def test_own_deleted_role_that_cannot_be_undeleted_shows_both_dates() -> None:
    deleted = DELETED.replace(deleted_time=NOON - timedelta(days=8))
    reason, text = deleted_role_refusal(declared(deleted), deleted, NOON)
    assert reason is Reason.CONFLICT
    assert f"was deleted on {NOON - timedelta(days=8):%Y-%m-%d} and can no longer be undeleted" in text
    assert text.endswith(f"choose another roleID until {NOON - timedelta(days=8) + ID_TAKEN_FOR:%Y-%m-%d}")


def test_role_deleted_by_another_user_is_free_counting_from_its_stall() -> None:
    stalled = {
        "type": "Stalled",
        "status": "True",
        "reason": "Conflict",
        "message": "",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-02-01T12:00:00Z",
    }
    obj = role()
    status = type(obj.status).model_validate({"conditions": [stalled]})
    before = replace(declared(None), obj=obj.model_copy(update={"status": status}))
    assert "free again on 2026-03-10 at the latest" in deleted_role_refusal(before, None, NOON)[1]
    assert (
        f"free again on {NOON + ID_TAKEN_FOR:%Y-%m-%d}" in deleted_role_refusal(declared(None), None, NOON)[1]
    )


@pytest.mark.parametrize(
    ("policy", "origin", "leaves"),
    [
        (RoleDeletionPolicy.DELETE_IF_CREATED, Origin.CREATED, False),
        (RoleDeletionPolicy.DELETE_IF_CREATED, Origin.ADOPTED, True),
        (RoleDeletionPolicy.DELETE, Origin.CREATED, False),
        (RoleDeletionPolicy.DELETE, Origin.ADOPTED, False),
        (RoleDeletionPolicy.ABANDON, Origin.CREATED, True),
        (RoleDeletionPolicy.ABANDON, Origin.ADOPTED, True),
    ],
)
def test_deletion_policy_and_origin_decide_whether_the_role_is_left(
    policy: RoleDeletionPolicy, origin: Origin, leaves: bool
) -> None:
    assert leaves_role(policy, origin) is leaves


@pytest.mark.parametrize(
    ("names", "text"), [("", ""), ("a", "a"), ("abc", "a, b, c"), ("abcde", "a, b, c and 2 more")]
)
def test_long_lists_show_the_first_names_and_count_the_others(names: str, text: str) -> None:
    assert shown(names) == text
