"""Checks of the change feed of a ManagedProject: the subscription can be pulled, and a log sink feeds it.

The operator notices a deleted sink only at the next drift, because a quiet project has no entries either.
"""

import shlex
from collections.abc import Iterator
from typing import Final

from cloudrun_identity.api import ManagedProject, TargetKind
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.log_sinks import LogSink, log_sinks
from cloudrun_identity.gcp.policies import Policies
from cloudrun_identity.gcp.pubsub import Subscriber, SubscriptionState
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.reconcile.advice import advised

from .change_feed_setup import SINK, subscriber_command, subscription_command
from .check_results import Result, failed, passed, skipped

CONSUME: Final = "pubsub.subscriptions.consume"
"""Permission to pull a subscription and to acknowledge its messages."""

DELETED_TOPIC: Final = "_deleted-topic_"
"""Topic of a subscription whose topic was deleted (google.pubsub.v1.Subscription.topic)."""

SETUP: Final = "cloudrun-identity permissions -f FILE  # prints all commands for the ManagedProject in FILE"

ABOVE: Final = (
    "gcloud logging sinks list --organization=ORGANIZATION  # with includeChildren, a sink of the "
    "organization or of a folder (--folder) exports the entries of its projects"
)


async def check_feed(
    name: str, project: ManagedProject, own: GoogleClients, operator: str
) -> tuple[Result, ...]:
    """Return the results for the change feed; none for a project without one, or a suspended one.

    `name` starts the names of the checks. `own` are the clients of the operator, which pulls with its own
    identity, and `operator` is its principal.
    """
    if project.spec.suspend:
        return ()
    check = f"{name}: change feed"
    subscription = _subscription_of(project)
    if not subscription:
        if project.spec.change_feed is None:
            return ()
        message = (
            "spec.changeFeed names no subscription, and no operator has reported that of its option "
            "--change-feed yet"
        )
        return (skipped(check, message),)
    state, result = await _check_subscription(check, subscription, own, operator)
    return result, await _check_sink(f"{name}: log sink", project.project_id, subscription, state, own)


def _subscription_of(project: ManagedProject) -> str:
    """Return the subscription of the project; empty if it is not known."""
    declared, reported = project.spec.change_feed, project.status.change_feed
    return (declared.subscription if declared else None) or (reported.subscription if reported else "")


async def _check_subscription(
    check: str, subscription: str, own: GoogleClients, operator: str
) -> tuple[SubscriptionState | None, Result]:
    """Check that the subscription exists and can be pulled. Return its state, if it may be read.

    TestIamPermissions returns nothing for a subscription that does not exist. roles/pubsub.subscriber has the
    permission to pull, and not the one to read the subscription.
    """
    home, topic = _parts(subscription)
    create = subscription_command(home, topic)
    grant = subscriber_command(home, topic, operator)
    target = Target(TargetKind.PUB_SUB_SUBSCRIPTION, home, name=topic)
    try:
        held = await Policies(own).test_permissions(target, {CONSUME})
        state = await _state(subscription, own)
    except GoogleError as error:
        if error.fault is Fault.NOT_FOUND:
            return None, failed(check, f"{subscription} does not exist", create, grant, SETUP)
        return None, failed(check, f"{subscription} cannot be read: {advised(error)}")
    if CONSUME not in held:
        if state is None:
            message = f"{subscription} does not exist, or these credentials may not pull it"
            return None, failed(check, message, create, grant)
        return state, failed(check, f"these credentials may not pull {subscription}", grant)
    if state and (state.is_detached or state.topic == DELETED_TOPIC):
        what = "is detached from its topic" if state.is_detached else "has no topic, because it was deleted"
        delete = f"gcloud pubsub subscriptions delete {shlex.quote(topic)} --project={shlex.quote(home)}"
        return state, failed(check, f"{subscription} {what}", delete, SETUP)
    return state, passed(check, f"{subscription} can be pulled")


async def _state(subscription: str, own: GoogleClients) -> SubscriptionState | None:
    """Return the state of a subscription; None if it may not be read. Raises GoogleError."""
    try:
        return await Subscriber(own, subscription).state()
    except GoogleError as error:
        if error.fault is Fault.PERMISSION_DENIED:
            return None
        raise


async def _check_sink(
    check: str, project_id: str, subscription: str, state: SubscriptionState | None, own: GoogleClients
) -> Result:
    """Check that a sink of the project exports to the topic of the subscription, as far as it may be read."""
    look = f"gcloud logging sinks describe {SINK} --project={shlex.quote(project_id)}"
    try:
        sinks = await log_sinks(own, project_id)
    except GoogleError as error:
        return skipped(check, f"cannot be read ({error.message.rstrip('.')}): run `{look}`")
    home, _ = _parts(subscription)
    feeding = list(_feeding(sinks, home, state))
    enabled = [each for each in feeding if not each.is_disabled]
    if enabled:
        return passed(check, f"{enabled[0].name} exports entries to {enabled[0].topic}")
    if feeding:
        name = shlex.quote(feeding[0].name)
        enable = f"gcloud logging sinks update {name} --project={shlex.quote(project_id)} --no-disabled"
        return failed(check, f"{feeding[0].name} is disabled", enable)
    where = state.topic if state else f"a topic of project {home}"
    message = f"project {project_id} has no log sink that exports to {where}"
    return failed(check, message, SETUP, ABOVE)


def _feeding(sinks: tuple[LogSink, ...], home: str, state: SubscriptionState | None) -> Iterator[LogSink]:
    """Yield the sinks that export to the topic; to any topic of the project `home` if it is not known."""
    for sink in sinks:
        if sink.topic == state.topic if state else sink.topic.startswith(f"projects/{home}/topics/"):
            yield sink


def _parts(subscription: str) -> tuple[str, str]:
    """Return the project and the short name of a subscription."""
    home, _, name = subscription.removeprefix("projects/").partition("/subscriptions/")
    return home, name
