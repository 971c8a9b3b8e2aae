"""Everything that an account is worked on with, in memory, and passes over it as the reconcile makes them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from cloudrun_identity.api import LedgerAccount
from cloudrun_identity.controllers.cloud_run_identity.account_dependencies import AccountDependencies
from cloudrun_identity.controllers.cloud_run_identity.account_records import AccountOwner, AccountRecords
from cloudrun_identity.controllers.cloud_run_identity.accounts import Accounts
from cloudrun_identity.controllers.cloud_run_identity.propagation import PropagationTracker
from cloudrun_identity.controllers.cloud_run_identity.recent_writes import RecentWrites
from tests.unit.controllers.cloud import (
    PROJECT_ID,
    FakeAccountLedgers,
    FakeRun,
    FakeServiceAccounts,
    inventory,
)
from tests.unit.controllers.cluster_state import EMAIL, FakeWorld, identity, project

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class AccountBench:
    """`steps` are the checkpoints passed, `now` seconds since `NOON`."""

    def __init__(self) -> None:
        self.now = 0.0
        self.google = FakeServiceAccounts()
        self.run = FakeRun()
        self.ledgers = FakeAccountLedgers()
        self.steps: list[str] = []
        self.restart()

    def restart(self) -> None:
        """Another process, which knows no more than what was recorded."""
        self.propagation = PropagationTracker(self.wall_clock, self.ledgers.owner_of)
        self.inventory = inventory(self.google, self.run, lambda: self.now)
        self.deps = AccountDependencies(
            self.google,
            self.inventory,
            AccountRecords(self.ledgers, self.wall_clock),
            self.propagation,
            RecentWrites(lambda: self.now),
            self.checkpoint,
        )
        self.accounts = Accounts(self.deps)

    def checkpoint(self, step: str) -> None:
        self.steps.append(step)

    def wall_clock(self) -> datetime:
        return NOON + timedelta(seconds=self.now)

    @property
    def record(self) -> LedgerAccount:
        return self.ledgers.records[EMAIL]

    def own_record(self) -> LedgerAccount | None:
        home = self.ledgers.account_home("payments/checkout")
        return self.ledgers.records[home.name] if home else None

    async def step(self, delegated: Any = None, **spec: Any) -> Any:
        """One pass over the identity `payments/checkout` with this spec: a look, and what follows from it."""
        owner, delegated = AccountOwner(identity(**spec), PROJECT_ID), delegated or project()
        record = self.own_record()
        email = record.email if record else EMAIL
        seen = await self.accounts.look(PROJECT_ID, email, record, 0.0)
        return await self.accounts.apply(
            owner, email, record, delegated, FakeWorld(delegated, owner.obj), seen
        )

    async def steps_of(self, count: int, **spec: Any) -> list[Any]:
        """So many passes; their outcomes."""
        return [(await self.step(**spec)).outcome for _ in range(count)]
