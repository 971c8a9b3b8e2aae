"""The condition ChangeFeedReady of a project: whether the audit log arrives, how late, and what to do if not.

It is advice. The periodic resync finds all drift without the feed, at the next `driftInterval`.
"""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from cloudrun_identity.api import ChangeFeedStatus, ConditionStatus, ManagedProject, Reason
from cloudrun_identity.api.change_feed import subscription_parts
from cloudrun_identity.api.duration import go_duration
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.pubsub import PULL_TIMEOUT
from cloudrun_identity.reconcile.advice import advised
from cloudrun_identity.reconcile.conditions import Finding

UNREACHABLE_AFTER: Final = 120.0
"""Seconds without a successful pull, after which the feed is not ready, whatever the error is."""

STALLED_AFTER: Final = PULL_TIMEOUT + UNREACHABLE_AFTER
"""Seconds without a pull that ended, after which the feed is not ready although no error is known."""

LAGGING_AFTER: Final = 300.0
"""Seconds between a change and the arrival of its entry, from which the feed is not ready."""

RECEIVING: Final = "Receiving"
LAGGING: Final = "Lagging"
STARTING: Final = "Starting"
NO_ENTRIES: Final = "NoEntries"
ENTRIES_MISSING: Final = "EntriesMissing"
NOT_CONFIGURED: Final = "NotConfigured"
SUBSCRIPTION_NOT_FOUND: Final = "SubscriptionNotFound"

_SETUP: Final = "`cloudrun-identity permissions -f FILE` prints all commands for the ManagedProject in FILE"


@dataclass(frozen=True, slots=True)
class FeedState:
    """The state of the change feed of a project, as this process knows it."""

    subscription: str
    """Name of the subscription; empty if the project and the operator name none."""
    operator: str = ""
    """E-mail that pulls the subscription; empty if it is not known."""
    has_pulled: bool = False
    """True if a pull has succeeded since the start."""
    error: GoogleError | None = None
    """Error of the last pull; None if it succeeded."""
    failing_for: float = 0.0
    """Seconds since the last successful pull, or since the start."""
    lag: float = 0.0
    """Seconds between the last changes and the arrival of their entries."""
    last_entry: datetime | None = None
    """Time of the last change of the project that an entry reported, also to an earlier process."""
    has_received: bool = False
    """True if an entry of the project has arrived since the start. An earlier one proves nothing now."""
    has_missed: bool = False
    """True if drift was found that no entry has reported for `LAGGING_AFTER` seconds, not even its repair."""

    @property
    def is_ready(self) -> bool:
        """True if changes are expected to arrive."""
        return feed_finding(self).status is ConditionStatus.TRUE


FeedReader: TypeAlias = Callable[[ManagedProject], FeedState | None]
"""Returns the state of the change feed of a project; None if it has none."""


def feed_finding(state: FeedState) -> Finding:
    """Return the condition ChangeFeedReady."""
    project, name = subscription_parts(state.subscription)
    if not state.subscription:
        message = (
            "spec.changeFeed names no subscription, and the operator has none for all projects: set "
            "spec.changeFeed.subscription, or start the operator with --change-feed"
        )
        return Finding(ConditionStatus.FALSE, NOT_CONFIGURED, message)
    if state.error and (state.error.fault in _LASTING or state.failing_for > UNREACHABLE_AFTER):
        return _unusable(state, state.error, project, name)
    if state.failing_for > STALLED_AFTER:
        message = (
            f"{state.subscription} was not pulled for more than {int(STALLED_AFTER // 60)} min, because "
            "syncs of earlier changes have not ended; drift is found at each driftInterval meanwhile"
        )
        return Finding(ConditionStatus.FALSE, Reason.API_UNAVAILABLE, message)
    if not state.has_pulled:
        return Finding(ConditionStatus.UNKNOWN, STARTING, f"{state.subscription} has not been pulled yet")
    if state.has_missed:
        message = (
            f"Drift was found and repaired, and no entry from {state.subscription} reports it. Check that "
            "the log sink of the project exists, that its filter matches, and that its writer identity may "
            f"publish: {_SETUP}. The condition becomes True when the next entry of the project arrives"
        )
        return Finding(ConditionStatus.FALSE, ENTRIES_MISSING, message)
    if not state.has_received:
        message = (
            f"{state.subscription} can be pulled, and no entry of the project has arrived since the operator "
            "started. Each change by the operator causes one. If none arrives, check the log sink of the "
            f"project: {_SETUP}"
        )
        return Finding(ConditionStatus.UNKNOWN, NO_ENTRIES, message)
    if state.lag > LAGGING_AFTER:
        message = (
            f"Entries from {state.subscription} arrive {lag_text(state.lag)} after the change. Google Cloud "
            "delays them, or a backlog is being processed; drift is found at each driftInterval meanwhile"
        )
        return Finding(ConditionStatus.FALSE, LAGGING, message)
    message = f"Entries of the audit log arrive {lag_text(state.lag)} after the change"
    return Finding(ConditionStatus.TRUE, RECEIVING, message)


def _unusable(state: FeedState, error: GoogleError, project: str, name: str) -> Finding:
    where = f"{shlex.quote(name)} --project={shlex.quote(project)}"
    if error.fault is Fault.NOT_FOUND:
        message = (
            f"The subscription {state.subscription} does not exist, or the operator may not see it. "
            f"Create it: gcloud pubsub subscriptions create {where} --topic=TOPIC "
            f"--expiration-period=never; {_SETUP}"
        )
        return Finding(ConditionStatus.FALSE, SUBSCRIPTION_NOT_FOUND, message)
    if error.fault is Fault.PERMISSION_DENIED:
        member = f"serviceAccount:{state.operator or 'OPERATOR'}"
        message = (
            f"The operator may not pull {state.subscription}. Grant it: gcloud pubsub subscriptions "
            f"add-iam-policy-binding {where} --member={member} --role=roles/pubsub.subscriber"
        )
        return Finding(ConditionStatus.FALSE, Reason.PERMISSION_DENIED, message)
    reason = Reason.API_DISABLED if error.fault is Fault.API_DISABLED else Reason.API_UNAVAILABLE
    message = (
        f"{state.subscription} cannot be pulled: {advised(error, {})}. The operator tries again, and finds "
        "drift at each driftInterval meanwhile"
    )
    return Finding(ConditionStatus.FALSE, reason, message)


def lag_text(seconds: float) -> str:
    """Return a lag in steps, so that the status of a project does not change with each entry."""
    for limit, text in _STEPS:
        if seconds <= limit:
            return f"within {text}"
    return "more than an hour"


def feed_status(state: FeedState, interval: float) -> ChangeFeedStatus | None:
    """Return the state for the status; None without a subscription. `interval` is that of the resync."""
    if not state.subscription:
        return None
    return ChangeFeedStatus(
        subscription=state.subscription,
        last_entry_time=state.last_entry,
        resync_interval=go_duration(timedelta(seconds=interval)),
    )


_STEPS: Final = (
    (2.0, "2 s"),
    (10.0, "10 s"),
    (30.0, "30 s"),
    (60.0, "1 min"),
    (LAGGING_AFTER, "5 min"),
    (1800.0, "30 min"),
    (3600.0, "1 h"),
)

_LASTING: Final = frozenset(
    {Fault.NOT_FOUND, Fault.PERMISSION_DENIED, Fault.API_DISABLED, Fault.PERIMETER_VIOLATION}
)
"""Faults that end only when a user acts."""
