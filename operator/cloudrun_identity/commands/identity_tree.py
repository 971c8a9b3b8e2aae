"""The identities of a cluster with their workloads, users and grants: as text and as JSON."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloudrun_identity.api import GrantState
from cloudrun_identity.overview.identities import Actor, Node, Permit


def as_json(nodes: Iterable[Node]) -> dict[str, Any]:
    """Return the identities for JSON output, without the empty fields of actors and permits."""
    return {"identities": [_json_of(node) for node in nodes], "includesUnmanagedGrants": False}


def as_text(nodes: Sequence[Node], known: Sequence[Node] = ()) -> str:
    """Return a tree per namespace. A chain of impersonation is followed to its end, or until it cycles.

    The chain continues through the `known` identities too.
    """
    by_key = {node.key: node for node in (*known, *nodes)}
    lines: list[str] = []
    for namespace in dict.fromkeys(node.namespace for node in nodes):
        members = [_branch(node, by_key) for node in nodes if node.namespace == namespace]
        lines += [namespace, *_drawn(members), ""]
    return "\n".join(lines[:-1])


@dataclass(frozen=True, slots=True)
class _Branch:
    """A line of the tree, and the branches below it."""

    line: str
    below: tuple["_Branch", ...] = ()


def _branch(node: Node, by_key: Mapping[str, Node]) -> _Branch:
    sections = (
        ("runs", tuple(map(_Branch, node.runs))),
        ("used by", _actors(node, by_key, (node.key,), frozenset())),
        ("grants", tuple(_permit(permit) for permit in node.permits)),
    )
    below = tuple(_Branch(title, found) for title, found in sections if found)
    reason = f"  ({node.reason})" if node.reason else ""
    return _Branch(f"{node.name}  {node.email or 'no account yet'}{reason}", below)


def _actors(
    node: Node, by_key: Mapping[str, Node], path: tuple[str, ...], projects: frozenset[str]
) -> tuple[_Branch, ...]:
    """Return the principals that may use the identity, recursively. `path` holds the identities above.

    A grant on a whole project applies to each of its accounts. It is shown once per chain: `projects` holds
    the projects whose grants are shown above.
    """
    below = projects | {node.project_id}
    return tuple(_actor(actor, by_key, path, below) for actor in node.actors if actor.project not in projects)


def _actor(
    actor: Actor, by_key: Mapping[str, Node], path: tuple[str, ...], projects: frozenset[str]
) -> _Branch:
    when = f" if {actor.condition}" if actor.condition else ""
    where = f"  ({actor.role} on Project {actor.project})" if actor.project else ""
    line = f"{actor.identity or actor.member}  {actor.how}{when}{where}{_pending(actor.state)}"
    if actor.identity == path[-1]:
        return _Branch(f"{line}  (itself)")
    if actor.identity in path:
        return _Branch(f"{line}  (cycle)")
    known = by_key.get(actor.identity)
    return _Branch(line, _actors(known, by_key, (*path, known.key), projects) if known else ())


def _permit(permit: Permit) -> _Branch:
    when = f" if {permit.condition}" if permit.condition else ""
    return _Branch(f"{permit.role} on {permit.target}{when}{_pending(permit.state)}")


def _pending(state: str) -> str:
    return "" if state == GrantState.GRANTED else f"  ({state})"


def _drawn(branches: Sequence[_Branch]) -> Iterator[str]:
    for index, branch in enumerate(branches):
        is_last = index == len(branches) - 1
        yield f"{'└── ' if is_last else '├── '}{branch.line}"
        for line in _drawn(branch.below):
            yield f"{'    ' if is_last else '│   '}{line}"


def _json_of(node: Node) -> dict[str, Any]:
    return {
        "namespace": node.namespace,
        "name": node.name,
        "email": node.email,
        "projectID": node.project_id,
        "ready": not node.reason,
        "reason": node.reason,
        "runs": list(node.runs),
        "actedAsBy": [
            _without_empty(
                member=actor.member,
                identity=actor.identity,
                role=actor.role,
                how=actor.how,
                target=f"Project {actor.project}" if actor.project else "",
                condition=actor.condition,
                state=actor.state,
                declaredBy=actor.declared_by,
            )
            for actor in node.actors
        ],
        "may": [
            _without_empty(
                role=permit.role,
                target=permit.target,
                condition=permit.condition,
                state=permit.state,
                declaredBy=permit.declared_by,
            )
            for permit in node.permits
        ],
    }


def _without_empty(**fields: str) -> dict[str, str]:
    return {name: value for name, value in fields.items() if value}
