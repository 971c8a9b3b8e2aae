"""Records of custom roles in the ledger of their project's policy."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from cloudrun_identity.api import LedgerRole, Origin, RoleState
from cloudrun_identity.gcp.custom_roles import ID_TAKEN_FOR
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.interface import LedgerStore
from cloudrun_identity.ledger.model import Ledger

from .holders import RoleHolders
from .role import RoleWant


class RoleRecords:
    """Read and write the records of roles."""

    def __init__(self, ledgers: LedgerStore, wall_clock: Callable[[], datetime]) -> None:
        self._ledgers = ledgers
        self._wall_clock = wall_clock

    def of(self, want: RoleWant) -> LedgerRole | None:
        """Return the record of the role, whichever object owns it."""
        return self._ledgers.ledger(_home(want)).role(want.obj.spec.role_id)

    async def put(self, want: RoleWant, origin: Origin, state: RoleState) -> LedgerRole | None:
        """Record the role as one of the object."""
        record = LedgerRole(
            role_id=want.obj.spec.role_id,
            owner=want.owner,
            owner_uid=want.obj.metadata.uid,
            origin=origin,
            state=state,
        )
        return await self.keep(want, record)

    async def keep(self, want: RoleWant, record: LedgerRole | None) -> LedgerRole | None:
        """Write the record, or remove it, and remove the records of deleted roles with free ids."""
        role_id, oldest = want.obj.spec.role_id, self._wall_clock() - ID_TAKEN_FOR

        def changed(ledger: Ledger) -> Ledger:
            for role in ledger.roles:
                if role.deleted_time and role.deleted_time < oldest:
                    ledger = ledger.without_role(role.role_id)
            return ledger.with_role(record) if record else ledger.without_role(role_id)

        await self._ledgers.update(_home(want), changed)
        return record

    async def forget_left(self, holders: RoleHolders) -> None:
        """Remove the records of grants that objects left and that the policies do not contain any more."""
        removed = holders.left_before - holders.grants
        for target in {grant.target for grant in removed}:
            await self._ledgers.update(target, partial(_without_left, removed))


def _without_left(removed: frozenset[Grant], ledger: Ledger) -> Ledger:
    left = {grant: owner for grant, owner in ledger.left.items() if grant not in removed}
    return ledger.with_left(left)


def _home(want: RoleWant) -> Target:
    return Target.project(want.project_id)
