import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cloudrun_identity.api import GrantState, Reason, TargetKind
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.audited_changes import (
    AuditedChange,
    BindingDelta,
    Cause,
    DeltaAction,
    PolicyChange,
)
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.policy.backoff import GrantBackoff
from cloudrun_identity.policy.results import GrantResult, GrantSyncResult
from cloudrun_identity.reconcile.change_log import NO_CAUSES, Causes, ChangeLog
from cloudrun_identity.reconcile.grant_status import grant_statuses
from cloudrun_identity.reconcile.grants.resolver import GrantFailure, ResolvedGrants
from cloudrun_identity.reconcile.outcomes import Failing, Outcome, Paused, Refused, Waiting
from cloudrun_identity.reconcile.status import difference_of

PROJECT = Target(TargetKind.PROJECT, "acme")
SERVICE = Target(TargetKind.SERVICE, "acme", "europe-west1", "web")
ANN = Grant(PROJECT, "roles/run.invoker", "user:ann@example.com")
NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
REMOVED = BindingDelta(DeltaAction.REMOVE, ANN.role, ANN.member)
BOB = Grant(SERVICE, "roles/run.invoker", "user:bob@example.com")


def now() -> float:
    return asyncio.get_running_loop().time()


def refusal() -> GoogleError:
    return GoogleError(Fault.INVALID_ARGUMENT, "google.Service/Method", "Google says no")


def one_outcome(grant_result: GrantResult, causes: Causes = NO_CAUSES) -> Outcome:
    synced = GrantSyncResult(grant_results=(grant_result,))
    _, found = grant_statuses(ResolvedGrants(), synced, causes=causes)
    (outcome,) = found
    return outcome


def removed_by_dana(*, names_actors: bool = True, deltas: tuple[BindingDelta, ...] = (REMOVED,)) -> Causes:
    """Return a change log with a removal of ANN's grant by another client."""
    log = ChangeLog(lambda _: None, reports_actors=lambda _: names_actors, wall_clock=lambda: NOON)
    cause = Cause("SetIamPolicy", NOON, "user:dana@example.com", "terraform/1.9")
    log.note(AuditedChange(PolicyChange(PROJECT), cause, "dana@example.com", deltas=deltas))
    return log


def test_existing_grant_has_no_outcome() -> None:
    grants, found = grant_statuses(
        ResolvedGrants(), GrantSyncResult(grant_results=(GrantResult(ANN, GrantState.GRANTED),))
    )
    assert found == []
    assert [(each.state, each.reason) for each in grants] == [(GrantState.GRANTED, None)]


async def test_rejected_grant_is_refused_with_the_message_of_google() -> None:
    outcome = one_outcome(GrantResult(ANN, GrantState.REJECTED, GrantBackoff(now() + 15, 1, refusal())))
    assert outcome == Refused(Reason.REJECTED, f"{ANN}: Google says no")


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [(Fault.INVALID_ARGUMENT, "the member exists"), (Fault.FAILED_PRECONDITION, "organization policy")],
)
async def test_rejection_names_the_remedy(fault: Fault, remedy: str) -> None:
    rejection = GoogleError(fault, "google.Service/Method", "Google says no", code=str(fault))
    outcome = one_outcome(GrantResult(ANN, GrantState.REJECTED, GrantBackoff(now() + 15, 1, rejection)))
    assert isinstance(outcome, Refused)
    assert outcome.message.startswith(f"{ANN}: Google says no; ")
    assert remedy in outcome.message


async def test_rejected_service_agent_is_created_on_request() -> None:
    agent = "serviceAccount:service-42@gcp-sa-pubsub.iam.gserviceaccount.com"
    grant = Grant(PROJECT, "roles/run.invoker", agent)
    rejection = GoogleError(
        Fault.INVALID_ARGUMENT, "google.Service/Method", "Service account does not exist.", code="400"
    )
    outcome = one_outcome(GrantResult(grant, GrantState.REJECTED, GrantBackoff(now() + 15, 1, rejection)))
    assert isinstance(outcome, Refused)
    assert outcome.message == (
        f"{grant}: Service account does not exist; if the project has not used the service yet, create its "
        "service agent: gcloud beta services identity create --service=pubsub.googleapis.com --project=42"
    )


async def test_propagating_grant_is_waited_for_until_its_retry() -> None:
    backoff = GrantBackoff(now() + 3, 1, refusal(), propagating=True)
    outcome = one_outcome(GrantResult(ANN, GrantState.PENDING, backoff))
    assert isinstance(outcome, Waiting)
    assert outcome.reason is Reason.PROPAGATION_PENDING
    assert outcome.after == pytest.approx(3, abs=0.5)


async def test_repeatedly_removed_grant_is_a_conflict() -> None:
    outcome = one_outcome(GrantResult(ANN, GrantState.PENDING, GrantBackoff(now() + 60, 1)))
    assert isinstance(outcome, Failing)
    assert outcome.reason is Reason.CONFLICT
    assert outcome.after == pytest.approx(60, abs=0.5)


async def test_conflict_names_the_writer_that_last_removed_the_grant() -> None:
    losing = GrantResult(ANN, GrantState.PENDING, GrantBackoff(now() + 60, 1))
    outcome = one_outcome(losing, removed_by_dana())
    assert isinstance(outcome, Failing)
    assert outcome.message == (
        f"{ANN}: another writer removes it repeatedly; it was last removed by user:dana@example.com "
        "(Terraform) at 2026-11-03T12:00:00Z"
    )


async def test_conflict_does_not_blame_a_writer_whose_change_is_not_shown() -> None:
    losing = GrantResult(ANN, GrantState.PENDING, GrantBackoff(now() + 60, 1))
    outcome = one_outcome(losing, removed_by_dana(deltas=()))
    assert isinstance(outcome, Failing)
    assert "the policy was last written by user:dana@example.com (Terraform) at" in outcome.message


@pytest.mark.parametrize(
    "causes",
    [
        removed_by_dana(names_actors=False),
        removed_by_dana(deltas=(replace(REMOVED, action=DeltaAction.ADD),)),
        NO_CAUSES,
    ],
    ids=["actors are not reported", "another change", "no feed"],
)
async def test_conflict_without_a_known_writer_refers_to_the_audit_logs(causes: Causes) -> None:
    outcome = one_outcome(GrantResult(ANN, GrantState.PENDING, GrantBackoff(now() + 60, 1)), causes)
    assert isinstance(outcome, Failing)
    assert outcome.message.endswith("Google Cloud's audit logs show who else writes this policy")


def test_missing_grant_without_a_reason_is_drift() -> None:
    outcome = one_outcome(GrantResult(ANN, GrantState.PENDING))
    assert outcome == Waiting(Reason.DRIFT_DETECTED, f"{ANN} is missing")


def test_missing_target_is_reported_once_and_checked_again() -> None:
    grant_results = (
        GrantResult(BOB, GrantState.PENDING),
        GrantResult(ANN, GrantState.GRANTED),
    )
    _, found = grant_statuses(
        ResolvedGrants(), GrantSyncResult(grant_results=grant_results, missing=(SERVICE,))
    )
    (outcome,) = found
    assert isinstance(outcome, Waiting)
    assert outcome.reason is Reason.WORKLOAD_NOT_FOUND
    assert outcome.message == (
        "Service europe-west1/web does not exist in project acme; create it, or correct the target in the "
        "spec"
    )
    assert outcome.after


def test_unfinished_release_is_waited_for() -> None:
    grants, found = grant_statuses(ResolvedGrants(), GrantSyncResult(releasing=(ANN,)))
    assert [each.state for each in grants] == [GrantState.RELEASING]
    assert [type(outcome) for outcome in found] == [Waiting]


def test_grant_failures_keep_their_outcome() -> None:
    denied = Refused(Reason.DENIED_BY_GUARDRAIL, "no")
    failure = GrantFailure(PROJECT, "roles/owner", "user:ann@example.com", denied)
    grants, found = grant_statuses(ResolvedGrants(failures=(failure,)), GrantSyncResult())
    assert found == [denied]
    assert [(each.state, each.reason) for each in grants] == [(GrantState.REJECTED, "DeniedByGuardrail")]


def test_grants_that_need_attention_are_listed_first() -> None:
    grant_results = (
        GrantResult(ANN, GrantState.GRANTED),
        GrantResult(BOB, GrantState.REJECTED),
    )
    grants, _ = grant_statuses(
        ResolvedGrants(), GrantSyncResult(grant_results=grant_results, releasing=(ANN,))
    )
    assert [each.state for each in grants] == [
        GrantState.REJECTED,
        GrantState.RELEASING,
        GrantState.GRANTED,
    ]


def test_pending_grant_is_a_difference() -> None:
    grants, _ = grant_statuses(
        ResolvedGrants(), GrantSyncResult(grant_results=(GrantResult(ANN, GrantState.PENDING),))
    )
    assert difference_of((), grants, ()) == (
        "roles/run.invoker for user:ann@example.com on Project acme is pending"
    )


def test_unmanaged_member_is_a_difference_and_its_removal_is_awaited() -> None:
    assert difference_of((), (), (ANN,)) == f"{ANN} is not declared"
    _, found = grant_statuses(ResolvedGrants(), GrantSyncResult(unmanaged=(ANN,)))
    (outcome,) = found
    assert isinstance(outcome, Waiting)
    assert outcome.reason is Reason.DRIFT_DETECTED


def test_grant_differences_of_an_observed_object_pause_it() -> None:
    seen = GrantSyncResult(grant_results=(GrantResult(BOB, GrantState.PENDING),), unmanaged=(ANN,))
    _, found = grant_statuses(ResolvedGrants(), seen, observe=True)
    assert found == [
        Paused(Reason.DRIFT_DETECTED, f"{BOB} is missing"),
        Paused(Reason.DRIFT_DETECTED, f"{ANN} is not declared"),
    ]


def test_exclusive_binding_with_another_owner_is_a_conflict() -> None:
    _, found = grant_statuses(ResolvedGrants(), GrantSyncResult(conflicting=(ANN,)))
    (outcome,) = found
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.CONFLICT


def test_release_in_a_suspended_project_waits_without_a_requeue() -> None:
    grants, found = grant_statuses(ResolvedGrants(), GrantSyncResult(halted=(ANN,)))
    assert [(each.state, each.reason) for each in grants] == [(GrantState.RELEASING, Reason.SUSPENDED)]
    message = f"Releasing {ANN} waits: project acme is suspended"
    assert found == [Waiting(Reason.DEPENDENCY_NOT_READY, message)]
