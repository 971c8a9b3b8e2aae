"""Manage does what Observe and the dry run report, in every state of a custom role.

What only a reply reveals is left out: an undelete that Google refuses, and a lost write.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import pytest

from cloudrun_identity.api import Reason
from cloudrun_identity.gcp.custom_roles import CustomRoleState
from cloudrun_identity.reconcile.outcomes import InSync, Outcome, Paused, Refused, Waiting
from tests.unit.controllers.agreement import AnyResource, agreement
from tests.unit.controllers.carry_out import NOON

from .roles import (
    ADOPTED,
    AS_DECLARED,
    CREATING,
    DELETED,
    LEFT,
    NARROW,
    OPS,
    OTHER_NAMESPACE,
    RECORD,
    WIDE,
    FakeCustomRoles,
    OnePolicy,
    controller,
    deletion,
    want,
)

RECORDS = {
    "no record": None,
    "creating": CREATING,
    "created": RECORD,
    "adopted": ADOPTED,
    "left": LEFT,
    "deleted before": DELETED,
    "deleted in another namespace": OTHER_NAMESPACE,
}
NOT_ADMITTED = AS_DECLARED.permissions | {"iam.roles.create"}
HOLDERS = ("", "object", "by hand")
PERMISSIONS = (AS_DECLARED.permissions, WIDE, NARROW, NOT_ADMITTED)


def roles() -> Iterator[CustomRoleState | None]:
    """Return no role, and a role with every combination of the fields that matter."""
    yield None
    for deleted, title, stage, permissions in product(
        (False, True), ("Runner", "Old"), ("GA", "DISABLED"), PERMISSIONS
    ):
        yield replace(AS_DECLARED, deleted=deleted, title=title, stage=stage, permissions=permissions)


@dataclass(frozen=True)
class Case:
    """One state of a role, and its CustomRole."""

    record: str
    role: CustomRoleState | None
    adoption: str = "Fail"
    holder: str = ""
    """Holder of the role by a grant that the guardrails do not admit: `object`, or `by hand`."""
    unsupported: frozenset[str] = frozenset()
    deletes: bool = False
    users: tuple[str, ...] = ()
    abandon: bool = False

    async def scene(self) -> tuple[AnyResource, Any]:
        record, grants = RECORDS[self.record], [OPS] if self.holder == "object" else []
        policy = OnePolicy("user:ann@example.com") if self.holder == "by hand" else OnePolicy()
        roles = FakeCustomRoles(self.role, self.unsupported)
        kind = controller(*grants, record=record, roles=roles, policies=policy)
        if self.deletes:
            return kind, deletion(*self.users, abandon=self.abandon)
        return kind, want(record, *grants, adoption=self.adoption)


def declarations(record: str) -> Iterator[Case]:
    """Return a case for every combination of the options that matter for a record."""
    for role, adoption, holder, unsupported in product(
        roles(), ("Fail", "Adopt"), HOLDERS, (frozenset[str](), frozenset({"run.jobs.get"}))
    ):
        if not (role and unsupported & role.permissions):  # Google would not show such a role
            yield Case(record, role, adoption, holder, unsupported)


@pytest.mark.parametrize("record", RECORDS)
async def test_manage_does_what_observe_and_the_dry_run_report(record: str) -> None:
    for case in declarations(record):
        found = await agreement(case.scene, NOON)
        found.check_exact()
        assert isinstance(found.managed, InSync | Refused), case


@pytest.mark.parametrize("record", RECORDS)
async def test_deletion_does_what_its_plan_says(record: str) -> None:
    for role, users, abandon in product(roles(), ((), ("IAMBinding payments/ops",)), (False, True)):
        found = await agreement(Case(record, role, deletes=True, users=users, abandon=abandon).scene, NOON)
        found.check_exact()
        assert isinstance(found.managed, InSync | Waiting)


@pytest.mark.parametrize(
    ("case", "outcome", "reason"),
    [
        (Case("created", AS_DECLARED), InSync, None),
        (Case("creating", AS_DECLARED), InSync, None),
        (Case("no record", None), Paused, Reason.DRIFT_DETECTED),
        (Case("created", replace(AS_DECLARED, title="Old")), Paused, Reason.DRIFT_DETECTED),
        (Case("no record", AS_DECLARED, "Adopt"), Paused, Reason.DRIFT_DETECTED),
        (Case("no record", AS_DECLARED), Refused, Reason.CONFLICT),
        (Case("no record", replace(AS_DECLARED, deleted=True)), Refused, Reason.CONFLICT),
        (Case("created", None, holder="object"), Refused, Reason.DENIED_BY_GUARDRAIL),
        (Case("created", None, holder="by hand"), Refused, Reason.DENIED_BY_GUARDRAIL),
        (Case("left", AS_DECLARED), Paused, Reason.DRIFT_DETECTED),
        (
            Case("no record", replace(AS_DECLARED, permissions=NOT_ADMITTED), "Adopt"),
            Refused,
            Reason.DENIED_BY_GUARDRAIL,
        ),
        (Case("created", AS_DECLARED, deletes=True, users=("IAMBinding a/b",)), Waiting, Reason.IN_USE),
    ],
)
async def test_observe_reports_why_manage_would_not_act(
    case: Case, outcome: type[Outcome], reason: Reason | None
) -> None:
    observed = (await agreement(case.scene, NOON)).observed
    assert isinstance(observed, outcome)
    assert getattr(observed, "reason", None) is reason
