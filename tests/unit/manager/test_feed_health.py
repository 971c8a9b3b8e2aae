"""The condition ChangeFeedReady, and the interval that depends on it."""

from datetime import UTC, datetime

import pytest

from cloudrun_identity.api import ConditionStatus, ManagedProject
from cloudrun_identity.controllers.managed_project.change_feed import (
    LAGGING_AFTER,
    STALLED_AFTER,
    UNREACHABLE_AFTER,
    FeedState,
    feed_finding,
    feed_status,
    lag_text,
)
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.manager.feed_health import LONGEST_RESYNC, PUNCTUAL_AFTER, FeedHealth

OPS = "projects/ops-1234/subscriptions/audit"
NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)


def project(feed: object = None, name: str = "payments-prod") -> ManagedProject:
    spec = {"projectID": f"{name}-1234", **({"changeFeed": feed} if feed is not None else {})}
    return ManagedProject.model_validate({"metadata": {"name": name}, "spec": spec})


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Feed:
    """The health of the feed of one project."""

    def __init__(self, declared: object = None, default: str = OPS) -> None:
        self.clock = Clock()
        self.health = FeedHealth(default, lambda: "operator@ops-1234.iam.gserviceaccount.com", self.clock)
        self.project = project(declared if declared is not None else {})

    @property
    def finding(self) -> tuple[ConditionStatus, str]:
        state = self.health.state(self.project)
        assert state
        found = feed_finding(state)
        return found.status, found.reason

    def message(self) -> str:
        state = self.health.state(self.project)
        assert state
        return feed_finding(state).message

    def fail(self, fault: Fault) -> None:
        self.health.failed(OPS, GoogleError(fault, "google.pubsub.v1.Subscriber/Pull", "no"))

    def receive(self) -> None:
        self.health.pulled(OPS, 0.5)
        self.health.received(self.project.project_id, NOON)


def test_project_without_a_feed_has_no_condition() -> None:
    health = FeedHealth("")
    assert health.state(project()) is None
    assert not health.subscription_of(project())


def test_feed_without_a_subscription_names_the_field_and_the_option() -> None:
    feed = Feed(default="")
    assert feed.finding == (ConditionStatus.FALSE, "NotConfigured")
    assert "--change-feed" in feed.message()


def test_subscription_of_the_project_precedes_that_of_the_operator() -> None:
    own = "projects/payments-prod-1234/subscriptions/own"
    assert FeedHealth(OPS).subscription_of(project({"subscription": own})) == own
    assert FeedHealth(OPS).subscription_of(project({"reportActors": True})) == OPS
    assert FeedHealth(OPS).subscription_of(project()) == OPS


def test_feed_becomes_ready_with_the_first_entry_of_the_project() -> None:
    feed = Feed()
    assert feed.finding == (ConditionStatus.UNKNOWN, "Starting")
    feed.health.pulled(OPS)
    assert feed.finding == (ConditionStatus.UNKNOWN, "NoEntries")
    feed.health.received("other-1234", NOON)
    assert feed.finding == (ConditionStatus.UNKNOWN, "NoEntries")
    feed.receive()
    assert feed.finding == (ConditionStatus.TRUE, "Receiving")
    assert "within 2 s" in feed.message()


def test_entry_before_a_restart_is_shown_and_proves_nothing() -> None:
    feed = Feed()
    feed.receive()
    state = feed.health.state(feed.project)
    assert state
    shown = feed_status(state, 300.0)
    raw = {**feed.project.to_dict(), "status": {"changeFeed": shown and shown.to_dict()}}
    feed = Feed()
    feed.project = ManagedProject.model_validate(raw)
    feed.health.pulled(OPS)
    restored = feed.health.state(feed.project)
    assert restored
    assert restored.last_entry == state.last_entry
    assert feed.finding == (ConditionStatus.UNKNOWN, "NoEntries")


@pytest.mark.parametrize(
    ("fault", "reason", "remedy"),
    [
        (
            Fault.NOT_FOUND,
            "SubscriptionNotFound",
            "gcloud pubsub subscriptions create audit --project=ops-1234",
        ),
        (
            Fault.PERMISSION_DENIED,
            "PermissionDenied",
            "gcloud pubsub subscriptions add-iam-policy-binding audit --project=ops-1234 "
            "--member=serviceAccount:operator@ops-1234.iam.gserviceaccount.com "
            "--role=roles/pubsub.subscriber",
        ),
        (Fault.API_DISABLED, "ApiDisabled", "tries again"),
    ],
)
def test_subscription_that_a_user_must_repair_is_reported_at_once(
    fault: Fault, reason: str, remedy: str
) -> None:
    feed = Feed()
    feed.receive()
    feed.fail(fault)
    assert feed.finding == (ConditionStatus.FALSE, reason)
    assert remedy in feed.message()
    feed.health.pulled(OPS)
    assert feed.finding == (ConditionStatus.TRUE, "Receiving")


def test_short_outage_of_pubsub_is_tolerated_and_a_long_one_reported() -> None:
    feed = Feed()
    feed.receive()
    feed.fail(Fault.UNAVAILABLE)
    assert feed.finding[0] is ConditionStatus.TRUE
    feed.clock.now += UNREACHABLE_AFTER + 1
    assert feed.finding == (ConditionStatus.FALSE, "ApiUnavailable")


def test_late_entries_are_reported() -> None:
    feed = Feed()
    feed.receive()
    feed.health.pulled(OPS, LAGGING_AFTER + 1)
    assert feed.finding == (ConditionStatus.FALSE, "Lagging")
    feed.health.pulled(OPS)
    assert feed.finding == (ConditionStatus.FALSE, "Lagging"), "one pull without a late entry proves nothing"
    feed.clock.now += PUNCTUAL_AFTER
    feed.health.pulled(OPS)
    assert feed.finding[0] is ConditionStatus.TRUE


def test_pull_that_does_not_end_is_reported() -> None:
    feed = Feed()
    feed.receive()
    feed.clock.now += STALLED_AFTER + 1
    assert feed.finding == (ConditionStatus.FALSE, "ApiUnavailable")


def test_resyncs_are_at_most_a_day_apart() -> None:
    feed = Feed({"resyncWithFeed": "99999h"})
    feed.receive()
    assert feed.health.interval(feed.project) == LONGEST_RESYNC


def test_drift_that_no_entry_reported_shows_that_the_feed_has_stopped() -> None:
    feed = Feed()
    feed.receive()
    feed.health.missed(feed.project.project_id)
    assert feed.finding[0] is ConditionStatus.TRUE  # the entry may be late
    feed.clock.now += LAGGING_AFTER + 1
    feed.health.pulled(OPS)
    assert feed.finding == (ConditionStatus.FALSE, "EntriesMissing")
    feed.receive()
    assert feed.finding[0] is ConditionStatus.TRUE


def test_interval_is_longer_only_while_the_feed_is_ready() -> None:
    feed = Feed({"resyncWithFeed": "1h"})
    assert feed.health.interval(feed.project) == 300
    feed.receive()
    assert feed.health.interval(feed.project) == 3600
    feed.fail(Fault.PERMISSION_DENIED)
    assert feed.health.interval(feed.project) == 300


def test_interval_is_never_shortened() -> None:
    feed = Feed({"resyncWithFeed": "1m"})
    feed.receive()
    assert feed.health.interval(feed.project) == 300
    unset = Feed()
    unset.receive()
    assert unset.health.interval(unset.project) == 300


def test_each_change_of_readiness_is_returned_once() -> None:
    feed = Feed()
    assert feed.health.changes([feed.project]) == (feed.project,)
    assert feed.health.changes([feed.project]) == ()
    feed.receive()
    assert feed.health.changes([feed.project]) == (feed.project,)
    assert feed.health.changes([feed.project]) == ()


def test_lag_is_shown_in_steps() -> None:
    assert [lag_text(each) for each in (0.4, 1.9, 2.1, 45.0, 1e6)] == [
        "within 2 s",
        "within 2 s",
        "within 10 s",
        "within 1 min",
        "more than an hour",
    ]


def test_state_without_a_subscription_has_no_status() -> None:
    assert feed_status(FeedState(""), 300.0) is None
