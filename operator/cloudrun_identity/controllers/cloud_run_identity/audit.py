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
from cloudrun_identity.controllers.conditions import Finding
from cloudrun_identity.controllers.gate import other_project
from cloudrun_identity.controllers.grants.open_services import open_to_all, roles_in_vain
from cloudrun_identity.controllers.identity_attachment.attachment import Account
from cloudrun_identity.controllers.identity_attachment.cross_project import (
    Crossing,
    acting,
    allowing,
    cross_project_ready,
    lending,
)
from cloudrun_identity.controllers.world import Key, World
from cloudrun_identity.gcp.access import Access, Hint
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.keys import Keys
from cloudrun_identity.gcp.projects import cloud_run_service_agent
from cloudrun_identity.gcp.workloads import Workload
from cloudrun_identity.iam.acting_roles import TOKEN_CREATOR
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.principals import service_account_member

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
    may_act: Mapping[str, Hint] = field(default_factory=dict)
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
        return self.unreadable + roles_in_vain(self.open_services)


class IdentityAuditor:
    """Looks; what cannot be read is no error here."""

    def __init__(self, inventory: Inventory, access: Access, keys: Keys) -> None:
        self._inventory = inventory
        self._access = access
        self._keys = keys

    async def look(
        self,
        obj: CloudRunIdentity,
        account: Target,
        unique_id: str,
        called: Iterable[Workload],
        world: World,
        max_age: float,
    ) -> Audit:
        """What can be told of the account now, from reads at most `max_age` seconds old.

        `called` are the services that the identity has a role to call.
        """
        attached: list[Workload] = []
        unreadable: list[str] = []
        for project_id, location in sorted(_places(obj, account.project_id, world)):
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
            project.metadata.name: await self._access.operator_may(
                "iam.serviceAccounts.actAs", account, project.project_id, max_age
            )
            for project in usable_projects(obj, world)
        }
        keys = await self._undeclared(obj, account, unique_id, world, max_age)
        open_services = await open_to_all(called, self._inventory, max_age)
        return Audit(tuple(sorted(attached)), keys, tuple(unreadable), may_act, open_services)

    async def _undeclared(
        self, obj: CloudRunIdentity, account: Target, unique_id: str, world: World, max_age: float
    ) -> tuple[UnmanagedKey, ...] | GoogleError | None:
        if obj.spec.unmanaged_keys is UnmanagedKeys.IGNORE:
            return None
        try:
            listed = await self._keys.list(account.project_id, unique_id, max_age)
        except GoogleError as error:
            return error
        return undeclared(listed, world.ledger(account).keys)


def cross_project(
    obj: CloudRunIdentity, home: ManagedProject, account: Target, audit: Audit, world: World
) -> Finding | None:
    """The condition CrossProjectReady; None for an identity that no other project may use."""
    if not obj.spec.usable_from:
        return None
    lent = Account(
        account.name,
        account.project_id,
        DeclaredIdentity(obj.metadata.namespace, obj.metadata.name),
        home.metadata.name,
        home.status.cross_project_usage or EffectiveCrossProjectUsage.UNKNOWN,
    )
    lines: list[PreflightCheck] = []
    for project in usable_projects(obj, world):
        crossing = Crossing(
            lent,
            project.metadata.name,
            project.status.project_number or "",
            project.status.operator_identity or "",
        )
        lines += [
            acting(crossing, audit.may_act.get(project.metadata.name, Hint.UNKNOWN)),
            lending(crossing, _is_lent(account, crossing, world)),
            allowing(crossing),
        ]
    return cross_project_ready(lines)


def usable_projects(obj: CloudRunIdentity, world: World) -> Iterator[ManagedProject]:
    """The projects of usableFrom that are there and admit the identity's namespace."""
    for usable in obj.spec.usable_from:
        project = other_project(usable.project_ref.name, obj.metadata.namespace, world, "")
        if isinstance(project, ManagedProject):
            yield project


def _is_lent(account: Target, crossing: Crossing, world: World) -> Hint:
    """Whether the service agent has its grant, which is ours to make, by the ledger."""
    agent = service_account_member(cloud_run_service_agent(crossing.project_number))
    holding = world.ledger(account).holdings.get(Grant(account, TOKEN_CREATOR, agent))
    return Hint.YES if holding and holding.state is GrantState.GRANTED else Hint.NO


def _places(obj: CloudRunIdentity, home: str, world: World) -> frozenset[tuple[str, str]]:
    """Projects and locations in which something may run as the identity."""
    lent = world.project(obj.spec.project_ref.name)
    places = {(home, location) for location in (lent.spec.locations if lent else ())}
    for project in usable_projects(obj, world):
        places |= {(project.project_id, location) for location in project.spec.locations}
    for attachment in _attachments(obj, world):
        name, namespace = attachment.spec.project_ref.name, attachment.metadata.namespace
        workloads = other_project(name, namespace, world, "")
        if isinstance(workloads, ManagedProject):
            places.add((workloads.project_id, attachment.spec.workload.location))
    return frozenset(places)


def _attachments(obj: CloudRunIdentity, world: World) -> Iterator[IdentityAttachment]:
    for key in world.referrers(Key.of(obj)):
        if key.kind == IdentityAttachment.__name__:
            attachment = world.attachment(key.namespace, key.name)
            if attachment:
                yield attachment
