"""Writes of one IAM policy against other writers and lost replies."""

import asyncio
import random
from collections.abc import Collection, Sequence

from google.iam.v1.policy_pb2 import Policy

from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.mutations import log_mutation
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.model import Ledger

from .bisection import REFUSALS
from .desired_grants import DesiredGrant
from .merge import Merged, Removal, grants_in, merge
from .ports import PolicyPort
from .shown_forms import ShownForms

MAX_REREADS = 6
"""The reads after a conflict, about a second. If the policy does not change, no other writer is active."""


class PolicyWriter:
    """Reads a policy once and writes the differences. Reads it again after a conflict or a lost reply."""

    def __init__(self, target: Target, policies: PolicyPort, attempts: int) -> None:
        """Initialize the writer. `attempts` limits the attempts at one write against other writers."""
        self._target = target
        self._policies = policies
        self._attempts = attempts
        self._policy = Policy()
        self.lost_reply = False
        """True if a write may have taken effect without a reply."""
        self.forms = ShownForms(Ledger.of(target), frozenset())
        """The forms in which the policy shows grants."""
        self.shown: frozenset[Grant] = frozenset()
        """The grants as the policy shows them, as last read or written."""
        self.added: set[Grant] = set()
        """The grants that the writes added, or may have added if a reply was lost."""
        self.writes = 0
        """The number of successful writes."""

    @property
    def policy(self) -> Policy:
        """The policy as last read or written."""
        return self._policy

    @property
    def present(self) -> frozenset[Grant]:
        """The grants in the policy, also those that it shows in a registered form."""
        return self.forms.present(self.shown)

    @property
    def member_count(self) -> int:
        """The members of all bindings. A member counts once for each of its bindings."""
        return sum(len(binding.members) for binding in self._policy.bindings)

    async def read(self) -> None:
        """Read the policy."""
        self._see(await self._policies.get(self._target))

    def contains_any(self, removals: Sequence[Removal]) -> bool:
        """Return whether a grant to remove is present."""
        return merge(self._policy, (), removals, self.forms.registered).policy is not self._policy

    async def write(self, desired_grants: Sequence[DesiredGrant], removals: Sequence[Removal]) -> None:
        """Merge and write the policy, unless nothing differs; raises GoogleError."""
        unconfirmed: Merged | None = None
        for attempt in range(1, self._attempts + 1):
            merged = merge(self._policy, desired_grants, removals, self.forms.registered)
            if merged.policy is self._policy:
                if unconfirmed:
                    self._record(unconfirmed)
                return
            try:
                reply = await self._policies.set(self._target, merged.policy)
            except GoogleError as error:
                if error.undecided:
                    self.added |= merged.added  # the write may have taken effect
                    self.lost_reply = True
                if not error.sent or error.fault not in _RETRIABLE or attempt == self._attempts:
                    raise
                if error.fault is Fault.UNAVAILABLE:
                    unconfirmed = merged
                    await asyncio.sleep(random.uniform(0, 0.1 * 2**attempt))  # noqa: S311 - no secret
                    await self.read()
                else:
                    await self._read_after_conflict()
            else:
                self._record(merged)
                self._see(reply)
                sent = grants_in(merged.policy, self._target)
                self.forms.compare(sent, self.shown, lost_reply=self.lost_reply)
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

    def _record(self, merged: Merged) -> None:
        self.writes += 1
        self.added |= merged.added
        before, after = _listed(merged.removed), _listed(merged.added)
        log_mutation("set policy of", self._target.full_name, before=before, after=after)

    def _see(self, policy: Policy) -> None:
        self._policy = policy
        self.shown = grants_in(policy, self._target)


_RETRIABLE = frozenset({Fault.ABORTED, Fault.UNAVAILABLE})

_JITTER = 0.2
"""The longest delay after a conflict, in seconds, so that two writers do not collide again."""


def _listed(grants: Collection[Grant]) -> str:
    """Return grants for the mutation log: removed ones before the arrow, added ones after it."""
    return ", ".join(sorted(f"{grant.role} {grant.member}" for grant in grants)) or "nothing"
