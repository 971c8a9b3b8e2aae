"""Access to the policy of one resource, recognized by its unique ID and not only by its name.

A resource that was deleted and created again has the same name and another policy. Before a write, its
unique ID is compared with the one that the ledger records. The ID is read after the policy. If another
resource takes the name between the two reads, the IDs differ; if it does so later, the etags differ.

A read that does not show the operator's own writes yet is replaced by what the last write returned, or by the
read that showed it if its reply was lost.
"""

import asyncio
from collections.abc import Collection

from google.iam.v1.policy_pb2 import Policy

from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.model import Ledger

from .own_writes import OwnWrites
from .ports import PolicyPort, SyncerPorts


class TargetReplaced(Exception):
    """Another resource has the name of the target since the sync was planned."""


class BoundPolicies:
    """A `ports.OwnPolicyPort` that writes a policy only if the sync was planned for its resource.

    The unique ID is read once after each read of the policy that a write follows. A sync that writes nothing
    reads it only if the policy may be older than the first write.
    """

    def __init__(self, ports: SyncerPorts, own_writes: OwnWrites) -> None:
        """Initialize the port. `own_writes` are the writes of earlier syncs of the same policy."""
        self._policies: PolicyPort = ports.policies
        self._ports = ports
        self._own_writes = own_writes
        self._newest = Policy()
        self._expected = ""
        self._is_verified = False

    async def unique_id(self, ledger: Ledger) -> str:
        """Return the unique ID of the target of a ledger, for which the sync is planned.

        It is empty if the operator may not read the resource and never could. An account that the operator
        has just created is the recorded one, even if Google Cloud does not show it consistently yet.

        Raises:
            GoogleError: NOT_FOUND if the target does not exist, or another error of the API.

        """
        self._expected = await self._read(ledger)
        self._is_verified = True
        return self._expected

    async def get(self, target: Target) -> Policy:
        """Return the policy with all own writes; raises GoogleError."""
        self._is_verified = False
        read = await self._policies.get(target)
        self._newest = await self._newest_of(read, target)
        self._own_writes.note_read(self._newest)
        return self._newest

    async def set(self, target: Target, policy: Policy) -> Policy:
        """Write the policy; raises GoogleError, or TargetReplaced if nothing may be written."""
        if not self._is_verified:
            await self._verify(self._ports.ledgers.ledger(target))
        try:
            reply = await self._policies.set(target, policy)
        except asyncio.CancelledError:
            self._own_writes.note_undecided(self._newest)
            raise
        except GoogleError as error:
            if error.fault is Fault.ABORTED:
                self._own_writes.note_conflict()
            elif error.undecided:
                self._own_writes.note_undecided(self._newest)
            raise
        self._note_own(self._newest, reply, target)
        self._newest = reply
        return reply

    def note_found(self, target: Target) -> None:
        """Record that the last read shows the write without a reply."""
        if undecided := self._own_writes.undecided:
            self._note_own(undecided.before, self._newest, target)

    def log_write(self, target: Target, *, removed: Collection[Grant], added: Collection[Grant]) -> None:
        """Log a write that took effect."""
        self._policies.log_write(target, removed=removed, added=added)

    async def _newest_of(self, read: Policy, target: Target) -> Policy:
        """Return the policy of a read, or the reply to a later write of the same resource."""
        first = self._own_writes.first_before(read, _now())
        if first is None:
            return self._own_writes.newest(read)
        is_same = first.unique_id and await self._read(self._ports.ledgers.ledger(target)) == first.unique_id
        return self._own_writes.reply if is_same else read

    def _note_own(self, before: Policy, after: Policy, target: Target) -> None:
        self._own_writes.note(before, after, self._ports.ledgers.ledger(target).target_uid, _now())

    async def _verify(self, ledger: Ledger) -> None:
        expected = self._expected or ledger.target_uid
        try:
            unique_id = await self._read(ledger)
        except GoogleError as error:
            error.sent = False  # the write certainly had no effect
            raise
        if expected and unique_id not in ("", expected):
            raise TargetReplaced(f"another resource has the name of {ledger.target}")
        self._is_verified = True

    async def _read(self, ledger: Ledger) -> str:
        try:
            return await self._ports.target_id(ledger.target)
        except GoogleError as error:
            if error.fault in _LAG and ledger.target_uid and self._ports.is_fresh(ledger.target.name):
                return ledger.target_uid
            unverified = ledger.target.descriptor.project_number_field is not None
            if error.fault is Fault.PERMISSION_DENIED and not ledger.target_uid and not unverified:
                return ""
            raise


_LAG = frozenset({Fault.NOT_FOUND, Fault.PERMISSION_DENIED})
"""Answers of Google Cloud about an account that was created moments ago; another unique ID is not one."""


def _now() -> float:
    return asyncio.get_running_loop().time()
