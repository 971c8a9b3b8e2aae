import pytest

from cloudrun_identity.api import Reason
from cloudrun_identity.controllers.identity_key.outcomes import (
    forbidden,
    no_secret,
    refused_secret,
    resting,
    stopped,
)
from cloudrun_identity.controllers.identity_key.plan import LAG, SETTLE, Await, Full, Rest
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.iam.listed_keys import ListedKey
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Refused, Waiting
from tests.unit.controllers.cloud import fault
from tests.unit.controllers.identity_key.key_bench import DAY, NOON, seen, wanted

_, WANT = wanted()
SECRET = "Secret payments/checkout-key"


def test_nothing_due_is_looked_at_again_when_something_is() -> None:
    assert resting(Rest(NOON + DAY), NOON) == InSync(after=86_400.0)
    assert resting(Rest(None), NOON) == InSync(after=None)


def test_a_key_that_was_asked_for_is_waited_for() -> None:
    waiting = resting(Rest(NOON + SETTLE, unfinished=True), NOON)
    assert isinstance(waiting, Waiting)
    assert (waiting.reason, waiting.after) == (Reason.UPDATING, 60.0)


def test_an_attempt_that_was_cut_short_is_waited_out_and_never_for_less_than_a_second() -> None:
    waiting = stopped(Await(NOON + LAG), seen())
    assert isinstance(waiting, Waiting)
    assert waiting.after == 120.0
    hardly = stopped(Await(NOON), seen())
    assert isinstance(hardly, Waiting)
    assert hardly.after == 1.0


def test_a_full_account_names_its_keys() -> None:
    failing = stopped(Full(), seen(ListedKey("k2", NOON), ListedKey("k1", NOON)))
    assert isinstance(failing, Failing)
    assert failing.reason is Reason.QUOTA_EXCEEDED
    assert failing.message.endswith("k1, k2")


def test_a_key_that_google_refuses_has_both_constraints_and_better_ways_named() -> None:
    refused = forbidden(
        WANT.use, fault(Fault.FAILED_PRECONDITION, "Key creation is not allowed on this service account.")
    )
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.REJECTED
    for named in ("disableServiceAccountKeyCreation", "iam.managed.", "attach", "impersonate", "not allowed"):
        assert named in refused.message


def test_a_secret_of_somebody_else_is_a_conflict_and_one_that_is_barred_a_matter_of_rights() -> None:
    taken = no_secret(WANT.use, barred=False)
    assert isinstance(taken, Refused)
    assert (taken.reason, SECRET in taken.message) == (Reason.CONFLICT, True)
    barred = no_secret(WANT.use, barred=True)
    assert isinstance(barred, Failing)
    assert (barred.reason, "keys.enabled" in barred.message) == (Reason.PERMISSION_DENIED, True)


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (KubeError(403, "Forbidden", SECRET), Failing, Reason.PERMISSION_DENIED),
        (KubeError(422, "Invalid", SECRET), Refused, Reason.INVALID_SPEC),
    ],
)
def test_a_secret_that_the_api_server_refuses_is_named(
    error: KubeError, outcome: type[Failing | Refused], reason: Reason
) -> None:
    refused = refused_secret(WANT.use, error)
    assert isinstance(refused, outcome)
    assert refused.reason is reason
    assert SECRET in refused.message


def test_any_other_failure_of_the_api_server_is_tried_again() -> None:
    with pytest.raises(KubeError):
        refused_secret(WANT.use, KubeError(409, "Conflict", SECRET))
