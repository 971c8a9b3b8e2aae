"""A reassignment that Google Cloud denies: a missing permission, or a grant that is still to come."""

import pytest

from cloudrun_identity.api import CloudRunIdentity, PreflightCheck, PreflightState, Reason
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Outcome, Waiting
from cloudrun_identity.reconcile.status import Report, status_of
from tests.unit.controllers.attachments import ELSEWHERE, attachment, want
from tests.unit.controllers.carry_out import carried_out
from tests.unit.controllers.cluster_state import FakeClusterState, identity, project, record
from tests.unit.controllers.identity_attachment.fake_cloud import NOW, FakeCloud


def after(outcome: Outcome) -> CloudRunIdentity:
    """Return the identity after a reconcile with this outcome."""
    obj = identity()
    return obj.replace(status=status_of(obj, Report(outcome), NOW))


READY = after(InSync())


async def denied(owner: CloudRunIdentity, *failed: str, fault: Fault = Fault.PERMISSION_DENIED) -> Outcome:
    """Return the outcome of a reassignment that fails, with these failed checks."""
    cloud = FakeCloud(ELSEWHERE, fault)
    cloud.checks = tuple(
        PreflightCheck(check=check, state=PreflightState.FAILED, message=f"{check} is missing")
        for check in failed
    )
    cluster = FakeClusterState(project(), owner, accounts=[record()])
    progress = await carried_out(cloud.controller(), want(attachment(), cluster), now=NOW)
    return progress.outcome


async def test_denial_without_a_failed_check_is_a_missing_permission() -> None:
    outcome = await denied(READY)

    assert isinstance(outcome, Failing)
    assert outcome.reason is Reason.PERMISSION_DENIED


async def test_denial_waits_for_the_grant_to_the_service_agent() -> None:
    outcome = await denied(READY, "ServiceAgent")

    assert isinstance(outcome, Failing)
    assert outcome.reason is Reason.DEPENDENCY_NOT_READY
    assert "was denied: ServiceAgent is missing (Google Cloud: “" in outcome.message


@pytest.mark.parametrize("other", ["ActAs", "OrgPolicy"])
async def test_denial_with_other_failed_requirements_is_a_missing_permission(other: str) -> None:
    outcome = await denied(READY, "ServiceAgent", other)

    assert isinstance(outcome, Failing)
    assert outcome.reason is Reason.PERMISSION_DENIED
    assert f"was denied: {other} is missing; ServiceAgent is missing (Google Cloud: “" in outcome.message


async def test_denial_waits_for_the_grants_of_the_identity() -> None:
    outcome = await denied(after(Waiting(Reason.PROPAGATION_PENDING, "m")), "ActAs")

    assert isinstance(outcome, Failing)
    assert outcome.reason is Reason.DEPENDENCY_NOT_READY
    assert outcome.message.endswith(
        "; CloudRunIdentity payments/checkout is not Ready, so its grants may be missing"
    )


async def test_other_failures_do_not_wait_for_grants() -> None:
    outcome = await denied(READY, "ServiceAgent", fault=Fault.QUOTA_EXCEEDED)

    assert isinstance(outcome, Failing)
    assert outcome.reason is Reason.QUOTA_EXCEEDED
