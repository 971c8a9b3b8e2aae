"""Contents of the page that show the whole cluster: a pure function of its objects (`page_of`)."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from cloudrun_identity.api import ConditionType, ManagedProject, ReconciledResource
from cloudrun_identity.iam.audited_changes import Cause
from cloudrun_identity.overview.cluster import Cluster
from cloudrun_identity.overview.cluster_status import ObjectStatus, State
from cloudrun_identity.overview.history import EVENT_DELAY, causes_of
from cloudrun_identity.overview.risk import MEANING, Risk

from .conditions import Check, check_of

MAX_DRIFT = 200
"""Maximum number of entries of the drift history."""


@dataclass(frozen=True, slots=True)
class ProjectCard:
    """One ManagedProject."""

    name: str
    """Name of the ManagedProject."""
    project_id: str
    """ID of the Google Cloud project."""
    state: State
    """State."""
    reason: str
    """Reason of the state."""
    message: str
    """Message of the state."""
    identities: int
    """Number of identities."""
    needs_attention: int
    """Number of objects of the project that need a person."""
    on_default_identity: int
    """Number of workloads that run as the default service account of the project."""
    orphans: int
    """Number of resources and grants that no object manages any more."""
    change_feed: Check | None
    """State of the change feed; None if the project has none."""


@dataclass(frozen=True, slots=True)
class IdentityRow:
    """One identity in the list."""

    key: str
    """NAMESPACE/NAME."""
    project: str
    """Name of the ManagedProject."""
    email: str
    """E-mail of the account; empty before its creation."""
    state: State
    """The most urgent state of the identity and the objects about it."""
    reason: str
    """Reason of the identity's own state."""
    risks: tuple[Risk, ...]
    """Risks, the most severe first."""
    workloads: int
    """Number of workloads that run as it."""
    actors: int
    """Number of grants that permit its use."""
    grants: int
    """Number of grants to it."""
    drifts: int
    """Number of times that drift was found on the identity and the objects about it."""


@dataclass(frozen=True, slots=True)
class Concern:
    """One object that needs a person, or has advice for one."""

    kind: str
    """Kind."""
    namespace: str
    """Namespace; empty for a cluster-scoped object."""
    name: str
    """Name."""
    state: State
    """State."""
    reason: str
    """Reason of the state."""
    message: str
    """Message of the state."""
    since: datetime | None
    """Time since which it is so."""
    issues: tuple[str, ...]
    """Problems and advice."""
    next_command: str
    """Command that explains or repairs it."""
    identities: tuple[str, ...]
    """Identities that the object is about."""


@dataclass(frozen=True, slots=True)
class DriftRow:
    """One detection of drift."""

    kind: str
    """Kind of the object."""
    namespace: str
    """Namespace of the object; empty for a cluster-scoped object."""
    name: str
    """Name of the object."""
    detected: datetime
    """Time of the detection."""
    repaired: datetime | None
    """Time of the repair; None if it was not repaired, or if only an Event reports the drift."""
    is_latest: bool
    """True if it is the last drift of the object."""
    count: int
    """Number of times that drift was found on the object since its creation."""
    changes: tuple[str, ...]
    """Differences, one sentence each."""
    causes: tuple[Cause, ...]
    """Calls that caused the differences, as far as they are known; never those of an Event."""
    identities: tuple[str, ...]
    """Identities that the object is about."""


@dataclass(frozen=True, slots=True)
class Page:
    """Everything on the page but the details of one identity."""

    cluster: str
    """URL of the API server."""
    namespace: str
    """The only namespace that is shown; empty for all."""
    notices: tuple[str, ...]
    """Reasons why the page is incomplete."""
    counts: dict[str, int]
    """Number of objects in each state."""
    risks: dict[str, str]
    """Explanation of each risk."""
    projects: tuple[ProjectCard, ...]
    """All ManagedProjects."""
    identities: tuple[IdentityRow, ...]
    """All identities, the most urgent first."""
    attention: tuple[Concern, ...]
    """Objects that need a person."""
    observed: tuple[Concern, ...]
    """Objects with a difference that the operator only reports, or that wait."""
    advice: tuple[Concern, ...]
    """Ready objects with advice."""
    drift: tuple[DriftRow, ...]
    """Last drift of each object, the newest first."""


def page_of(cluster: Cluster, server: str, namespace: str = "") -> Page:
    """Return the page of a cluster, or of one namespace."""
    status = cluster.status
    return Page(
        cluster=server,
        namespace=namespace,
        notices=cluster.objects.notices,
        counts={state.value: len(status.in_state(state)) for state in State},
        risks={risk.value: meaning for risk, meaning in MEANING.items()},
        projects=tuple(_projects(cluster)),
        identities=tuple(sorted((_identity(cluster, key) for key in cluster.nodes), key=_urgency)),
        attention=tuple(_concern(cluster, each) for each in status.in_state(State.NEEDS_ATTENTION)),
        observed=tuple(
            _concern(cluster, each)
            for state in (State.OBSERVED, State.WAITING, State.SUSPENDED)
            for each in status.in_state(state)
        ),
        advice=tuple(_concern(cluster, each) for each in status.in_state(State.READY) if each.advice),
        drift=tuple(_drift(cluster))[:MAX_DRIFT],
    )


def _projects(cluster: Cluster) -> Iterator[ProjectCard]:
    identities = Counter(each.spec.project_ref.name for each in cluster.identities.values())
    urgent = Counter(
        _project_of(raw["kind"], raw)
        for raw in cluster.objects.raw
        if cluster.states[_name(raw)].state is State.NEEDS_ATTENTION
    )
    for project in cluster.projects:
        name = project.metadata.name
        state = cluster.states[project.kind, "", name]
        feed = project.status.condition(ConditionType.CHANGE_FEED_READY)
        yield ProjectCard(
            name=name,
            project_id=project.status.project_id or project.project_id,
            state=state.state,
            reason=state.reason,
            message=state.message,
            identities=identities[name],
            needs_attention=urgent[name],
            on_default_identity=len(project.status.workloads_on_default_identity),
            orphans=len(project.status.orphans),
            change_feed=check_of(feed) if feed else None,
        )


def _name(raw: dict[str, object]) -> tuple[str, str, str]:
    metadata = raw["metadata"]
    assert isinstance(metadata, dict)  # noqa: S101 - the API server sends objects with metadata
    return str(raw["kind"]), metadata.get("namespace", ""), metadata["name"]


def _project_of(kind: str, raw: dict[str, object]) -> str:
    if kind == ManagedProject.__name__:
        return _name(raw)[2]
    spec = raw.get("spec")
    ref = spec.get("projectRef") if isinstance(spec, dict) else None
    return str(ref.get("name", "")) if isinstance(ref, dict) else ""


def _identity(cluster: Cluster, key: str) -> IdentityRow:
    node, identity = cluster.nodes[key], cluster.identities[key]
    about = list(cluster.about(key))
    states = [cluster.states[each.kind, each.metadata.namespace, each.metadata.name] for each in about]
    order = list(State)
    return IdentityRow(
        key=key,
        project=identity.spec.project_ref.name,
        email=node.email,
        state=min((each.state for each in states), key=order.index),
        reason=states[0].reason,
        risks=cluster.risks_of(key),
        workloads=len(node.runs),
        actors=len(node.actors),
        grants=len(node.permits),
        drifts=sum(each.status.drift.count for each in about if each.status.drift),
    )


def _urgency(row: IdentityRow) -> tuple[int, int, str]:
    """Return the order of the list: what needs a person first, then the most severe risks."""
    risk = row.risks[0] if row.risks else Risk.NONE
    needs_attention = row.state is State.NEEDS_ATTENTION
    return not needs_attention, list(Risk).index(risk), row.key


def _concern(cluster: Cluster, status: ObjectStatus) -> Concern:
    return Concern(
        kind=status.kind,
        namespace=status.namespace,
        name=status.name,
        state=status.state,
        reason=status.reason,
        message=status.message,
        since=status.since,
        issues=status.advice,
        next_command=status.next_command,
        identities=_identities(cluster, status.kind, status.namespace, status.name),
    )


def _drift(cluster: Cluster) -> Iterator[DriftRow]:
    by_uid = {obj.metadata.uid: obj for obj in cluster.objects.reconciled() if obj.status.drift}
    rows = [row for obj in by_uid.values() if (row := _last_drift(cluster, obj))]
    last = {(row.kind, row.namespace, row.name): row for row in rows}
    for event in cluster.objects.events:
        obj = by_uid.get(event["involvedObject"]["uid"])
        if obj is None or event.get("reason") != "DriftDetected" or not event.get("lastTimestamp"):
            continue
        row = last.get((obj.kind, obj.metadata.namespace, obj.metadata.name))
        time = datetime.fromisoformat(event["lastTimestamp"])
        if row and row.detected - time > EVENT_DELAY:
            changes = tuple(event.get("message", "").split("; "))
            earlier = replace(row, detected=time, repaired=None, is_latest=False, changes=changes, causes=())
            rows.append(earlier)
    return iter(sorted(rows, key=lambda row: (row.detected, row.kind, row.namespace, row.name), reverse=True))


def _last_drift(cluster: Cluster, obj: ReconciledResource) -> DriftRow | None:
    drift = obj.status.drift
    if drift is None or drift.last_detected_time is None:
        return None
    repaired = drift.last_repaired_time
    namespace, name = obj.metadata.namespace, obj.metadata.name
    return DriftRow(
        kind=obj.kind,
        namespace=namespace,
        name=name,
        detected=drift.last_detected_time,
        repaired=repaired if repaired and repaired >= drift.last_detected_time else None,
        is_latest=True,
        count=drift.count,
        changes=drift.changes,
        causes=causes_of(drift),
        identities=_identities(cluster, obj.kind, namespace, name),
    )


def _identities(cluster: Cluster, *name: str) -> tuple[str, ...]:
    kind, namespace, own = name
    return tuple(cluster.identities_of.get((kind, namespace, own), ()))
