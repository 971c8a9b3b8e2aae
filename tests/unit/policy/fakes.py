"""Ledgers in memory, and the ports of policy syncers with every fake that they need."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cloudrun_identity.api import GrantState
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.model import Ledger, entry_of
from cloudrun_identity.ledger.objects import LedgerInvalid
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.ports import SyncerPorts, SyncerSettings
from cloudrun_identity.policy.removal_limit import RemovalRateLimiter

from .fake_policies import FakePolicies, Journal

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class FakeLedgers:
    """Ledgers in memory."""

    def __init__(self, journal: Journal | None = None) -> None:
        self.journal = journal or Journal()
        self.failing: Exception | None = None
        self.unreadable: Exception | None = None
        self.invalid: set[Target] = set()
        self.stored: dict[Target, Ledger] = {}
        self.after_update: list[Callable[[], None]] = []

    def ledger(self, target: Target) -> Ledger:
        return self.stored.get(target, Ledger.of(target))

    async def update(self, target: Target, change: Callable[[Ledger], Ledger]) -> Ledger:
        await asyncio.sleep(0)
        if self.failing:
            raise self.failing
        self.journal.step("ledger")
        self.stored[target] = change(self.ledger(target))
        if self.after_update:
            self.after_update.pop(0)()
        return self.stored[target]

    def held_by(self, owner_key: str) -> frozenset[Target]:
        return frozenset(
            target for target, ledger in self.stored.items() if owner_key in _by_owner_key(ledger)
        )

    def check(self, target: Target) -> None:
        if target in self.invalid:
            raise LedgerInvalid(f"the PolicyLedger of {target} cannot be read")

    def invalid_ledger_of(self, owner_key: str) -> str:
        invalid = self.invalid & self.held_by(owner_key)
        return f"the PolicyLedger of {min(invalid)} cannot be read" if invalid else ""

    def check_complete(self) -> None:
        if self.unreadable:
            raise self.unreadable

    def targets(self, project_id: str) -> Iterable[Target]:
        return [
            target
            for target, ledger in self.stored.items()
            if target.project_id == project_id and ledger.entries
        ]


class SyncOutcomes:
    """Observer that records the outcome of each policy sync."""

    def __init__(self) -> None:
        self.outcomes: list[str] = []

    def policy_synced(self, target_kind: str, outcome: str) -> None:
        self.outcomes.append(outcome)


@dataclass
class SyncerEnvironment:
    """Everything that policy syncers use. It survives a crash of the process."""

    journal: Journal = field(default_factory=Journal)
    fresh: set[str] = field(default_factory=set)
    syncs: SyncOutcomes = field(default_factory=SyncOutcomes)
    removals_an_hour: int = 100
    suspended: set[str] = field(default_factory=set)
    observed: set[str] = field(default_factory=set)
    settings: SyncerSettings = field(default_factory=SyncerSettings)
    target_ids: dict[Target, str | GoogleError] = field(default_factory=dict)
    """Unique ids of targets, or the errors of reading them. Other targets have no known id."""
    id_reads: list[Target | str] = field(default_factory=list)
    """Targets, and e-mails of members, whose unique id was read."""

    def __post_init__(self) -> None:
        self.policies = FakePolicies(self.journal)
        self.ledgers = FakeLedgers(self.journal)

    def recreate(self, target: Target, unique_id: str, *grants: Grant) -> None:
        """Delete a target and create another one of its name, with these grants, as another client."""
        self.policies.drop(target)
        self.policies.create(target)
        self.target_ids[target] = unique_id
        for grant in grants:
            self.policies.grant(grant)

    async def target_id(self, target: Target) -> str:
        self.id_reads.append(target)
        await asyncio.sleep(0)
        found = self.target_ids.get(target, "")
        if isinstance(found, GoogleError):
            raise found
        return found

    async def account_id(self, email: str) -> str:
        self.id_reads.append(email)
        await asyncio.sleep(0)
        return self.policies.unique_ids.get(f"serviceAccount:{email}", "")

    @property
    def ports(self) -> SyncerPorts:
        return SyncerPorts(
            policies=self.policies,
            ledgers=self.ledgers,
            observer=self.syncs,
            wall_clock=lambda: NOON,
            is_fresh=self.fresh.__contains__,
            target_id=self.target_id,
            account_id=self.account_id,
            removal_limiter=RemovalRateLimiter(lambda _: self.removals_an_hour),
            is_suspended=self.suspended.__contains__,
            is_observed=self.observed.__contains__,
            settings=self.settings,
        )

    def record(self, grant: Grant, *owners: Owner, **fields: object) -> None:
        """Add an entry to the ledger of the grant's target."""
        ledger = self.ledgers.ledger(grant.target)
        entry = entry_of(grant, [*map(str, owners)], **{"state": GrantState.GRANTED, **fields})
        self.ledgers.stored[grant.target] = ledger.with_entries({**ledger.entries, grant: entry})


def _by_owner_key(ledger: Ledger) -> set[str]:
    return {Owner.parse(text).owner_key for held in ledger.entries.values() for text in held.owners}
