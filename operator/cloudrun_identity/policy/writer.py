"""Writes of one IAM policy against other writers and lost replies."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from google.iam.v1.policy_pb2 import Policy

from cloudrun_identity.api import LedgerWrite
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.model import Ledger

from .bisection import REFUSALS
from .desired_grants import DesiredGrant
from .merge import Merged, Removal, grants_in, merge
from .pending_write import is_alone, replaces, write_of
from .ports import OwnPolicyPort
from .shown_forms import ShownForms
from .usage import PolicyUsage, usage_of

MAX_REREADS = 6
"""The reads after a conflict, about a second. If the policy does not change, no other writer is active."""


WriteRecorder: TypeAlias = Callable[["PolicyWriter", LedgerWrite | None], Awaitable[None]]
"""Stores the record of a write in the ledger. The writer shows the policy that the write replaces.

The writer is passed, because a recorder that has it would form a reference cycle with it. Then all grants of
each sync stay in memory until the garbage collector runs.
"""


@dataclass(frozen=True, slots=True)
class _UndecidedWrite:
    """A write without a reply."""

    record: LedgerWrite
    merged: Merged


class PolicyWriter:
    """Reads a policy once and writes the differences. Reads it again after a conflict or a lost reply."""

    def __init__(self, target: Target, policies: OwnPolicyPort, attempts: int) -> None:
        """Initialize the writer. `attempts` limits the attempts at one write against other writers."""
        self._target = target
        self._policies = policies
        self._attempts = attempts
        self._policy = Policy()
        self._undecided: _UndecidedWrite | None = None
        self.forms = ShownForms(Ledger.of(target), frozenset())
        """The forms in which the policy shows grants."""
        self.shown: frozenset[Grant] = frozenset()
        """The grants as the policy shows them, as last read or written."""
        self.added: set[Grant] = set()
        """The grants in the policy that the writes certainly added."""
        self.writes = 0
        """The number of successful writes."""
        self.store_ahead: WriteRecorder = _no_record
        """Called before each write with the record of the write, or with None if it adds no grant."""

    @property
    def policy(self) -> Policy:
        """The policy as last read or written."""
        return self._policy

    @property
    def present(self) -> frozenset[Grant]:
        """The grants in the policy, also those that it shows in a registered form."""
        return self.forms.present(self.shown)

    @property
    def etag(self) -> bytes:
        """The etag of the policy as last read or written."""
        return bytes(self._policy.etag)

    @property
    def undecided_added(self) -> frozenset[Grant]:
        """The grants that the last write may have added, if its outcome is unknown."""
        return self._undecided.merged.added if self._undecided else frozenset()

    @property
    def undecided_removed(self) -> frozenset[Grant]:
        """The grants that the last write may have removed, if its outcome is unknown."""
        return self._undecided.merged.removed if self._undecided else frozenset()

    @property
    def usage(self) -> PolicyUsage:
        """The use of the policy's limits."""
        return usage_of(self._policy)

    def usage_without(self, removals: Sequence[Removal]) -> PolicyUsage:
        """Return the use of the policy's limits after these removals, as if their successors were present."""
        all_removed = [replace(removal, successors=frozenset()) for removal in removals]
        return usage_of(merge(self._policy, (), all_removed, self.forms.registered).policy)

    async def read(self) -> None:
        """Read the policy, and judge a write without a reply by it."""
        before = self.shown
        self._see(await self._policies.get(self._target))
        undecided, self._undecided = self._undecided, None
        if undecided and replaces(undecided.record, self.etag):
            self._undecided = undecided  # it may still arrive
        elif undecided and is_alone(undecided.record, self.etag, self.shown):
            self._policies.note_found(self._target)
            self._confirm(undecided.merged)
        else:
            if undecided:
                self.forms.interrupt(undecided.record, undecided.merged.added, self.shown)
            self.forms.note_others(self.shown - before)
        self.added &= self.present

    def contains_any(self, removals: Sequence[Removal]) -> bool:
        """Return whether a grant to remove is present."""
        return merge(self._policy, (), removals, self.forms.registered).policy is not self._policy

    async def write(self, desired_grants: Sequence[DesiredGrant], removals: Sequence[Removal]) -> None:
        """Merge and write the policy, unless nothing differs; raises GoogleError."""
        for attempt in range(1, self._attempts + 1):
            merged = merge(self._policy, desired_grants, removals, self.forms.registered)
            if merged.policy is self._policy:
                return
            sent = grants_in(merged.policy, self._target)
            write = write_of(self.etag, sent, self.forms.evidence(merged.added, self.shown))
            await self.store_ahead(self, write if merged.added else None)
            try:
                reply = await self._policies.set(self._target, merged.policy)
            except asyncio.CancelledError:
                self._undecided = _UndecidedWrite(write, merged)
                raise
            except GoogleError as error:
                if error.undecided:
                    self._undecided = _UndecidedWrite(write, merged)
                if not error.sent or error.fault not in _RETRIABLE or attempt == self._attempts:
                    raise
                if error.fault is Fault.UNAVAILABLE:
                    await asyncio.sleep(random.uniform(0, 0.1 * 2**attempt))  # noqa: S311 - no secret
                    await self.read()
                else:
                    await self._read_after_conflict()
            else:
                self._undecided = None
                self._confirm(merged)
                self._see(reply)
                self.added |= self.forms.compare(sent, self.shown)
                self.added &= self.present
                return

    async def is_writable(self) -> bool:
        """Return whether Google Cloud accepts the policy unchanged. Only this method writes equal content."""
        try:
            self._see(await self._policies.set(self._target, self._policy))
        except GoogleError as error:
            if error.fault is Fault.ABORTED:
                return True  # another writer has just written it
            if error.fault in REFUSALS:
                return False
            raise
        self.writes += 1
        return True

    async def _read_after_conflict(self) -> None:
        """Read the policy until another writer has changed it, or until no writer is active.

        The other writers read and write in the same way, so the first to read after a write is the most
        likely to write next. A read is cheap compared with a conflicting write: 176 ms against 786 ms, and
        from a larger quota.
        """
        await asyncio.sleep(random.uniform(0, _JITTER))  # noqa: S311 - no secret
        await self.read()
        etag = self._policy.etag
        for _ in range(MAX_REREADS):
            if self._policy.etag != etag:
                return
            await self.read()

    def _confirm(self, merged: Merged) -> None:
        self.writes += 1
        self.added |= merged.added
        self._policies.log_write(self._target, removed=merged.removed, added=merged.added)

    def _see(self, policy: Policy) -> None:
        self._policy = policy
        self.shown = grants_in(policy, self._target)


async def _no_record(writer: PolicyWriter, write: LedgerWrite | None) -> None:
    """Record nothing."""


_RETRIABLE = frozenset({Fault.ABORTED, Fault.UNAVAILABLE})

_JITTER = 0.2
"""The longest delay after a conflict, in seconds, so that two writers do not collide again."""
