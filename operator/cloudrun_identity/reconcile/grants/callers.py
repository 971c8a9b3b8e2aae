"""Callers of Cloud Run: Google Cloud products that call as a service account.

A product calls a service with a token of the account that its job, queue, subscription or trigger names. The
account needs a role on the service. The service agent of the product creates the token, so it needs a
permission on the account. The table `PRODUCTS` states what Google's set-up of each product asks for.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from cloudrun_identity.api import (
    BindingMember,
    IdentityRef,
    LocalIdentityRef,
    ManagedProject,
    Member,
    ServiceAgentOf,
    TargetKind,
    TargetRef,
)
from cloudrun_identity.api.predefined_roles import EVENT_RECEIVER, TOKEN_CREATOR
from cloudrun_identity.api.schema import wire_name
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.reconcile.cluster_state import ClusterState, ObjectKey, identity_key
from cloudrun_identity.reconcile.preconditions import project_to_grant_in
from cloudrun_identity.reconcile.references import Resolved, Unresolved, missing

from .members import GrantMember, Members
from .resolver import RequestedGrant
from .targets import resolve_target


@dataclass(frozen=True, slots=True)
class Product:
    """A product that calls as a service account."""

    title: str
    """Name of the product in messages."""
    field: str
    """Field of a member that declares it."""
    service: str
    """Service whose agent creates the tokens."""
    agent_role: str
    """Role that Google grants this agent on the project."""
    grants_tokens: bool = False
    """True if the set-up asks for Token Creator on the account. For the other products, the role of the agent
    on the project suffices."""
    receives_events: bool = False
    """True if the account needs the role to receive events on its project."""
    enqueued: bool = False
    """True if the principals that enqueue calls need to act as the account at each call."""


_PUB_SUB = ("pubsub.googleapis.com", "roles/pubsub.serviceAgent")

PRODUCTS: Final = (
    # The agent has a role of its own: https://cloud.google.com/scheduler/docs/http-target-auth
    Product(
        "Cloud Scheduler",
        "cloud_scheduler_of",
        "cloudscheduler.googleapis.com",
        "roles/cloudscheduler.serviceAgent",
    ),
    # https://cloud.google.com/tasks/docs/creating-http-target-tasks#token
    Product(
        "Cloud Tasks",
        "cloud_tasks_of",
        "cloudtasks.googleapis.com",
        "roles/cloudtasks.serviceAgent",
        enqueued=True,
    ),
    # Google asks for Token Creator in projects that have used Pub/Sub since April 8, 2021 or earlier. The API
    # does not show the date: https://docs.cloud.google.com/run/docs/triggering/pubsub-triggers
    Product("Pub/Sub push", "pub_sub_push_of", *_PUB_SUB, grants_tokens=True),
    # Triggers deliver through Pub/Sub push: https://docs.cloud.google.com/eventarc/docs/all-roles-permissions
    Product("Eventarc", "eventarc_of", *_PUB_SUB, grants_tokens=True, receives_events=True),
)
"""Products by the members that declare them."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A product that calls as an identity."""

    product: Product
    """The product."""
    identity: LocalIdentityRef
    """CloudRunIdentity in the namespace of the object that declares the caller."""

    @property
    def member(self) -> Member:
        """The identity as an ordinary member."""
        return Member(identity_ref=IdentityRef(name=self.identity.name))


def caller_of(member: BindingMember) -> Caller | None:
    """Return the caller that a member declares; None for an ordinary member."""
    for product in PRODUCTS:
        declared = getattr(member, product.field)
        if declared is not None:
            return Caller(product, declared.identity_ref)
    return None


def caller_keys(members: Iterable[BindingMember], namespace: str) -> frozenset[ObjectKey]:
    """Return the identities of the callers among the members."""
    callers = filter(None, map(caller_of, members))
    return frozenset(identity_key(namespace, caller.identity.name) for caller in callers)


@dataclass(frozen=True, slots=True)
class CallingAccount:
    """The account that a product calls as, and where it is."""

    project: ManagedProject
    """ManagedProject of the account, and of the product."""
    target: Target
    """The account."""
    owner: DeclaredIdentity | None
    """The identity that declares it."""


def calling_account(
    caller: Caller, home: ManagedProject, namespace: str, cluster: ClusterState, path: str
) -> Resolved[CallingAccount]:
    """Return the account of a caller, once the identity has one in a project that admits the namespace.

    `path` is that of the member.
    """
    name, path = caller.identity.name, f"{path}.{wire_name(caller.product.field)}"
    identity = cluster.identity(namespace, name)
    text = f"ServiceAccount of {namespace}/{name}"
    if identity is None:
        return Unresolved(text, missing(identity_key(namespace, name), cluster, f"{path}.identityRef"))
    project = project_to_grant_in(identity.spec.project_ref.name, home, namespace, cluster, path)
    if not isinstance(project, ManagedProject):
        return Unresolved(text, project)
    target = TargetRef(kind=TargetKind.SERVICE_ACCOUNT, identity_ref=caller.identity)
    found = resolve_target(target, project, namespace, cluster, path)
    return found if isinstance(found, Unresolved) else CallingAccount(project, found.target, found.owner)


def caller_grants(
    caller: Caller, home: ManagedProject, namespace: str, cluster: ClusterState, path: str
) -> Iterator[RequestedGrant]:
    """Yield the grants beside the role that the product needs to call as the identity.

    The guardrails of the identity's project decide about them.
    """
    product, members = caller.product, Members(cluster, namespace)
    account = calling_account(caller, home, namespace, cluster, path)
    if isinstance(account, Unresolved):
        if product.grants_tokens:
            yield RequestedGrant(path, account, TOKEN_CREATOR, account)
        if product.receives_events:
            yield RequestedGrant(path, account, EVENT_RECEIVER, account)
        return
    if product.grants_tokens:
        agent = token_agent(product, account.project, members, path)
        yield RequestedGrant(
            path, account.target, TOKEN_CREATOR, agent, account.owner, project=account.project
        )
    if product.receives_events:
        holder = members.resolve(caller.member, path)
        where = Target.project(account.project.project_id)
        yield RequestedGrant(path, where, EVENT_RECEIVER, holder, project=account.project)


def token_agent(
    product: Product, project: ManagedProject, members: Members, path: str
) -> Resolved[GrantMember]:
    """Return the service agent that creates the tokens of the calling account."""
    ref = project.metadata.name
    named = ServiceAgentOf.model_validate({"projectRef": {"name": ref}, "service": product.service})
    return members.service_agent(named, path)
