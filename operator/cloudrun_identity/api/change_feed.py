"""Fields of a ManagedProject about its change feed: audit logs that a Pub/Sub subscription delivers."""

from typing import Annotated, Final

from pydantic import Field

from .duration import Duration, at_least, at_most
from .schema import ApiModel, Clipped, Timestamp, matches

SUBSCRIPTION_FORM: Final = (
    r"^projects/([a-z0-9.-]+:)?[a-z][-a-z0-9]{4,28}[a-z0-9]/subscriptions/[A-Za-z][A-Za-z0-9._~+%-]{2,254}$"
)

Subscription = Annotated[
    str,
    Field(max_length=400),
    matches(SUBSCRIPTION_FORM, "must be a Pub/Sub subscription: projects/PROJECT/subscriptions/NAME"),
]


def subscription_parts(subscription: str) -> tuple[str, str]:
    """Return the project and the short name of a subscription."""
    project_id, _, name = subscription.removeprefix("projects/").partition("/subscriptions/")
    return project_id, name


class ChangeFeed(ApiModel):
    """ChangeFeed delivers the audit log of the project, so that the operator repairs drift at once."""

    subscription: Subscription | None = None
    """Pub/Sub subscription with the Admin Activity audit log of the project. The operator pulls it with its
    own identity. Several projects may share one. If unset, the subscription of the operator's option
    --change-feed."""
    report_actors: bool = False
    """Indicates that statuses and Events name who caused drift, and with which program. This is personal
    data. If false, they name only the method and the time."""
    resync_with_feed: Annotated[Duration, at_least("1m"), at_most("24h")] | None = None
    """Interval that takes the place of driftInterval while ChangeFeedReady is True, if it is longer; at most
    24h. If unset, driftInterval."""


class ChangeFeedStatus(ApiModel):
    """ChangeFeedStatus is the observed state of the change feed."""

    subscription: Annotated[str, Clipped(400)]
    """Subscription that the operator pulls."""
    last_entry_time: Timestamp | None = None
    """Time of the last change that an entry of the audit log reported."""
    resync_interval: Annotated[str, Clipped(48)] | None = None
    """Interval at which the operator compares Google Cloud with the declared state at present."""
