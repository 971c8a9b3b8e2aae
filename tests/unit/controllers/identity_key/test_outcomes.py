import pytest

from cloudrun_identity.api import KeyState, LedgerKeyAttempt, Reason
from cloudrun_identity.controllers.identity_key.outcomes import (
    account_full,
    creation_refused,
    secret_forbidden,
    secret_refused,
    secret_taken,
)
from cloudrun_identity.controllers.identity_key.plan import LAG, SETTLE, plan
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.iam.listed_keys import ListedKey
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.ledger.keys import KeyRing
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Refused, Waiting
from tests.unit.controllers.cloud import fault
from tests.unit.controllers.identity_key.key_bench import DAY, NOON, key, ring_of, secret, seen, wanted

WANT = wanted()
SECRET = "Secret payments/checkout-key"
LISTED = ListedKey("k1", NOON)
ANOTHER = {"rotation": {"generation": 1}}


def test_a_plan_without_steps_is_due_when_the_next_step_is() -> None:
    assert plan(WANT, seen(LISTED, has=secret(), ring=ring_of(key()))).outcome == InSync(
        30 * DAY.total_seconds()
    )


def test_a_requested_key_is_waited_for() -> None:
    next_key = key("k2", state=KeyState.PUBLISHING, generation=1)
    ring = ring_of(key(), next_key)
    now = seen(LISTED, ListedKey("k2", NOON), has=secret(), ring=ring, publishable=frozenset({"k2"}))
    waiting = plan(wanted(**ANOTHER), now).outcome
    assert isinstance(waiting, Waiting)
    assert (waiting.reason, waiting.after) == (Reason.UPDATING, SETTLE.total_seconds())


def test_an_interrupted_creation_is_waited_for_at_least_a_second() -> None:
    ring = KeyRing(attempt=LedgerKeyAttempt(owner=WANT.name, time=NOON, known=frozenset()))
    waiting = plan(WANT, seen(ring=ring)).outcome
    assert isinstance(waiting, Waiting)
    assert waiting.after == LAG.total_seconds()
    hardly = plan(WANT, seen(ring=ring, now=NOON + LAG * 0.999)).outcome
    assert isinstance(hardly, Waiting)
    assert hardly.after == 1.0


def test_a_full_account_names_its_keys() -> None:
    failing = account_full(["k2", "k1"])
    assert failing.reason is Reason.QUOTA_EXCEEDED
    assert failing.message.endswith("k1, k2")


def test_a_refused_creation_names_the_constraints_and_the_alternatives() -> None:
    refused = creation_refused(
        WANT, fault(Fault.FAILED_PRECONDITION, "Key creation is not allowed on this service account.")
    )
    assert refused.reason is Reason.REJECTED
    for named in ("disableServiceAccountKeyCreation", "iam.managed.", "Attach", "impersonate", "not allowed"):
        assert named in refused.message


def test_an_unmanaged_or_unreadable_secret_has_its_own_reason() -> None:
    reason, message = secret_taken(WANT)
    assert (reason, SECRET in message) == (Reason.CONFLICT, True)
    forbidden = secret_forbidden(WANT)
    assert forbidden.reason is Reason.PERMISSION_DENIED
    for named in ("keys.enabled", f"add {WANT.obj.metadata.namespace} to keys.namespaces"):
        assert named in forbidden.message


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
    refused = secret_refused(WANT, error)
    assert isinstance(refused, outcome)
    assert refused.reason is reason
    assert SECRET in refused.message


def test_any_other_error_of_the_api_server_is_retried() -> None:
    with pytest.raises(KubeError):
        secret_refused(WANT, KubeError(409, "Conflict", SECRET))
