"""What a look at an identity tells beside its account: what runs as it, its keys, who else may use it.

All of it is advice, as old as the project's interval allows. What runs comes from lists that every identity
shares; only keys have to be listed for each account.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from cloudrun_identity.api import (
    AttachedWorkload,
    CloudRunIdentity,
    EffectiveCrossProjectUsage,
    GrantState,
    IdentityAttachment,
    ManagedProject,
    PreflightCheck,
    UnmanagedKey,
    UnmanagedKeys,
    WorkloadKind,
)
from cloudrun_identity.api.predefined_roles import TOKEN_CREATOR
from cloudrun_identity.controllers.identity_attachment.attachment import Account
from cloudrun_identity.controllers.identity_attachment.cross_project import (
    Crossing,
    acting,
    allowing,
    cross_project_ready,
    lending,
)
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.keys import Keys
from cloudrun_identity.gcp.permission_checks import AccessState, PermissionChecks
from cloudrun_identity.gcp.projects import cloud_run_service_agent
from cloudrun_identity.gcp.workloads import Workload
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.principals import service_account_member
from cloudrun_identity.reconcile.cluster_state import ClusterState, ObjectKey
from cloudrun_identity.reconcile.conditions import Finding
from cloudrun_identity.reconcile.grants.public_services import ineffective_roles, public_services
from cloudrun_identity.reconcile.preconditions import other_project

from .key_audit import undeclared


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found. `unreadable` are places that could not be looked at, in words.

    `may_act` tells for each ManagedProject of usableFrom, by its name, whether the operator, as whom it acts
    there, may act as the account. `keys` are those that nobody declares, or why they cannot be listed; None
    where nobody wants to know. `open_services` are those that the identity has a role to call, and that let
    in everybody.
    """

    attached: tuple[Workload, ...] = ()
    keys: tuple[UnmanagedKey, ...] | GoogleError | None = None
    unreadable: tuple[str, ...] = ()
    may_act: Mapping[str, AccessState] = field(default_factory=dict)
    open_services: tuple[Workload, ...] = ()

    @property
    def attached_to(self) -> tuple[AttachedWorkload, ...]:
        """The workloads as the status lists them."""
        return tuple(
            AttachedWorkload(
                project_id=each.project_id, kind=each.kind, location=each.location, name=each.name
            )
            for each in self.attached
        )

    @property
    def issues(self) -> tuple[str, ...]:
        """What somebody should know of."""
        return self.unreadable + ineffective_roles(self.open_services)


class IdentityAuditor:
    """Looks; what cannot be read is no error here."""

    def __init__(self, inventory: Inventory, access: PermissionChecks, keys: Keys) -> None:
        self._inventory = inventory
        self._access = access
        self._keys = keys

    async def look(
        self,
        obj: CloudRunIdentity,
        account: Target,
        unique_id: str,
        called: Iterable[Workload],
        cluster: ClusterState,
        max_age: float,
    ) -> Audit:
        """What can be told of the account now, from reads at most `max_age` seconds old.

        `called` are the services that the identity has a role to call.
        """
        attached: list[Workload] = []
        unreadable: list[str] = []
        for project_id, location in sorted(_places(obj, account.project_id, cluster)):
            for kind in WorkloadKind:
                try:
                    attached += await self._inventory.running_as(
                        project_id, location, kind, account.name, max_age
                    )
                except GoogleError as error:
                    unreadable.append(
                        f"{kind}s in {location} of {project_id} cannot be read: {error.message}"
                    )
        may_act = {
            project.metadata.name: await self._access.operator_access(
                "iam.serviceAccounts.actAs", account, project.project_id, max_age
            )
            for project in usable_projects(obj, cluster)
        }
        keys = await self._undeclared(obj, account, unique_id, cluster, max_age)
        open_services = await public_services(called, self._inventory, max_age)
        return Audit(tuple(sorted(attached)), keys, tuple(unreadable), may_act, open_services)

    async def _undeclared(
        self, obj: CloudRunIdentity, account: Target, unique_id: str, cluster: ClusterState, max_age: float
    ) -> tuple[UnmanagedKey, ...] | GoogleError | None:
        if obj.spec.unmanaged_keys is UnmanagedKeys.IGNORE:
            return None
        try:
            listed = await self._keys.list(account.project_id, unique_id, max_age)
        except GoogleError as error:
            return error
        return undeclared(listed, cluster.ledger(account).key_ring)


def cross_project(
    obj: CloudRunIdentity, home: ManagedProject, account: Target, audit: Audit, cluster: ClusterState
) -> Finding | None:
    """The condition CrossProjectReady; None for an identity that no other project may use."""
    if not obj.spec.usable_from:
        return None
    delegated = Account(
        account.name,
        account.project_id,
        DeclaredIdentity(obj.metadata.namespace, obj.metadata.name),
        home.metadata.name,
        home.status.cross_project_usage or EffectiveCrossProjectUsage.UNKNOWN,
    )
    lines: list[PreflightCheck] = []
    for project in usable_projects(obj, cluster):
        crossing = Crossing(
            delegated,
            project.metadata.name,
            project.status.project_number or "",
            project.status.operator_identity or "",
        )
        lines += [
            acting(crossing, audit.may_act.get(project.metadata.name, AccessState.UNKNOWN)),
            lending(crossing, _is_lent(account, crossing, cluster)),
            allowing(crossing),
        ]
    return cross_project_ready(lines)


def usable_projects(obj: CloudRunIdentity, cluster: ClusterState) -> Iterator[ManagedProject]:
    """The projects of usableFrom that are there and admit the identity's namespace."""
    for usable in obj.spec.usable_from:
        project = other_project(usable.project_ref.name, obj.metadata.namespace, cluster, "")
        if isinstance(project, ManagedProject):
            yield project


def _is_lent(account: Target, crossing: Crossing, cluster: ClusterState) -> AccessState:
    """Whether the service agent has its grant, which is ours to make, by the ledger."""
    agent = service_account_member(cloud_run_service_agent(crossing.project_number))
    entry = cluster.ledger(account).entries.get(Grant(account, TOKEN_CREATOR, agent))
    return AccessState.GRANTED if entry and entry.state is GrantState.GRANTED else AccessState.NOT_GRANTED


def _places(obj: CloudRunIdentity, home: str, cluster: ClusterState) -> frozenset[tuple[str, str]]:
    """Projects and locations in which something may run as the identity."""
    delegated = cluster.project(obj.spec.project_ref.name)
    places = {(home, location) for location in (delegated.spec.locations if delegated else ())}
    for project in usable_projects(obj, cluster):
        places |= {(project.project_id, location) for location in project.spec.locations}
    for attachment in _attachments(obj, cluster):
        name, namespace = attachment.spec.project_ref.name, attachment.metadata.namespace
        workloads = other_project(name, namespace, cluster, "")
        if isinstance(workloads, ManagedProject):
            places.add((workloads.project_id, attachment.spec.workload.location))
    return frozenset(places)


def _attachments(obj: CloudRunIdentity, cluster: ClusterState) -> Iterator[IdentityAttachment]:
    for key in cluster.referrers(ObjectKey.of(obj)):
        if key.kind == IdentityAttachment.__name__:
            attachment = cluster.attachment(key.namespace, key.name)
            if attachment:
                yield attachment
