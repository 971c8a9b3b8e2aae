"""Neighborhood of one identity as a graph in columns: a pure function (`graph_of`).

Column 0 has the identity. To the left are the principals that may act as it, and those that may act as them,
and so on. To the right are the workloads that run as it and the resources that it has roles on.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from cloudrun_identity.iam.principals import PrincipalKind, is_public, parse
from cloudrun_identity.overview.cluster import Cluster
from cloudrun_identity.overview.identities import Actor, Node
from cloudrun_identity.overview.risk import Risk, most_severe

from .keys import keys_of

MAX_DEPTH = 3
"""Maximum length of a chain of impersonation. The graph of its first identity shows the rest."""

MAX_IN_COLUMN = 12
"""Maximum number of nodes of a column. The rest is one node; the tables below the graph list everything."""


class NodeKind(StrEnum):
    """Kinds of nodes."""

    IDENTITY = "Identity"
    PRINCIPAL = "Principal"
    KEY = "Key"
    WORKLOAD = "Workload"
    RESOURCE = "Resource"
    REST = "Rest"


@dataclass(frozen=True, slots=True)
class GraphNode:
    """One node."""

    id: str
    """Unique name in the graph."""
    kind: NodeKind
    """Kind of the node."""
    type: str
    """Type of the principal, workload or resource, such as `Group`."""
    title: str
    """Name."""
    detail: str
    """Further part of the name, such as the namespace."""
    column: int
    """Column: negative to the left of the identity."""
    risk: Risk
    """Most severe risk of its edges."""
    identity: str = ""
    """NAMESPACE/NAME if the node is a declared identity."""


@dataclass(frozen=True, slots=True)
class GraphEdge:
    """One edge, from who acts to what is acted on."""

    source: str
    """ID of the node that it starts from."""
    target: str
    """ID of the node that it ends at."""
    labels: tuple[str, ...]
    """Uses or roles."""
    risk: Risk
    """Most severe risk."""
    effective: bool
    """False if no grant of the edge is in effect."""


@dataclass(frozen=True, slots=True)
class Graph:
    """The neighborhood of one identity."""

    nodes: tuple[GraphNode, ...]
    """Nodes by column, the most severe risk first."""
    edges: tuple[GraphEdge, ...]
    """Edges between them."""


def graph_of(cluster: Cluster, key: str) -> Graph:
    """Return the neighborhood of an identity."""
    building = _Building(cluster)
    building.add_identity(key, 0)
    building.add_actors(key)
    building.add_keys(key)
    building.add_uses(cluster.nodes[key])
    return building.graph()


class _Building:
    """A graph that grows."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._nodes: dict[str, GraphNode] = {}
        self._edges: dict[tuple[str, str], GraphEdge] = {}

    def add_identity(self, key: str, column: int) -> str:
        """Add a declared identity, unless the graph has it. Return its ID."""
        node = self._cluster.nodes[key]
        detail = node.namespace if node.email else f"{node.namespace}, no account yet"
        return self._add(
            GraphNode(key, NodeKind.IDENTITY, "Identity", node.name, detail, column, Risk.NONE, key)
        )

    def add_actors(self, key: str) -> None:
        """Add the principals that may act as an identity, and those that may act as them."""
        expanded = {key}
        below = [key]
        for depth in range(1, MAX_DEPTH + 1):
            found: list[str] = []
            for target in below:
                for actor in self._cluster.nodes[target].actors:
                    source = self._add_actor(actor, -depth)
                    self._connect(source, target, _label(actor.how, actor.condition), actor.risk, actor.state)
                    identity = self._identity_of(actor)
                    if identity and identity not in expanded:
                        expanded.add(identity)
                        found.append(identity)
            below = found

    def add_keys(self, key: str) -> None:
        """Add the keys of an identity: who has one can act as it."""
        for each in keys_of(self._cluster, key):
            detail = f"{each.where}, last used {each.last_used}" if each.last_used else each.where
            node = GraphNode(f"key {each.id}", NodeKind.KEY, "Key", each.id[:12], detail, -1, Risk.KEYS)
            self._connect(self._add(node), key, "authenticates as it", Risk.KEYS)

    def add_uses(self, node: Node) -> None:
        """Add the workloads that run as an identity, and the resources that it has roles on."""
        for run in node.runs:
            kind, _, name = run.partition(" ")
            location, _, name = name.partition("/")
            risk = Risk.PUBLIC if run in node.public_runs else Risk.NONE
            detail = f"{location}, everyone may invoke it" if risk is Risk.PUBLIC else location
            workload = GraphNode(f"runs {run}", NodeKind.WORKLOAD, kind, name, detail, 1, risk)
            self._connect(node.key, self._add(workload), "is what it runs as", risk)
        by_account = {f"ServiceAccount {each.email}": each.key for each in self._cluster.nodes.values()}
        for permit in node.permits:
            if permit.target in by_account and by_account[permit.target] != node.key:
                target = self.add_identity(by_account[permit.target], 1)
            else:
                kind, _, name = permit.target.partition(" ")
                title = name.rpartition("/")[2] or name
                detail = name.rpartition("/")[0]
                target = self._add(
                    GraphNode(permit.target, NodeKind.RESOURCE, kind, title, detail, 1, Risk.NONE)
                )
            role = permit.role.removeprefix("roles/").rpartition("/")[2]
            self._connect(node.key, target, _label(role, permit.condition), permit.risk, permit.state)

    def graph(self) -> Graph:
        """Return the graph with at most MAX_IN_COLUMN nodes per column."""
        edges = list(self._edges.values())
        by_node: defaultdict[str, list[Risk]] = defaultdict(list)
        for edge in edges:
            # A node is as risky as what it can do; a resource as what can be done to it.
            by_node[edge.source if self._nodes[edge.source].column < 0 else edge.target].append(edge.risk)
        nodes = [
            replace(node, risk=most_severe((node.risk, *by_node[node.id]))) for node in self._nodes.values()
        ]
        order = list(Risk)
        nodes.sort(key=lambda each: (each.column, order.index(each.risk), each.kind, each.title, each.id))
        columns: defaultdict[int, list[GraphNode]] = defaultdict(list)
        for node in nodes:
            columns[node.column].append(node)
        shown = [node for column in columns.values() for node in _shortened(column)]
        return Graph(tuple(shown), tuple(_between(shown, nodes, edges)))

    def _add(self, node: GraphNode) -> str:
        return self._nodes.setdefault(node.id, node).id

    def _add_actor(self, actor: Actor, column: int) -> str:
        if identity := self._identity_of(actor):
            return self.add_identity(identity, column)
        kind, title, detail = _described(actor.member)
        if actor.project:
            detail = f"{actor.role} on Project {actor.project}"
        return self._add(GraphNode(actor.member, NodeKind.PRINCIPAL, kind, title, detail, column, actor.risk))

    def _identity_of(self, actor: Actor) -> str:
        """Return the declared identity that an actor is, by its account or by its name; empty for others."""
        key = actor.identity or actor.member.removeprefix("identity:")
        return key if key in self._cluster.nodes else ""

    def _connect(self, source: str, target: str, label: str, risk: Risk, state: str = "Granted") -> None:
        effective = state.startswith(("Granted", "Releasing"))
        text = label if effective else f"{label} ({state})"
        edge = self._edges.get((source, target), GraphEdge(source, target, (), Risk.NONE, effective=False))
        self._edges[source, target] = GraphEdge(
            source,
            target,
            tuple(dict.fromkeys((*edge.labels, text))),
            most_severe((edge.risk, risk)),
            effective or edge.effective,
        )


def _label(use: str, condition: str) -> str:
    return f"{use} if {condition}" if condition else use


def _described(member: str) -> tuple[str, str, str]:
    """Return the type, the name and the details of a principal."""
    if is_public(member):
        return "Everyone", member, "everyone on the internet"
    principal = parse(member)
    name = principal.identifier
    match principal.kind:
        case PrincipalKind.USER:
            return "User", *_parts_of(name)
        case PrincipalKind.GROUP:
            return "Group", *_parts_of(name)
        case PrincipalKind.SERVICE_ACCOUNT:
            return "Service account", *_parts_of(name)
        case PrincipalKind.KUBERNETES_WORKLOADS:
            return "All workloads of", name.partition(":")[0], ""
        case PrincipalKind.KUBERNETES_SERVICE_ACCOUNT:
            return "Kubernetes", name.partition("[")[2].removesuffix("]"), name.partition("[")[0]
        case PrincipalKind.PRINCIPAL | PrincipalKind.PRINCIPAL_SET:
            return _federated(name)
        case PrincipalKind.DOMAIN:
            return "Domain", name, ""
        case _:
            return "Principal", member, ""


def _parts_of(email: str) -> tuple[str, str]:
    """Return the part of an e-mail before the @, and the rest."""
    local, at, domain = email.partition("@")
    return local, at + domain


def _federated(name: str) -> tuple[str, str, str]:
    """Return the type, the name and the details of a principal of a pool, or of a set of them.

    Forms: https://cloud.google.com/iam/docs/principal-identifiers
    """
    where, _, rest = name.partition("Pools/")
    pool, _, subject = rest.partition("/")
    if not subject:
        return "Federated", name.rpartition("/")[2], name.rpartition("/")[0]
    kind = "Workforce" if where.endswith("workforce") else "Federated"
    return kind, subject.removeprefix("subject/"), f"of pool {pool}"


def _shortened(column: list[GraphNode]) -> list[GraphNode]:
    if len(column) <= MAX_IN_COLUMN:
        return column
    shown, rest = column[: MAX_IN_COLUMN - 1], column[MAX_IN_COLUMN - 1 :]
    number = column[0].column
    risk = most_severe(each.risk for each in rest)
    title = f"{len(rest)} more"
    return [*shown, GraphNode(_rest(number), NodeKind.REST, "", title, "listed below", number, risk)]


def _rest(column: int) -> str:
    return f"rest of column {column}"


def _between(
    shown: list[GraphNode], nodes: Iterable[GraphNode], edges: Iterable[GraphEdge]
) -> Iterable[GraphEdge]:
    """Yield the edges between the shown nodes. Edges of hidden nodes are one edge per other end."""
    visible = {node.id for node in shown}
    stand_in = {node.id: node.id if node.id in visible else _rest(node.column) for node in nodes}
    merged: dict[tuple[str, str], GraphEdge] = {}
    for edge in edges:
        ends = stand_in[edge.source], stand_in[edge.target]
        known = merged.get(ends)
        labels = edge.labels if ends == (edge.source, edge.target) else ()
        merged[ends] = GraphEdge(
            *ends,
            labels,
            most_severe((edge.risk, known.risk if known else Risk.NONE)),
            edge.effective or bool(known and known.effective),
        )
    return merged.values()
