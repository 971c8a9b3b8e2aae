"""Checks of the change feed of a ManagedProject: the subscription can be pulled, and a log sink feeds it.

The operator notices a deleted sink only at the next drift, because a quiet project has no entries either.
"""

import shlex
from typing import Final

from cloudrun_identity.api import ConditionStatus, ConditionType, ManagedProject, TargetKind
from cloudrun_identity.api.change_feed import subscription_parts
from cloudrun_identity.controllers.managed_project.change_feed import ENTRIES_MISSING
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.log_sinks import log_sinks
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

AS_OPERATOR: Final = (
    "kubectl exec --namespace cloudrun-identity deployment/cloudrun-identity -- cloudrun-identity check"
)

LIST_ABOVE: Final = "gcloud logging sinks list --organization=ORGANIZATION"

ABOVE: Final = (
    f"{LIST_ABOVE}  # with includeChildren, a sink of the organization or of a folder (--folder) exports "
    "the entries of its projects"
)


async def check_feed(
    name: str, project: ManagedProject, own: GoogleClients, operator: str
) -> tuple[Result, ...]:
    """Return the results for the change feed; none for a project without one, or a suspended one.

    `name` starts the names of the checks. `own` are the clients with the credentials of the command, not
    those of the project, because the operator pulls with its own identity. `operator` is its principal.
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
    return result, await _check_sink(f"{name}: log sink", project, subscription, state, own)


def _subscription_of(project: ManagedProject) -> str:
    """Return the subscription of the project; empty if it is not known."""
    declared, reported = project.spec.change_feed, project.status.change_feed
    return (declared.subscription if declared else None) or (reported.subscription if reported else "")


async def _check_subscription(
    check: str, subscription: str, own: GoogleClients, operator: str
) -> tuple[SubscriptionState | None, Result]:
    """Check that the subscription exists and can be pulled. Return its state, if it may be read.

    TestIamPermissions returns nothing for a subscription that does not exist. roles/pubsub.subscriber has the
    permission to pull, and not the one to read the subscription. A user needs neither.
    """
    home, short_name = subscription_parts(subscription)
    create = subscription_command(home, short_name)
    grant = subscriber_command(home, short_name, operator)
    target = Target(TargetKind.PUB_SUB_SUBSCRIPTION, home, name=short_name)
    try:
        held = await Policies(own).test_permissions(target, {CONSUME})
        state = await _state(subscription, own)
    except GoogleError as error:
        if error.fault is Fault.NOT_FOUND:
            return None, failed(check, f"{subscription} does not exist", create, grant, SETUP)
        return None, failed(check, f"{subscription} cannot be read: {advised(error)}")
    if state and (state.is_detached or state.topic == DELETED_TOPIC):
        what = "is detached from its topic" if state.is_detached else "has no topic, because it was deleted"
        delete = f"gcloud pubsub subscriptions delete {shlex.quote(short_name)} --project={shlex.quote(home)}"
        return state, failed(check, f"{subscription} {what}", delete, SETUP)
    if CONSUME not in held:
        if not own.identity:
            message = f"these credentials may not pull {subscription}, and are not known to be the operator's"
            return state, skipped(check, f"{message}: run `{AS_OPERATOR}`")
        if state is None:
            message = f"{subscription} does not exist, or these credentials may not pull it"
            return None, failed(check, message, create, grant)
        return state, failed(check, f"these credentials may not pull {subscription}", grant)
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
    check: str,
    project: ManagedProject,
    subscription: str,
    state: SubscriptionState | None,
    own: GoogleClients,
) -> Result:
    """Check that a sink of the project exports to the topic of the subscription, as far as it may be read."""
    project_id = project.project_id
    look = f"gcloud logging sinks describe {SINK} --project={shlex.quote(project_id)}"
    try:
        sinks = await log_sinks(own, project_id)
    except GoogleError as error:
        return skipped(check, f"cannot be read ({error.message.rstrip('.')}): run `{look}`")
    if state is None and any(sink.topic for sink in sinks):
        message = f"the topic of {subscription} cannot be read; that needs pubsub.subscriptions.get"
        return skipped(check, f"{message}, for example with roles/pubsub.viewer on the subscription")
    feeding = [sink for sink in sinks if state and sink.topic == state.topic]
    enabled = [each for each in feeding if not each.is_disabled]
    if enabled:
        return passed(check, f"{enabled[0].name} exports entries to {enabled[0].topic}")
    if feeding:
        name = shlex.quote(feeding[0].name)
        enable = f"gcloud logging sinks update {name} --project={shlex.quote(project_id)} --no-disabled"
        return failed(check, f"{feeding[0].name} is disabled", enable)
    where = state.topic if state else "a Pub/Sub topic"
    message = f"project {project_id} has no log sink that exports to {where}"
    if _has_entries(project, subscription):
        above = "a sink of a folder or of the organization may export them"
        return skipped(check, f"{message}, but entries have arrived: {above}; run `{LIST_ABOVE}`")
    return failed(check, message, SETUP, ABOVE)


def _has_entries(project: ManagedProject, subscription: str) -> bool:
    """Return whether the status shows that the subscription has delivered entries, and that none is missing.

    A sink above the project exports its entries if it includes children
    (https://cloud.google.com/logging/docs/export/aggregated_sinks).
    """
    ready = project.status.condition(ConditionType.CHANGE_FEED_READY)
    if ready and ready.reason == ENTRIES_MISSING:
        return False
    reported = project.status.change_feed
    has_entry = bool(reported and reported.subscription == subscription and reported.last_entry_time)
    return has_entry or bool(ready and ready.status is ConditionStatus.TRUE)
