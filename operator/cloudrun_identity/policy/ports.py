"""Ports of the policy engine: its settings, and the interfaces through which it reads and writes."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from google.iam.v1.policy_pb2 import Policy

from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.interface import LedgerStore

from .backoff import BackoffLimits
from .exclusive import is_protected
from .removal_limit import RemovalRateLimiter


class PolicyReader(Protocol):
    """Reads IAM policies. See `gcp.policies.Policies`."""

    async def get(self, target: Target) -> Policy:
        """Return the policy at version 3, with its etag. Raises GoogleError."""
        ...


class PolicyPort(PolicyReader, Protocol):
    """Reads and writes IAM policies."""

    async def set(self, target: Target, policy: Policy) -> Policy:
        """Write the policy, if its etag is current. Return the new policy. Raises GoogleError."""
        ...

    def log_write(self, target: Target, *, removed: Collection[Grant], added: Collection[Grant]) -> None:
        """Log a write that took effect, also one whose reply was lost. A dry run logs nothing."""
        ...


class OwnPolicyPort(PolicyPort, Protocol):
    """A port that remembers the operator's own writes of one policy: `bound_policies.BoundPolicies`."""

    def note_found(self, target: Target) -> None:
        """Record that the last read shows the write without a reply."""
        ...


class SyncObserver(Protocol):
    """Counts syncs. See `manager.metrics`."""

    def policy_synced(self, target_kind: str, outcome: str) -> None:
        """Count a sync that ended `unchanged`, `written`, `missing`, or with the name of a fault."""
        ...


class ReservedWrite(Protocol):
    """A write that the rate limit admits. See `gcp.ratelimit.Reservation`."""

    @property
    def is_used(self) -> bool:
        """True once the write was sent."""
        ...


class WriteBudget(Protocol):
    """Shares the rate limit of policy writes among all policies. See `gcp.policies.Policies`."""

    def reserve(self, target: Target) -> AbstractAsyncContextManager[ReservedWrite]:
        """Wait until a policy may be written, for the first write in the block. Raises GoogleError."""
        ...

    def spacing(self, target: Target) -> tuple[float, bool]:
        """Return the seconds between two writes of a policy with which the rate limit suffices for all.

        Also return whether less than half of a burst is left.
        """
        ...


@dataclass(frozen=True, slots=True)
class UnlimitedWrite:
    """A write without a rate limit."""

    is_used: bool = False


class UnlimitedWrites:
    """A `WriteBudget` without a rate limit."""

    @asynccontextmanager
    async def reserve(self, target: Target) -> AsyncIterator[ReservedWrite]:  # noqa: ARG002
        """Admit a write at once."""
        yield UnlimitedWrite()

    def spacing(self, target: Target) -> tuple[float, bool]:  # noqa: ARG002
        """Return 0: all writes are admitted at once."""
        return 0.0, False


@dataclass(frozen=True, slots=True)
class SyncerSettings:
    """Settings of policy syncers; times are in seconds."""

    batch_window: float = 0.5
    """The time that a sync waits for further requests."""
    max_wait: float = 2.0
    """The longest wait for grants that objects announce as upcoming."""
    max_batch_wait: float = 10.0
    """The longest wait while requests keep arriving, each within half a batch window of the last."""
    deadline: float = 600.0
    """The longest duration of a sync: a large one waits minutes for the rate limiter. Then it is canceled."""
    attempts: int = 8
    """The attempts at one write, against other writers."""
    backoff_limits: BackoffLimits = field(default_factory=BackoffLimits)
    """The delays of refused and lost grants."""


async def _unknown_id(_: object) -> str:
    return ""


def _no_shares(_: Target) -> frozenset[str]:
    return frozenset()


@dataclass(frozen=True, slots=True)
class SyncerPorts:
    """The dependencies of policy syncers."""

    policies: PolicyPort
    """Reads and writes policies."""
    ledgers: LedgerStore
    """Persists ledgers."""
    observer: SyncObserver
    """Counts syncs."""
    wall_clock: Callable[[], datetime]
    """Returns the time for ledgers."""
    is_fresh: Callable[[str], bool]
    """Returns whether Google Cloud may not know the account of an e-mail everywhere yet."""
    removal_limiter: RemovalRateLimiter
    """Limits removals of unmanaged members."""
    namespaces_on: Callable[[Target], frozenset[str]] = _no_shares
    """Returns the namespaces that have a share of the principals of a target's policy."""
    is_protected: Callable[[str], bool] = is_protected
    """Returns whether a member is never removed from an exclusive binding."""
    is_operator: Callable[[str], bool] = lambda _: False
    """Returns whether the operator acts as a member: no operation removes its grants."""
    target_id: Callable[[Target], Awaitable[str]] = _unknown_id
    """Reads the unique ID of a target; empty if it is not known. Raises GoogleError."""
    account_id: Callable[[str], Awaitable[str]] = _unknown_id
    """Reads the unique ID of the account that has an e-mail now; empty if it is not known. Raises
    GoogleError."""
    may_return: Callable[[str, str], bool] = lambda *_: True
    """Returns whether an object may undelete the account with this e-mail and unique ID."""
    is_declared: Callable[[str, str], bool] = lambda *_: True
    """Returns whether an identity that is not being deleted has the account with this e-mail and ID."""
    is_suspended: Callable[[str], bool] = lambda _: False
    """Returns whether nothing is read or written in the project with this ID."""
    is_observed: Callable[[str], bool] = lambda _: False
    """Returns whether nothing is written in the project with this ID."""
    write_budget: WriteBudget = field(default_factory=UnlimitedWrites)
    """Shares the rate limit of writes."""
    checkpoint: Callable[[str], None] = lambda _: None
    """Called with a name after every step that a crash could follow."""
    settings: SyncerSettings = SyncerSettings()
    """The settings."""
