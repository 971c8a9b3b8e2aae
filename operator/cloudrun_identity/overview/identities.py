"""Identities with their workloads, users and grants, from the status of objects.

Only grants that objects declare are known here, on the account itself or on its whole project.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cloudrun_identity.api import (
    CloudRunIdentity,
    ConditionStatus,
    ConditionType,
    CustomRole,
    GrantStatus,
    IAMBinding,
    ProjectScopedResource,
)
from cloudrun_identity.api.cloud_run_identity import AttachedWorkload
from cloudrun_identity.iam.grants import Target

from .risk import HOW, Risk, Roles


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
    risk: Risk = Risk.NONE
    """The risk of the grant."""


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
    risk: Risk = Risk.NONE
    """The risk of the grant: Owner if its role escalates."""


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
    public_runs: tuple[str, ...] = ()
    """The workloads among `runs` that everyone may invoke, as objects declare."""

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
    roles = Roles({role.status.name: role.spec.permissions for role in custom_roles if role.status.name})
    grants = _GrantIndex((*known, *bindings), roles)
    return tuple(_node(each, grants, owners, roles) for each in known)


StatusGrant = tuple[ProjectScopedResource, GrantStatus]


class _GrantIndex:
    """The grants in the status of objects, by target and by member, each with the object, in order."""

    def __init__(self, objects: Iterable[ProjectScopedResource], roles: Roles) -> None:
        self._all: list[StatusGrant] = [(obj, grant) for obj in objects for grant in obj.status.grants]
        self._uses: defaultdict[str, list[int]] = defaultdict(list)
        self._by_member: defaultdict[str, list[int]] = defaultdict(list)
        self._own: defaultdict[int, list[int]] = defaultdict(list)
        self._public: set[tuple[str, str]] = set()
        for number, (obj, grant) in enumerate(self._all):
            self._by_member[grant.member].append(number)
            if roles.use_of(grant.role):
                self._uses[grant.target].append(number)
                self._own[id(obj)].append(number)
            if roles.is_public_invocation(grant.role, grant.target, grant.member):
                self._public.add((obj.status.project_id or "", grant.target))

    def uses_of(self, identity: CloudRunIdentity) -> list[StatusGrant]:
        """Return the grants that permit the use of an identity, on its account or on its project."""
        status = identity.status
        found = {
            number
            for number in self._own.get(id(identity), ())
            if _is_on_own_account(self._all[number][1], identity)
        }
        if status.email:
            found.update(self._uses.get(_account_of(identity), ()))
            found.update(self._uses.get(_project_of(identity), ()))
        return [self._all[number] for number in sorted(found)]

    def held_by(self, identity: CloudRunIdentity) -> list[StatusGrant]:
        """Return the grants to an identity: to its account, or to its name while it has none."""
        names = {f"identity:{_name(identity)}", identity.status.member or ""}
        numbers = sorted({number for name in names for number in self._by_member.get(name, ())})
        found = [self._all[number] for number in numbers]
        return [(obj, grant) for obj, grant in found if identity.status.member or obj is identity]

    def is_public(self, workload: AttachedWorkload) -> bool:
        """Return whether an object lets everyone invoke a workload."""
        return (workload.project_id, f"{workload.kind} {workload.location}/{workload.name}") in self._public


def _node(identity: CloudRunIdentity, grants: _GrantIndex, owners: Mapping[str, str], roles: Roles) -> Node:
    status = identity.status
    ready = status.condition(ConditionType.READY)
    is_ready = ready is not None and ready.status is ConditionStatus.TRUE
    project = _project_of(identity)
    actors = [
        Actor(
            member=grant.member,
            role=grant.role,
            how=roles.use_of(grant.role),
            state=_state(grant),
            declared_by=_declarer(obj),
            identity=owners.get(grant.member, ""),
            condition=grant.condition or "",
            project=status.project_id or "" if status.email and grant.target == project else "",
            risk=roles.risk_of_use(grant.role, grant.member, grant.state),
        )
        for obj, grant in grants.uses_of(identity)
    ]
    permits = [
        Permit(
            grant.role,
            grant.target,
            grant.condition or "",
            _state(grant),
            _declarer(obj),
            risk=roles.risk_of_grant(grant.role, grant.target, grant.state),
        )
        for obj, grant in grants.held_by(identity)
    ]
    return Node(
        namespace=identity.metadata.namespace,
        name=identity.metadata.name,
        email=status.email or "",
        project_id=status.project_id or "",
        reason="" if is_ready else (ready.reason if ready else "Unknown"),
        runs=tuple(_run(each, identity) for each in status.attached_to),
        actors=tuple(actors),
        permits=tuple(permits),
        public_runs=tuple(_run(each, identity) for each in status.attached_to if grants.is_public(each)),
    )


def _account_of(identity: CloudRunIdentity) -> str:
    return str(Target.service_account("", identity.status.email or ""))


def _project_of(identity: CloudRunIdentity) -> str:
    return str(Target.project(identity.status.project_id or ""))


def _is_on_own_account(grant: GrantStatus, identity: CloudRunIdentity) -> bool:
    """Return whether the identity, which declares the grant, says who may use it; also without an account."""
    held = grant.member in (identity.status.member, f"identity:{_name(identity)}")
    return grant.role in HOW and not held


def _run(workload: AttachedWorkload, identity: CloudRunIdentity) -> str:
    elsewhere = f" in {workload.project_id}" if workload.project_id != identity.status.project_id else ""
    return f"{workload.kind} {workload.location}/{workload.name}{elsewhere}"


def _state(grant: GrantStatus) -> str:
    return f"{grant.state} {grant.reason}" if grant.reason else str(grant.state)


def _declarer(obj: ProjectScopedResource) -> str:
    return f"{obj.kind} {_name(obj)}"


def _name(obj: ProjectScopedResource) -> str:
    return f"{obj.metadata.namespace}/{obj.metadata.name}"
