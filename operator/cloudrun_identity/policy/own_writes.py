"""The last writes of a policy by the operator, to recognize reads that do not show them yet.

IAM is eventually consistent: a read right after a write may return an older version
(https://cloud.google.com/iam/docs/overview#consistency). Such a read has the etag that the write replaced.
Etags of policies with bindings do not return. A policy that was never written has always the same etag, also
if the resource was deleted and created again: then the unique ID of the resource decides.
"""

from collections import deque
from dataclasses import dataclass, field

from google.iam.v1.policy_pb2 import Policy


@dataclass(slots=True)
class OwnWrites:
    """The etags that the operator's writes of one policy replaced, and the reply to the last of them."""

    replaced: deque[bytes] = field(default_factory=lambda: deque(maxlen=_MAX_REPLACED))
    """The etags of policies with bindings that the operator replaced."""
    first: "FirstWrite | None" = None
    """The last write that replaced a policy without bindings."""
    reply: Policy = field(default_factory=Policy)
    """The policy in the reply to the last write, or in the read that showed it if the reply was lost."""
    undecided: "UndecidedWrite | None" = None
    """The last write without a reply; None if its outcome is known."""
    known: deque[bytes] = field(default_factory=lambda: deque(maxlen=_MAX_KNOWN))
    """The etags of the last reads and replies."""

    def note(self, before: Policy, reply: Policy, unique_id: str, now: float) -> None:
        """Note that the operator replaced a policy of the resource with this unique ID.

        `now` is the time of the write in seconds of a clock that does not jump.
        """
        self.undecided = None
        self.known.append(bytes(reply.etag))
        if not before.bindings:
            self.replaced.clear()
            self.first = FirstWrite(bytes(before.etag), unique_id, now)
        elif before.etag != reply.etag:
            self.replaced.append(bytes(before.etag))
        self.reply = reply

    def note_read(self, policy: Policy) -> None:
        """Note what a read shows."""
        if bytes(policy.etag) not in self.known:
            self.known.append(bytes(policy.etag))

    def note_undecided(self, before: Policy) -> None:
        """Note that a write without a reply may have replaced this policy."""
        known = frozenset(self.known) - {bytes(before.etag)}
        self.undecided = UndecidedWrite(before, known if before.bindings else frozenset())

    def note_conflict(self) -> None:
        """Note that Google Cloud has another version than the reply to the last write.

        Then another client wrote the policy, or it was reset. What a read shows counts from now on.
        """
        self.first = None
        if self.undecided:
            self.undecided = UndecidedWrite(self.undecided.before, frozenset())

    def first_before(self, read: Policy, now: float) -> "FirstWrite | None":
        """Return the first write if it may be missing in a read: the resource has it if it is the same."""
        first = self.first
        if (
            first is None
            or read.bindings
            or read.etag != first.replaced
            or now >= first.at + _CONSISTENT_AFTER
        ):
            return None
        return first

    def newest(self, read: Policy) -> Policy:
        """Return the policy of a read, or a later one that is known.

        That is the reply to a write that replaced a policy with bindings, or the policy that a write without
        a reply was to replace. A policy that such a write left has an etag that was not known before.
        """
        etag = bytes(read.etag)
        if self.undecided and etag in self.undecided.known:
            return self.undecided.before
        return self.reply if etag in self.replaced else read


@dataclass(frozen=True, slots=True)
class UndecidedWrite:
    """A write without a reply."""

    before: Policy
    """The policy that it was to replace."""
    known: frozenset[bytes]
    """The etags of earlier policies that were known when it was sent."""


@dataclass(frozen=True, slots=True)
class FirstWrite:
    """A write that replaced a policy without bindings."""

    replaced: bytes
    """The etag of that policy. It may be the one of every policy that was never written."""
    unique_id: str
    """The unique ID of the resource; empty if it is not known."""
    at: float
    """The time of the write, in seconds."""


_MAX_KNOWN = 32
"""The maximum number of etags in `known`."""

_MAX_REPLACED = 8
"""The number of own writes that a read may not show."""

_CONSISTENT_AFTER = 60.0
"""The time in seconds after which a read shows a write. Google Cloud states none; it takes seconds."""
