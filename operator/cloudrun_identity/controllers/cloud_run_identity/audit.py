"""Audit of an account: the workloads that run as it, its keys, and who else may use it.

The audit is advisory and may be as old as the project's interval allows. Workloads come from lists that all
identities share; only keys are listed for each account.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from cloudrun_identity.api import (
    AttachedWorkload,
    CloudRunIdentity,
    IdentityKey,
    KeyState,
    ManagedProject,
    UnmanagedKey,
    UnmanagedKeys,
    WorkloadKind,
)
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.keys import Keys
from cloudrun_identity.gcp.permission_checks import AccessState, PermissionChecks
from cloudrun_identity.gcp.workloads import Workload
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.listed_keys import ListedKey
from cloudrun_identity.ledger.keys import KeyRing
from cloudrun_identity.reconcile.advice import advised
from cloudrun_identity.reconcile.cluster_state import ClusterState, ObjectKey
from cloudrun_identity.reconcile.grants.public_services import ineffective_roles, public_services
from cloudrun_identity.reconcile.preconditions import other_project

from .places import Place, readable_places, undeclared_places


@dataclass(frozen=True, slots=True)
class Audit:
    """The findings about one account."""

    attached: tuple[Workload, ...] = ()
    """Workloads that run as the account."""
    keys: tuple[UnmanagedKey, ...] | GoogleError | None = None
    """Keys that no IdentityKey declares, or why keys cannot be listed; None if the spec ignores them."""
    unreadable: tuple[str, ...] = ()
    """Remarks about locations that cannot be read."""
    may_act: Mapping[str, AccessState] = field(default_factory=dict)
    """For each ManagedProject of usableFrom: whether the operator's account there may act as the account."""
    open_services: tuple[Workload, ...] = ()
    """Services that the identity has a role to call, and that allow unauthenticated calls."""
    vacant: frozenset[Place] = frozenset()
    """Recorded places of use that no object declares any more. No workload in them runs as the account."""

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
        """Remarks for a user."""
        return self.unreadable + ineffective_roles(self.open_services)


class IdentityAuditor:
    """Audit accounts. A place that cannot be read is a finding, not an error."""

    def __init__(self, inventory: Inventory, access: PermissionChecks, keys: Keys) -> None:
        self._inventory = inventory
        self._access = access
        self._keys = keys

    async def audit(
        self,
        obj: CloudRunIdentity,
        account: Target,
        unique_id: str,
        invoked: Iterable[Workload],
        cluster: ClusterState,
        max_age: float,
    ) -> Audit:
        """Return the findings about an account, from reads at most `max_age` seconds old.

        `invoked` are the services that the identity has a role to call.
        """
        attached: list[Workload] = []
        unreadable: list[str] = []
        places = readable_places(obj, account, cluster)
        used: set[Place] = set()
        for place in sorted(places):
            project_id, location = place.project_id, place.location
            for kind in WorkloadKind:
                try:
                    found = await self._inventory.running_as(
                        project_id, location, kind, account.name, max_age
                    )
                except GoogleError as error:
                    found = ()
                    used.add(place)
                    unreadable.append(
                        f"{kind}s in {location} of {project_id} cannot be read: {advised(error)}"
                    )
                if found:
                    used.add(place)
                    attached += found
        may_act = {
            project.metadata.name: await self._access.operator_access(
                "iam.serviceAccounts.actAs", account, project.project_id, max_age
            )
            for project in usable_projects(obj, cluster)
        }
        keys = await self._unmanaged_keys(obj, account, unique_id, cluster, max_age)
        open_services = await public_services(invoked, self._inventory, max_age)
        return Audit(
            attached=tuple(sorted(attached)),
            keys=keys,
            unreadable=tuple(unreadable),
            may_act=may_act,
            open_services=open_services,
            vacant=(places - used) & undeclared_places(obj, account, cluster),
        )

    async def _unmanaged_keys(
        self, obj: CloudRunIdentity, account: Target, unique_id: str, cluster: ClusterState, max_age: float
    ) -> tuple[UnmanagedKey, ...] | GoogleError | None:
        if obj.spec.unmanaged_keys is UnmanagedKeys.IGNORE:
            return None
        try:
            listed = await self._keys.list(account.project_id, unique_id, max_age)
        except GoogleError as error:
            return error
        return unmanaged_keys(
            listed,
            cluster.ledger(account).key_ring,
            lambda owner: cluster.exists(ObjectKey(IdentityKey.__name__, *owner.split("/", 1))),
        )


def unmanaged_keys(
    listed: Mapping[str, ListedKey], ring: KeyRing, exists: Callable[[str], bool]
) -> tuple[UnmanagedKey, ...]:
    """Return the keys that no IdentityKey manages according to the ledger, the oldest first.

    `exists(owner)` returns whether an IdentityKey, given as `namespace/name`, exists: without it, its keys
    are neither rotated nor deleted. A key that appeared while the operator creates one may be that one.
    """
    managed = {
        key_id
        for key_id, record in ring.records.items()
        if record.state is not KeyState.UNCLEAR and exists(record.owner)
    }
    if ring.attempt:
        managed |= listed.keys() - ring.attempt.known
    unmanaged = sorted((each for each in listed.values() if each.key_id not in managed), key=_by_age)
    return tuple(UnmanagedKey(id=each.key_id, created_time=each.created) for each in unmanaged)


def usable_projects(obj: CloudRunIdentity, cluster: ClusterState) -> Iterator[ManagedProject]:
    """Return the projects of usableFrom that exist and admit the identity's namespace."""
    for usable in obj.spec.usable_from:
        project = other_project(usable.project_ref.name, obj.metadata.namespace, cluster, "")
        if isinstance(project, ManagedProject):
            yield project


def _by_age(key: ListedKey) -> tuple[float, str]:
    return key.created.timestamp(), key.key_id
