"""Identities with their workloads, users and grants, from the status of objects: as text and as JSON.

Only grants that objects declare are known here, on the account itself or on its whole project.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cloudrun_identity.api import (
    CloudRunIdentity,
    ConditionStatus,
    ConditionType,
    CustomRole,
    GrantState,
    GrantStatus,
    IAMBinding,
    ProjectScopedResource,
)
from cloudrun_identity.api.predefined_roles import (
    OPEN_ID_TOKEN_CREATOR,
    TOKEN_CREATOR,
    USER,
    WORKLOAD_IDENTITY_USER,
)
from cloudrun_identity.iam.access_questions import ACT_AS
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.role_catalog import role_catalog

HOW: Final = {
    USER: "attaches it to workloads",
    TOKEN_CREATOR: "creates tokens for it",
    OPEN_ID_TOKEN_CREATOR: "creates ID tokens for it",
    WORKLOAD_IDENTITY_USER: "impersonates it from outside Google Cloud",
}
"""Use of an account that a role on it permits, for the roles that have no other purpose."""


@dataclass(frozen=True, slots=True)
class Actor:
    """A principal that may use an identity."""

    member: str
    """The principal, as in an IAM policy."""
    role: str
    """The role on the account, or on its project."""
    how: str
    """The use of the account that the role permits."""
    state: str
    """The state of the grant, with its reason."""
    declared_by: str
    """The object that declares the grant."""
    identity: str = ""
    """NAMESPACE/NAME of the principal if it is a declared identity."""
    condition: str = ""
    """The title of the IAM condition, or empty."""
    project: str = ""
    """The project if the role is granted on the whole project; empty for a grant on the account."""


@dataclass(frozen=True, slots=True)
class Permit:
    """A grant to an identity."""

    role: str
    """The granted role."""
    target: str
    """The resource that the role is granted on."""
    condition: str
    """The title of the IAM condition, or empty."""
    state: str
    """The state of the grant, with its reason."""
    declared_by: str
    """The object that declares the grant."""


@dataclass(frozen=True, slots=True)
class Node:
    """One identity."""

    namespace: str
    """The namespace of the CloudRunIdentity."""
    name: str
    """The name of the CloudRunIdentity."""
    email: str
    """The e-mail of the account; empty before its creation."""
    project_id: str
    """The Google Cloud project of the account."""
    reason: str
    """The reason why the identity is not Ready; empty if it is."""
    runs: tuple[str, ...]
    """The workloads that run as the account."""
    actors: tuple[Actor, ...]
    """The principals that may use the account."""
    permits: tuple[Permit, ...]
    """The grants to the account."""

    @property
    def key(self) -> str:
        """Return NAMESPACE/NAME."""
        return f"{self.namespace}/{self.name}"


def nodes_of(
    identities: Iterable[CloudRunIdentity],
    bindings: Iterable[IAMBinding],
    custom_roles: Iterable[CustomRole] = (),
) -> tuple[Node, ...]:
    """Return every identity with the grants in the status of all objects, sorted by name.

    The custom roles show which of their grants permit the use of an account.
    """
    known = sorted(identities, key=lambda each: (each.metadata.namespace, each.metadata.name))
    owners = {member: _name(each) for each in known if (member := each.status.member)}
    status_grants = [(obj, grant) for obj in (*known, *bindings) for grant in obj.status.grants]
    uses = _Uses({role.status.name: role.spec.permissions for role in custom_roles if role.status.name})
    return tuple(_node(each, status_grants, owners, uses) for each in known)


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


StatusGrant = tuple[ProjectScopedResource, GrantStatus]


class _Uses:
    """Uses of an account that roles permit, by the permissions in the roles."""

    def __init__(self, custom: Mapping[str, Iterable[str]]) -> None:
        self._custom = custom
        self._known: dict[str, str] = dict(HOW)

    def of(self, role: str) -> str:
        """Return the uses that a role permits; empty if it permits none or is not known."""
        if role not in self._known:
            predefined = role_catalog().get(role)
            permissions = frozenset(predefined.permissions if predefined else self._custom.get(role, ()))
            found = (ability.text for ability in ACT_AS if ability.permission in permissions)
            self._known[role] = ", ".join(found)
        return self._known[role]


def _node(
    identity: CloudRunIdentity, status_grants: Iterable[StatusGrant], owners: Mapping[str, str], uses: _Uses
) -> Node:
    status = identity.status
    ready = status.condition(ConditionType.READY)
    is_ready = ready is not None and ready.status is ConditionStatus.TRUE
    account = str(Target.service_account("", status.email or ""))
    project = str(Target.project(status.project_id)) if status.email and status.project_id else ""
    actors = [
        Actor(
            member=grant.member,
            role=grant.role,
            how=uses.of(grant.role),
            state=_state(grant),
            declared_by=_declarer(obj),
            identity=owners.get(grant.member, ""),
            condition=grant.condition or "",
            project=status.project_id or "" if grant.target == project else "",
        )
        for obj, grant in status_grants
        if (grant.target in (account, project) or _is_on_own_account(obj, grant, identity))
        and uses.of(grant.role)
    ]
    permits = [
        Permit(grant.role, grant.target, grant.condition or "", _state(grant), _declarer(obj))
        for obj, grant in status_grants
        if _is_held_by(grant, identity) and (status.member or obj is identity)
    ]
    return Node(
        namespace=identity.metadata.namespace,
        name=identity.metadata.name,
        email=status.email or "",
        project_id=status.project_id or "",
        reason="" if is_ready else (ready.reason if ready else "Unknown"),
        runs=tuple(_runs(identity)),
        actors=tuple(actors),
        permits=tuple(permits),
    )


def _is_on_own_account(obj: ProjectScopedResource, grant: GrantStatus, identity: CloudRunIdentity) -> bool:
    """Return whether the identity declares who may use it, also while it has no account."""
    return obj is identity and grant.role in HOW and not _is_held_by(grant, identity)


def _is_held_by(grant: GrantStatus, identity: CloudRunIdentity) -> bool:
    """Return whether the grant is to the identity: to its account, or to its name while it has none."""
    return grant.member in (identity.status.member, f"identity:{_name(identity)}")


def _runs(identity: CloudRunIdentity) -> Iterator[str]:
    for each in identity.status.attached_to:
        elsewhere = f" in {each.project_id}" if each.project_id != identity.status.project_id else ""
        yield f"{each.kind} {each.location}/{each.name}{elsewhere}"


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


def _state(grant: GrantStatus) -> str:
    return f"{grant.state} {grant.reason}" if grant.reason else str(grant.state)


def _declarer(obj: ProjectScopedResource) -> str:
    return f"{obj.kind} {_name(obj)}"


def _name(obj: ProjectScopedResource) -> str:
    return f"{obj.metadata.namespace}/{obj.metadata.name}"
