"""Deleting an identity: never under a running workload, grants first, the account last."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cloudrun_identity.api import (
    CloudRunIdentity,
    DeletionProtection,
    IAMBinding,
    IdentityAttachment,
    IdentityDeletionPolicy,
    ManagedProject,
    Origin,
    Reason,
    WorkloadKind,
)
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.mutations import mutated
from cloudrun_identity.gcp.service_accounts import ServiceAccounts
from cloudrun_identity.iam.admission import Admitted, may_enter
from cloudrun_identity.iam.ledger import AccountRecord
from cloudrun_identity.iam.principals import lower_email

from .accounts import AccountLedgers, Accounts, Owner
from .announcements import Announcer
from .gate import surroundings
from .outcomes import InSync, Outcome, Waiting
from .release import Releaser
from .world import Key, World

SHARED = 2.0
"""Seconds for which lists of workloads are shared, so that identities deleted together cost one list, not
many."""

LOOK_AGAIN = 15.0
"""Seconds until a workload that runs as the identity is looked at again: nothing tells us when it stops
to."""

_NAMED = 3


@dataclass(frozen=True, slots=True)
class _Place:
    project_id: str
    location: str


class IdentityDeletion:
    """Undoes what was done for an identity."""

    def __init__(
        self,
        service_accounts: ServiceAccounts,
        inventory: Inventory,
        ledgers: AccountLedgers,
        accounts: Accounts,
        releaser: Releaser,
        announcer: Announcer,
        checkpoint: Callable[[str], None],
    ) -> None:
        """`checkpoint(step)` is told after every step that a crash could follow."""
        self._service_accounts = service_accounts
        self._inventory = inventory
        self._ledgers = ledgers
        self._accounts = accounts
        self._releaser = releaser
        self._announcer = announcer
        self._checkpoint = checkpoint

    async def delete(self, obj: CloudRunIdentity, world: World, *, abandon: bool) -> Outcome:
        """One step of it; InSync once nothing is left to undo. `abandon` leaves Google Cloud as it is."""
        record = world.account(obj)
        home = self._ledgers.account_home(f"{obj.metadata.namespace}/{obj.metadata.name}")
        if record is None or home is None:
            return await self._releaser.release(obj, abandon=abandon)
        abandon = abandon or obj.spec.deletion_policy is IdentityDeletionPolicy.ABANDON
        if not abandon and obj.spec.deletion_protection is DeletionProtection.WHILE_IN_USE:
            users = await self._users(obj, record, home.project_id, world)
            if users and not self._is_forced(obj, world):
                return _in_use(record, users)
            if users:
                abandon = True
                self._announcer.warn(
                    obj,
                    "Abandoned",
                    f"account {record.email} is left, with its grants: {users[0]} runs as it",
                )
        released = await self._releaser.release(obj, abandon=abandon)
        if not isinstance(released, InSync):
            return released
        self._checkpoint("grants released")
        owner = Owner(obj, home.project_id)
        if not abandon and _is_to_go(obj, record):
            await self._delete_account(owner, record)
            self._checkpoint("account deleted")
        await self._accounts.forget(owner, record.email)
        return InSync()

    async def _delete_account(self, owner: Owner, record: AccountRecord) -> None:
        unique_id = record.unique_id
        try:
            if not unique_id:  # its creation was never seen through
                unique_id = (await self._service_accounts.get(owner.project_id, record.email)).unique_id
            await self._service_accounts.delete(owner.project_id, unique_id)
        except GoogleError as error:
            if error.fault is not Fault.NOT_FOUND:
                raise
            return
        self._inventory.wrote_account(owner.project_id, record.email)
        mutated("delete", owner.target(record.email).full_name, before="present", after="deleted")

    async def _users(
        self, obj: CloudRunIdentity, record: AccountRecord, project_id: str, world: World
    ) -> list[str]:
        """The workloads that run as the account, and the places that could not be looked at."""
        found = []
        for place in sorted(set(_places(obj, project_id, world)), key=str):
            for kind in WorkloadKind:
                try:
                    states = await self._inventory.workloads(place.project_id, place.location, kind, SHARED)
                except GoogleError as error:
                    found.append(f"{kind}s in {place.location}, which cannot be read ({error.message})")
                    continue
                found += [
                    str(state.workload)
                    for state in states.values()
                    if lower_email(state.service_account) == lower_email(record.email)
                ]
        return found

    def _is_forced(self, obj: CloudRunIdentity, world: World) -> bool:
        return obj.is_force_deleted or world.is_terminating(obj.metadata.namespace)


def _is_to_go(obj: CloudRunIdentity, record: AccountRecord) -> bool:
    match obj.spec.deletion_policy:
        case IdentityDeletionPolicy.DELETE:
            return True
        case IdentityDeletionPolicy.DELETE_IF_CREATED:
            return record.origin is Origin.CREATED
        case IdentityDeletionPolicy.ABANDON:
            return False


def _in_use(record: AccountRecord, users: list[str]) -> Outcome:
    more = f" and {len(users) - _NAMED} more" if len(users) > _NAMED else ""
    return Waiting(
        Reason.IN_USE,
        f"account {record.email} is not deleted while workloads run as it: "
        f"{', '.join(users[:_NAMED])}{more}; move them to another account, or set spec.deletionPolicy "
        "to Abandon",
        after=LOOK_AGAIN,
    )


def _places(obj: CloudRunIdentity, project_id: str, world: World) -> Iterable[_Place]:
    """Where a workload could run as the identity: its project's locations, else where anything of ours is.

    Only objects that may be there count, lest anybody hold up anybody's deletion.
    """
    project = world.project(obj.spec.project_ref.name)
    if project and project.spec.locations:
        yield from (_Place(project_id, location) for location in project.spec.locations)
    referrers = set(world.referrers(Key.of(obj)))
    for attachment in world.objects(IdentityAttachment):
        attached = world.project(attachment.spec.project_ref.name)
        if Key.of(attachment) in referrers and attached and _is_admitted(attachment, attached, world):
            yield _Place(attached.project_id, attachment.spec.workload.location)
    for binding in world.objects(IAMBinding):
        beside = binding.metadata.namespace == obj.metadata.namespace
        location = binding.spec.target.location
        if location and beside and binding.spec.project_ref == obj.spec.project_ref:
            yield _Place(project_id, location)


def _is_admitted(obj: IdentityAttachment, project: ManagedProject, world: World) -> bool:
    entrance = may_enter(project, obj.metadata.namespace, surroundings(project, world))
    return isinstance(entrance, Admitted)
