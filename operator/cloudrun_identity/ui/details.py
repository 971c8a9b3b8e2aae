"""Details of one identity: a pure function of the objects of the cluster (`details_of`)."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from cloudrun_identity.api.cloud_run_identity import Recommendation
from cloudrun_identity.iam.audited_changes import Cause
from cloudrun_identity.overview.cluster import Cluster
from cloudrun_identity.overview.cluster_status import State
from cloudrun_identity.overview.history import Tone, history_of
from cloudrun_identity.overview.identities import Actor, Permit
from cloudrun_identity.overview.risk import Risk

from .conditions import Check, check_of
from .graph import Graph, graph_of
from .keys import Key, keys_of

MAX_STORY = 200
"""Maximum number of entries of a story."""


@dataclass(frozen=True, slots=True)
class Part:
    """One object that the details are made of."""

    kind: str
    """Kind."""
    namespace: str
    """Namespace."""
    name: str
    """Name."""
    state: State
    """State."""
    reason: str
    """Reason of the state."""
    message: str
    """Message of the state."""
    issues: tuple[str, ...]
    """Problems and advice."""
    next_command: str
    """Command that explains or repairs the state."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """One entry of the story."""

    time: datetime
    """Time at which it happened, or will happen."""
    upcoming: bool
    """True if it will happen."""
    subject: str
    """The object."""
    title: str
    """Event in a few words."""
    text: str
    """Details."""
    tone: Tone
    """Meaning."""
    changes: tuple[str, ...]
    """Differences, of an entry about drift."""
    causes: tuple[Cause, ...]
    """Calls that caused the differences, as far as they are known."""


@dataclass(frozen=True, slots=True)
class Advice:
    """One recommendation for the grants of the identity."""

    kind: str
    """Subject, in CamelCase."""
    text: str
    """Text."""
    source: str
    """`Operator` or `Recommender`; empty if it is not known."""
    role: str
    """Role that should be replaced or removed; empty if the advice is not about one role."""
    replace_by: tuple[str, ...]
    """Roles that should replace it."""
    since: datetime | None
    """Time at which the operator first read it; None if it is not known."""


@dataclass(frozen=True, slots=True)
class Details:
    """Everything that the page shows about one identity."""

    key: str
    """NAMESPACE/NAME."""
    namespace: str
    """Namespace."""
    name: str
    """Name."""
    project: str
    """Name of the ManagedProject."""
    project_id: str
    """ID of the Google Cloud project."""
    email: str
    """E-mail of the account; empty before its creation."""
    display_name: str
    """Human-readable name of the account."""
    origin: str
    """`Created` or `Adopted`."""
    last_used: str
    """Last day on which Google saw a use of the account; empty if it is not known."""
    risks: tuple[Risk, ...]
    """Risks, the most severe first."""
    parts: tuple[Part, ...]
    """The identity and the objects about it."""
    checks: tuple[Check, ...]
    """Conditions of the identity."""
    actors: tuple[Actor, ...]
    """Grants that permit its use."""
    keys: tuple[Key, ...]
    """User-managed keys."""
    permits: tuple[Permit, ...]
    """Grants to it."""
    recommendations: tuple[Advice, ...]
    """Recommendations for the grants to it."""
    runs: tuple[str, ...]
    """Workloads that run as it."""
    graph: Graph
    """Neighborhood."""
    story: tuple[Chapter, ...]
    """History and upcoming events, the newest first."""
    commands: tuple[str, ...]
    """Commands that show more."""


def details_of(cluster: Cluster, key: str) -> Details:
    """Return the details of an identity. Raises KeyError if it does not exist."""
    node, identity = cluster.nodes[key], cluster.identities[key]
    return Details(
        key=key,
        namespace=node.namespace,
        name=node.name,
        project=identity.spec.project_ref.name,
        project_id=node.project_id,
        email=node.email,
        display_name=identity.spec.display_name or "",
        origin=str(identity.status.origin or ""),
        last_used=identity.status.last_used or "",
        risks=cluster.risks_of(key),
        parts=tuple(_parts(cluster, key)),
        checks=tuple(map(check_of, identity.status.conditions)),
        actors=node.actors,
        keys=tuple(keys_of(cluster, key)),
        permits=node.permits,
        recommendations=tuple(map(_advice, identity.status.recommendations)),
        runs=node.runs,
        graph=graph_of(cluster, key),
        story=tuple(_story(cluster, key)),
        commands=(
            f"kubectl describe cloudrunidentity {node.name} --namespace {node.namespace}",
            f"cloudrun-identity who-can act-as {key} --cluster",
            f"cloudrun-identity what-can {key} --cluster",
        ),
    )


def _parts(cluster: Cluster, key: str) -> Iterator[Part]:
    for obj in cluster.about(key):
        state = cluster.states[obj.kind, obj.metadata.namespace, obj.metadata.name]
        yield Part(
            state.kind,
            state.namespace,
            state.name,
            state.state,
            state.reason,
            state.message,
            state.advice,
            state.next_command,
        )


def _story(cluster: Cluster, key: str) -> Iterator[Chapter]:
    for entry in history_of(cluster.about(key), cluster.objects.events)[:MAX_STORY]:
        yield Chapter(
            time=entry.time,
            upcoming=entry.time > cluster.now,
            subject=entry.subject,
            title=entry.title,
            text=entry.text,
            tone=entry.tone,
            changes=entry.changes,
            causes=entry.causes,
        )


def _advice(found: Recommendation) -> Advice:
    return Advice(
        kind=found.kind,
        text=found.text,
        source=found.source or "",
        role=found.role or "",
        replace_by=found.replace_by,
        since=found.since,
    )
