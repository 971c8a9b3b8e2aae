"""Messages of the plan for a custom role."""

from dataclasses import replace
from datetime import timedelta

import pytest

from cloudrun_identity.api import Origin, Reason, RoleDeletionPolicy
from cloudrun_identity.controllers.custom_role.plan import (
    RoleSeen,
    RoleWant,
    deleted_role_refusal,
    leaves_role,
    plan,
)
from cloudrun_identity.gcp.custom_roles import ID_TAKEN_FOR
from cloudrun_identity.reconcile.steps import Refuse, Wait
from tests.unit.controllers.carry_out import NOON

from .roles import (
    DELETED,
    NAME,
    NARROW,
    OPS,
    OTHER_NAMESPACE,
    RECORD,
    declared,
    role,
    seen,
    want,
)


def message(wanted: RoleWant, found: RoleSeen) -> str:
    (step,) = plan(wanted, found, NOON).steps
    assert isinstance(step, Refuse | Wait)
    return step.message


def test_refused_expansion_names_the_object_that_grants_the_role() -> None:
    text = message(declared(denied=True), seen(permissions=NARROW))
    assert text.startswith("spec.permissions: IAMBinding payments/ops grants the role already: guardrails.")


def test_refused_expansion_does_not_name_an_object_of_another_namespace() -> None:
    foreign = (OPS[0], "IAMBinding/shop/ops/u")
    assert message(want(RECORD, foreign), seen(permissions=NARROW)) == (
        "spec.permissions: an object of another namespace grants the role to group:ops@example.com already, "
        "and the guardrails do not admit the new permissions for it; ask the administrators of the project"
    )


def test_refused_adoption_names_the_field_that_permits_it() -> None:
    assert message(declared(None), seen(record=None)) == (
        f"Role {NAME} exists already; set spec.adoption to Adopt to take it over, which "
        "guardrails.adoptableRoles must permit, or choose another roleID"
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
        "spec.roleID: role runner belonged to another namespace and is deleted; choose another roleID "
        f"until {NOON + ID_TAKEN_FOR:%Y-%m-%d}"
    )


def test_own_deleted_role_that_cannot_be_undeleted_shows_both_dates() -> None:
    deleted = DELETED.replace(deleted_time=NOON - timedelta(days=8))
    refused = deleted_role_refusal(declared(deleted), deleted, NOON)
    assert refused.reason is Reason.CONFLICT
    on, free = NOON - timedelta(days=8), NOON - timedelta(days=8) + ID_TAKEN_FOR
    assert f"was deleted on {on:%Y-%m-%d} and can no longer be undeleted" in refused.message
    assert refused.message.endswith(f"choose another roleID until {free:%Y-%m-%d}")


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
    assert "free again on 2026-03-10 at the latest" in deleted_role_refusal(before, None, NOON).message
    assert (
        f"free again on {NOON + ID_TAKEN_FOR:%Y-%m-%d}"
        in deleted_role_refusal(declared(None), None, NOON).message
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
