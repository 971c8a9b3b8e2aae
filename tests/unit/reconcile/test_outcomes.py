from dataclasses import replace

import pytest

from cloudrun_identity.api import Reason
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.reconcile.outcomes import (
    LONGEST_RETRY,
    Failing,
    InSync,
    Outcome,
    Paused,
    Refused,
    Waiting,
    gravest,
    outcome_of,
    outcome_of_undoing,
)

REFUSED = Refused(Reason.REJECTED, "no")
FAILING = Failing(Reason.API_UNAVAILABLE, "down")
WAITING = Waiting(Reason.UPDATING, "soon")
PAUSED = Paused(Reason.SUSPENDED, "paused")


def error(fault: Fault, retry_after: float | None = None) -> GoogleError:
    return GoogleError(fault, "google.Service/Method", "Google says no", retry_after=retry_after)


@pytest.mark.parametrize(
    ("fault", "reason", "kind"),
    [
        (Fault.PERMISSION_DENIED, Reason.PERMISSION_DENIED, Failing),
        (Fault.UNAUTHENTICATED, Reason.PERMISSION_DENIED, Failing),
        (Fault.QUOTA_EXCEEDED, Reason.QUOTA_EXCEEDED, Failing),
        (Fault.API_DISABLED, Reason.API_DISABLED, Failing),
        (Fault.INVALID_ARGUMENT, Reason.REJECTED, Refused),
        (Fault.FAILED_PRECONDITION, Reason.REJECTED, Refused),
        (Fault.UNIMPLEMENTED, Reason.REJECTED, Refused),
        (Fault.ALREADY_EXISTS, Reason.CONFLICT, Refused),
        (Fault.ABORTED, Reason.UPDATING, Failing),
        (Fault.UNAVAILABLE, Reason.API_UNAVAILABLE, Failing),
        (Fault.NOT_FOUND, Reason.DEPENDENCY_NOT_FOUND, Failing),
        (Fault.PERIMETER_VIOLATION, Reason.PERIMETER_VIOLATION, Failing),
        (Fault.LOCATION_NOT_FOUND, Reason.LOCATION_NOT_FOUND, Refused),
    ],
)
def test_outcome_of_an_error_names_the_failed_action(
    fault: Fault, reason: Reason, kind: type[Outcome]
) -> None:
    outcome = outcome_of(error(fault), "creating account x")
    assert isinstance(outcome, kind)
    assert not isinstance(outcome, InSync)
    assert outcome.reason is reason
    assert outcome.message.startswith("creating account x: ")


@pytest.mark.parametrize(
    ("metadata", "command"),
    [
        ({}, "Google says no"),
        ({"service": "run.googleapis.com"}, "gcloud services enable run.googleapis.com"),
        (
            {"service": "run.googleapis.com", "consumer": "projects/42"},
            "gcloud services enable run.googleapis.com --project=42",
        ),
    ],
)
def test_disabled_api_is_reported_with_the_command_to_enable_it(
    metadata: dict[str, str], command: str
) -> None:
    disabled = GoogleError(Fault.API_DISABLED, "google.Service/Method", "Google says no", metadata=metadata)
    outcome = outcome_of(disabled, "x")
    assert isinstance(outcome, Failing)
    assert outcome.message.endswith(command)


@pytest.mark.parametrize("fault", Fault)
def test_lasting_error_of_a_deletion_names_abandon_as_the_remedy(fault: Fault) -> None:
    outcome = outcome_of_undoing(error(fault), "releasing x")
    plain = outcome_of(error(fault), "releasing x")
    assert not isinstance(outcome, InSync)
    assert not isinstance(plain, InSync)
    transient = fault in (Fault.UNAVAILABLE, Fault.ABORTED, Fault.QUOTA_EXCEEDED)
    assert ("spec.deletionPolicy to Abandon" in outcome.message) is not transient
    assert replace(outcome, message=plain.message) == plain


@pytest.mark.parametrize("fault", Fault)
def test_only_an_unavailable_api_leaves_the_state_unobserved(fault: Fault) -> None:
    outcome = outcome_of(error(fault), "x")
    unobserved = isinstance(outcome, Failing) and not outcome.observed
    assert unobserved is (fault is Fault.UNAVAILABLE)


def test_quota_error_is_retried_after_the_delay_that_google_reports() -> None:
    assert outcome_of(error(Fault.QUOTA_EXCEEDED, retry_after=7.0), "x") == Failing(
        Reason.QUOTA_EXCEEDED, "x: Google says no", after=7.0
    )


@pytest.mark.parametrize(
    ("fault", "retry_after", "after"),
    [
        (Fault.QUOTA_EXCEEDED, 86_401.0, None),  # a limit on objects: the backoff of the work queue
        (Fault.UNAVAILABLE, 86_401.0, LONGEST_RETRY),
        (Fault.UNAVAILABLE, 5.0, 5.0),
        (Fault.UNAVAILABLE, None, None),
    ],
)
def test_retry_is_bounded_whatever_google_asks_for(
    fault: Fault, retry_after: float | None, after: float | None
) -> None:
    outcome = outcome_of(error(fault, retry_after=retry_after), "x")
    assert isinstance(outcome, Failing)
    assert outcome.after == after


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ((), InSync()),
        ((InSync(), PAUSED), PAUSED),
        ((PAUSED, WAITING), WAITING),
        ((WAITING, FAILING), FAILING),
        ((InSync(), WAITING, FAILING, REFUSED), REFUSED),
    ],
)
def test_gravest_outcome_decides(outcomes: tuple[Outcome, ...], expected: Outcome) -> None:
    assert gravest(*outcomes) == expected
    assert gravest(*reversed(outcomes)) == expected


def test_first_of_equally_grave_outcomes_decides() -> None:
    other = Refused(Reason.INVALID_SPEC, "also no")
    assert gravest(REFUSED, other) == REFUSED


def test_resource_that_is_not_found_because_it_is_new_is_waited_for() -> None:
    missing = error(Fault.NOT_FOUND)
    missing.propagating = True
    outcome = outcome_of(missing, "x")
    assert isinstance(outcome, Waiting)
    assert outcome.reason is Reason.PROPAGATION_PENDING
    assert outcome.message.endswith("; it was just created, and has not propagated in Google Cloud yet")
