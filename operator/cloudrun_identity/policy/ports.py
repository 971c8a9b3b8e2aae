"""What a lane works with, and how it is set."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from cloudrun_identity.ledger.interface import LedgerStore

from .backoff import BackoffLimits
from .exclusive import is_protected
from .removal_limit import RemovalRateLimiter
from .writer import PolicyPort


class SyncObserver(Protocol):
    """Who counts passes: `manager.metrics`."""

    def policy_synced(self, target_kind: str, outcome: str) -> None:
        """A pass ended: `unchanged`, `written` or the name of the fault that ended it."""
        ...


@dataclass(frozen=True, slots=True)
class SyncerSettings:
    """How lanes behave; times in seconds.

    `linger` is how long a pass waits for company, `patience` how long at most for claims announced as coming
    soon, `endurance` how long at most while company keeps coming, each within half a `linger` of the last.
    `attempts` bounds the tries of a write that loses against other writers.
    """

    batch_window: float = 0.5
    max_wait: float = 2.0
    max_batch_wait: float = 10.0
    attempts: int = 8
    backoff_limits: BackoffLimits = field(default_factory=BackoffLimits)


@dataclass(frozen=True, slots=True)
class SyncerPorts:
    """What a lane works with.

    `is_fresh(email)`: Google may not know the account everywhere yet. `is_spared(member)`: never removed by
    an exclusive binding. `may_return(email, unique_id)`: an object of ours has that account, and might
    undelete it. `checkpoint(step)` is told after every step that a crash could follow.
    In a project (by its id) that `is_suspended` nothing is read or written, in one that `is_observed` nothing
    written.
    """

    policies: PolicyPort
    ledgers: LedgerStore
    observer: SyncObserver
    wall_clock: Callable[[], datetime]
    is_fresh: Callable[[str], bool]
    removal_limiter: RemovalRateLimiter
    is_protected: Callable[[str], bool] = is_protected
    may_return: Callable[[str, str], bool] = lambda *_: True
    is_suspended: Callable[[str], bool] = lambda _: False
    is_observed: Callable[[str], bool] = lambda _: False
    checkpoint: Callable[[str], None] = lambda _: None
    settings: SyncerSettings = SyncerSettings()
