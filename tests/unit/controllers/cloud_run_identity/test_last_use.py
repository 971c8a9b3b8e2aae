"""The advisory condition RecentlyUsed, and last uses of unmanaged keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cloudrun_identity.api import CloudRunIdentity, ConditionStatus, UnmanagedKey
from cloudrun_identity.controllers.cloud_run_identity.advisory_conditions import keys_audited
from cloudrun_identity.controllers.cloud_run_identity.last_use import (
    AccountUse,
    recently_used,
    with_last_use,
)
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.last_use_calls import DAY
from cloudrun_identity.gcp.observed_uses import PENDING, UNKNOWN, Evidence, LastUse, Observation, Unknown
from tests.unit.controllers.cluster_state import EMAIL, identity

READ = datetime(2030, 6, 15, 12, tzinfo=UTC)
UNTIL = datetime(2030, 6, 14, 7, tzinfo=UTC)


def created(days_ago: int) -> CloudRunIdentity:
    """Return an identity that was created this many days before the end of the observation."""
    metadata = identity().metadata.replace(creation_timestamp=UNTIL - timedelta(days=days_ago))
    return identity().model_copy(update={"metadata": metadata})


def seen(days_ago: int | None = None, *, is_complete: bool = True) -> Observation:
    """Return an observation of 400 days, with a use of the account in its day `days_ago`."""
    uses = {"other": LastUse(UNTIL - DAY, UNTIL)}
    if days_ago is not None:
        began = UNTIL - timedelta(days=days_ago)
        uses["111"] = LastUse(began, began + DAY)
    return Observation(READ, UNTIL - timedelta(days=400), UNTIL, uses, is_complete)


def finding(answer: Evidence, age: int = 365) -> tuple[ConditionStatus, str, str]:
    found = recently_used(created(age), "111", AccountUse(answer, UNKNOWN))
    return found.status, found.reason, found.message


def test_account_that_was_used_within_90_days_is_recently_used() -> None:
    assert finding(seen(80)) == (ConditionStatus.TRUE, "Used", "Google last saw a use on 2030-03-26")


def test_account_unused_for_90_days_is_reported_with_its_last_use() -> None:
    status, reason, message = finding(seen(100))
    assert (status, reason) == (ConditionStatus.FALSE, "Unused")
    assert message.startswith("Not used for 90 days: Google last saw a use on 2030-03-06; ")
    assert "spec.disabled" in message


def test_old_identity_that_google_never_saw_in_use_is_unused() -> None:
    status, reason, message = finding(seen())
    assert (status, reason) == (ConditionStatus.FALSE, "Unused")
    assert "Google has seen no use" in message


def test_new_identity_without_a_use_is_not_reported() -> None:
    assert finding(seen(), age=30)[:2] == (ConditionStatus.UNKNOWN, "NoUseYet")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (UNKNOWN, "reports no use of any account of the project"),
        (
            Unknown(
                GoogleError(
                    Fault.API_DISABLED,
                    "s/QueryActivity",
                    "disabled",
                    metadata={"service": "policyanalyzer.googleapis.com", "consumer": "projects/ops"},
                )
            ),
            "gcloud services enable policyanalyzer.googleapis.com --project=ops",
        ),
        (seen(is_complete=False), "too long to be read as a whole"),
    ],
)
def test_no_answer_is_unknown_and_names_the_remedy(answer: Evidence, said: str) -> None:
    status, reason, message = finding(answer)
    assert (status, reason) == (ConditionStatus.UNKNOWN, "NotObserved")
    assert said in message


def test_unmanaged_keys_have_their_age_and_last_use() -> None:
    old = UnmanagedKey(id="old", created_time=datetime(2029, 3, 1, tzinfo=UTC))
    use = LastUse(datetime(2030, 6, 1, 7, tzinfo=UTC), datetime(2030, 6, 2, 8, tzinfo=UTC))
    keys = Observation(READ, UNTIL - timedelta(days=400), UNTIL, {"old": use})
    [shown] = with_last_use(identity(), (old,), AccountUse(UNKNOWN, keys))
    assert shown.last_used == "2030-06-01"
    assert "the oldest of 2029-03-01, last used on 2030-06-01;" in keys_audited((shown,), EMAIL).message
    assert with_last_use(identity(), (old,), None) == (old,)


def test_last_use_stays_while_the_answer_has_not_arrived() -> None:
    known = UnmanagedKey(id="old", last_used="2030-06-01")
    status = identity().status.replace(unmanaged_keys=(known,))
    obj = identity().model_copy(update={"status": status})
    assert with_last_use(obj, (UnmanagedKey(id="old"),), AccountUse(PENDING, PENDING)) == (known,)
