"""Keys, a Secret and a ledger in memory, on which the steps of a plan are carried out, or cut short."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from cloudrun_identity.api import KeyState, LedgerKey, LedgerKeyAttempt
from cloudrun_identity.controllers.identity_key.plan import (
    Await,
    CloseAttempt,
    Delete,
    Disable,
    Forget,
    Full,
    Make,
    Promote,
    Publish,
    Rest,
    Rotation,
    Situation,
    Step,
    plan,
)
from cloudrun_identity.iam.listed_keys import ListedKey
from cloudrun_identity.ledger.keys import KeyRing

NOON = datetime(2030, 1, 2, 12, tzinfo=UTC)
OWNER = "payments/checkout"
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
ROTATION = Rotation(period=30 * DAY, overlap=DAY)

Action = Callable[[], None]


@dataclass
class Custody:
    """One object's keys. `live` is what Google has, `foreign` the keys of it that somebody else made.

    An act takes the time `slow`.
    """

    now: datetime = NOON
    slow: timedelta = timedelta()
    rotation: Rotation = ROTATION
    ring: KeyRing = field(default_factory=KeyRing)
    live: dict[str, ListedKey] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)
    secret: str = ""
    held: set[str] = field(default_factory=set)
    ending: bool = False
    steps: list[Step] = field(default_factory=list)
    _made: int = 0

    def situation(self) -> Situation:
        return Situation(
            self.now,
            OWNER,
            self.rotation,
            self.ring,
            dict(self.live),
            self.secret,
            self.secret,
            frozenset(self.held),
            self.ending,
        )

    @property
    def next(self) -> Step:
        return plan(self.situation())

    def work(self, *, until_cut: int | None = None) -> Step:
        """Carry out steps until nothing is to be done now; `until_cut`: it ends after so many acts."""
        acts = 0
        for _ in range(100):
            step = self.next
            if isinstance(step, Rest | Await | Full):
                return step
            self.steps.append(step)
            for act in self._acts(step):
                self.now += self.slow
                act()
                acts += 1
                if acts == until_cut:
                    self.held.clear()
                    return step
        raise AssertionError(f"it never ends: {self.steps[-6:]}")

    def pass_by(self, time: timedelta) -> None:
        """Let time pass, and work whenever something is due, and at the end."""
        end = self.now + time
        while True:
            match self.work():
                case Rest(until) | Await(until) if until is not None and until <= end:
                    assert until > self.now
                    self.now = until
                case _:
                    self.now = max(self.now, end)
                    self.work()
                    return

    def make_foreign(self) -> str:
        key_id = self._make()
        self.foreign.add(key_id)
        return key_id

    def disable(self, key_id: str) -> None:
        self.live[key_id] = replace(self.live[key_id], disabled=True)

    def states(self) -> list[str]:
        return [str(record.state) for record in self.ring.of(OWNER)]

    def _make(self) -> str:
        self._made += 1
        key_id = f"key-{self._made:03}"
        self.live[key_id] = ListedKey(key_id, self.now)
        return key_id

    def _acts(self, step: Step) -> Iterator[Action]:
        """What a step does, one act that a crash may follow after the other."""
        match step:
            case Make():
                yield lambda: self._attempt(
                    LedgerKeyAttempt(owner=OWNER, time=self.now, known=frozenset(self.live))
                )
                made: list[str] = []
                yield lambda: made.append(self._make())
                yield lambda: self._record(made[0])
            case Publish(key_id):
                assert key_id in self.held
                yield lambda: setattr(self, "secret", key_id)
            case Promote(key_id):
                yield lambda: self._keep(self.ring.superseded_by(key_id, self.now))
            case Disable(key_id) if key_id not in self.live:  # somebody deleted it, and lists lag
                yield lambda: self._keep(self.ring.without(key_id))
            case Disable(key_id):
                assert key_id not in self.foreign
                yield lambda: self.disable(key_id)
                yield lambda: self._keep(self.ring.with_records([self._disabled(key_id)]))
            case Delete(key_id, stray):
                assert key_id not in self.foreign
                yield lambda: self._remove(key_id)
                if not stray:
                    yield lambda: self._keep(self.ring.without(key_id))
            case Forget(key_id):
                yield lambda: self._keep(self.ring.without(key_id))
            case CloseAttempt(unclear):
                records = [
                    LedgerKey(id=key.key_id, owner=OWNER, state=KeyState.UNCLEAR, created_time=key.created)
                    for key in unclear
                ]
                yield lambda: self._keep(self.ring.with_records(records).with_attempt(None))
            case _:
                raise AssertionError(step)

    def _remove(self, key_id: str) -> None:
        self.live.pop(key_id, None)

    def _attempt(self, attempt: LedgerKeyAttempt) -> None:
        self._keep(self.ring.with_attempt(attempt))

    def _record(self, key_id: str) -> None:
        record = LedgerKey(
            id=key_id,
            owner=OWNER,
            state=KeyState.PUBLISHING,
            created_time=self.now,
            digest=key_id,
            generation=self.rotation.generation,
        )
        self.held.add(key_id)
        self._keep(self.ring.with_records([record]).with_attempt(None))

    def _disabled(self, key_id: str) -> LedgerKey:
        return self.ring.records[key_id].replace(state=KeyState.DISABLED, disabled_time=self.now)

    def _keep(self, ring: KeyRing) -> None:
        self.ring = ring
