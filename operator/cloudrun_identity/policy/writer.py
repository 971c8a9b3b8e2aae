"""One policy under way: as last read or written, with what our writes did to it."""

import asyncio
import random
from collections.abc import Collection, Sequence
from typing import Protocol

from google.iam.v1.policy_pb2 import Policy

from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.mutations import log_mutation
from cloudrun_identity.iam.grants import Grant, Target

from .bisection import REFUSALS
from .desired_grants import DesiredGrant
from .merge import Merged, Release, grants_in, merge

LOOKS = 6
"""Reads for which a policy is watched after a loss, about a second; one unchanged so long is at rest."""


class PolicyPort(Protocol):
    """Where policies are read and written: `policies.Policies`. Both raise GoogleError."""

    async def get(self, target: Target) -> Policy:
        """The policy at version 3, with its etag."""
        ...

    async def set(self, target: Target, policy: Policy) -> Policy:
        """Write it over the etag it carries; the reply is the new policy."""
        ...


class PolicyWriter:
    """Reads once, writes what differs, reads again if somebody else was quicker or a reply was lost.

    `standing` are the grants in the policy as last read or written, `added` those that our writes put there,
    or may have put there where a reply said neither; `writes` counts the writes that happened.
    """

    def __init__(self, target: Target, policies: PolicyPort, attempts: int) -> None:
        """`attempts` bounds the tries of one write against other writers."""
        self._target = target
        self._policies = policies
        self._attempts = attempts
        self._policy = Policy()
        self.present: frozenset[Grant] = frozenset()
        self.added: set[Grant] = set()
        self.writes = 0

    @property
    def principals(self) -> int:
        """How many members the policy has, each time one stands in it."""
        return sum(len(binding.members) for binding in self._policy.bindings)

    async def read(self) -> None:
        """Take the policy as it is now."""
        self._see(await self._policies.get(self._target))

    def owes(self, released: Sequence[Release]) -> bool:
        """Whether a release still stands in the policy."""
        return merge(self._policy, (), released).policy is not self._policy

    async def write(self, desired_grants: Sequence[DesiredGrant], released: Sequence[Release]) -> None:
        """Merge and write; nothing is written where nothing differs. Raises GoogleError."""
        lost: Merged | None = None
        for attempt in range(1, self._attempts + 1):
            merged = merge(self._policy, desired_grants, released)
            if merged.policy is self._policy:
                if lost:
                    self._note(lost)
                return
            try:
                reply = await self._policies.set(self._target, merged.policy)
            except GoogleError as error:
                if error.undecided:
                    self.added |= merged.added  # it may have happened, and what then stands is ours
                if not error.sent or error.fault not in _TRY_AGAIN or attempt == self._attempts:
                    raise
                if error.fault is Fault.UNAVAILABLE:
                    lost = merged
                    await asyncio.sleep(random.uniform(0, 0.1 * 2**attempt))  # noqa: S311 - no secret
                    await self.read()
                else:
                    await self._catch_up()
            else:
                self._note(merged)
                self._see(reply)
                return

    async def is_writable(self) -> bool:
        """Whether Google takes the policy as it stands: our one write of identical content."""
        try:
            self._see(await self._policies.set(self._target, self._policy))
        except GoogleError as error:
            if error.fault is Fault.ABORTED:
                return True  # somebody else has just written it
            if error.fault in REFUSALS:
                return False
            raise
        self.writes += 1
        return True

    async def _catch_up(self) -> None:
        """Read again after having lost, and again until somebody has just written, or nobody does any more.

        The others read, think and write as we do, so whoever reads first after a write is likeliest to make
        the next one. Reads are cheap beside a write that loses: 176 ms to 786, and of a larger quota.
        """
        await asyncio.sleep(random.uniform(0, _JITTER))  # noqa: S311 - no secret
        await self.read()
        etag = self._policy.etag
        for _ in range(LOOKS):
            if self._policy.etag != etag:
                return
            await self.read()

    def _note(self, merged: Merged) -> None:
        self.writes += 1
        self.added |= merged.added
        before, after = _listed(merged.removed), _listed(merged.added)
        log_mutation("set policy of", self._target.full_name, before=before, after=after)

    def _see(self, policy: Policy) -> None:
        self._policy = policy
        self.present = grants_in(policy, self._target)


_TRY_AGAIN = frozenset({Fault.ABORTED, Fault.UNAVAILABLE})

_JITTER = 0.2
"""Seconds, at most, after which a lost write is followed up: two who lost alike must not go on alike."""


def _listed(grants: Collection[Grant]) -> str:
    """Grants for the log: what a write replaces stands before the arrow, what it brings after it."""
    return ", ".join(sorted(f"{grant.role} {grant.member}" for grant in grants)) or "nothing"
