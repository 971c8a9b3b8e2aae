"""A reassignment that Google Cloud denies: a missing permission, or a grant that is still to come."""

from datetime import timedelta
from typing import Any

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


async def denied(
    owner: CloudRunIdentity,
    *failed: str,
    fault: Fault = Fault.PERMISSION_DENIED,
    cloud: FakeCloud | None = None,
    **account: Any,
) -> Outcome:
    """Return the outcome of a reassignment that fails, with these failed checks."""
    cloud = cloud or FakeCloud(ELSEWHERE, fault)
    cloud.checks = tuple(
        PreflightCheck(check=check, state=PreflightState.FAILED, message=f"{check} is missing")
        for check in failed
    )
    cluster = FakeClusterState(project(), owner, accounts=[record(**account)])
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


async def test_workload_is_not_reassigned_before_access_to_a_new_account_is_shown() -> None:
    cloud = FakeCloud(ELSEWHERE)
    outcome = await denied(READY, "ActAs", cloud=cloud, appeared_time=NOW - timedelta(seconds=60))

    assert isinstance(outcome, Waiting)
    assert outcome.reason is Reason.PROPAGATION_PENDING
    assert outcome.message.endswith(
        "Google Cloud does not show yet that the operator may act as it; if this lasts for two minutes: "
        "ActAs is missing"
    )
    assert not any(call.startswith("reassign") for call in cloud.calls)


async def test_denial_for_a_new_account_is_propagation() -> None:
    outcome = await denied(READY, appeared_time=NOW - timedelta(seconds=60))

    assert isinstance(outcome, Failing)
    assert outcome.reason is Reason.PROPAGATION_PENDING
    assert "may not have propagated in Google Cloud yet; the operator tries again" in outcome.message


async def test_denial_after_the_grace_period_is_a_missing_permission() -> None:
    outcome = await denied(READY, "ActAs", appeared_time=NOW - timedelta(seconds=121))

    assert isinstance(outcome, Failing)
    assert outcome.reason is Reason.PERMISSION_DENIED
