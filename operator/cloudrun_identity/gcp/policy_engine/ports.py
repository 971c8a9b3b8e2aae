"""What a lane works with, and how it is set."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from cloudrun_identity.iam.exclusive import is_spared
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.ledger import Ledger

from .brake import RemovalBrake
from .policy_writer import PolicyPort
from .setbacks import Backoffs


class LedgerPort(Protocol):
    """Where ledgers are kept: `kube.ledger.Ledgers`."""

    def ledger(self, target: Target) -> Ledger:
        """The ledger as last known; an empty one if there is none."""
        ...

    async def update(self, target: Target, change: Callable[[Ledger], Ledger]) -> Ledger:
        """Persist `change` of the newest ledger; what returns was seen stored."""
        ...

    def held_by(self, seat: str) -> frozenset[Target]:
        """The targets whose ledgers name a claimant of that seat."""
        ...

    def check_complete(self) -> None:
        """Make sure that no ledger holds anything unknown; raises an error of the ledgers' own."""
        ...

    def targets(self, project_id: str) -> Iterable[Target]:
        """The targets in one project whose ledgers hold grants."""
        ...


class LaneObserver(Protocol):
    """Who counts passes: `runtime.metrics`."""

    def lane_passed(self, target_kind: str, outcome: str) -> None:
        """A pass ended: `unchanged`, `written` or the name of the fault that ended it."""
        ...


@dataclass(frozen=True, slots=True)
class LaneSettings:
    """How lanes behave; times in seconds.

    `linger` is how long a pass waits for company, `patience` how long at most for claims announced as coming
    soon, `endurance` how long at most while company keeps coming, each within half a `linger` of the last.
    `attempts` bounds the tries of a write that loses against other writers.
    """

    linger: float = 0.5
    patience: float = 2.0
    endurance: float = 10.0
    attempts: int = 8
    backoffs: Backoffs = field(default_factory=Backoffs)


@dataclass(frozen=True, slots=True)
class LanePorts:
    """What a lane works with.

    `is_fresh(email)`: Google may not know the account everywhere yet. `is_spared(member)`: never removed by
    an exclusive binding. `may_return(email, unique_id)`: an object of ours has that account, and might
    undelete it. `checkpoint(step)` is told after every step that a crash could follow.
    In a project (by its id) that `is_suspended` nothing is read or written, in one that `is_observed` nothing
    written.
    """

    policies: PolicyPort
    ledgers: LedgerPort
    observer: LaneObserver
    wall_clock: Callable[[], datetime]
    is_fresh: Callable[[str], bool]
    brake: RemovalBrake
    is_spared: Callable[[str], bool] = is_spared
    may_return: Callable[[str, str], bool] = lambda *_: True
    is_suspended: Callable[[str], bool] = lambda _: False
    is_observed: Callable[[str], bool] = lambda _: False
    checkpoint: Callable[[str], None] = lambda _: None
    settings: LaneSettings = LaneSettings()
