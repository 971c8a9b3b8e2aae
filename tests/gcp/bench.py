"""Policy syncers as in production, connected to an emulator (`Bench`). Only the ledgers are in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from cloudrun_identity.api import GrantState
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.policies import Policies
from cloudrun_identity.gcp.ratelimit import RateLimiter
from cloudrun_identity.gcp.service_accounts import ServiceAccounts
from cloudrun_identity.gcp.unique_ids import UniqueIDs
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.backoff import BackoffLimits
from cloudrun_identity.policy.desired_grants import DesiredGrant, DesiredGrants
from cloudrun_identity.policy.ports import SyncerPorts, SyncerSettings
from cloudrun_identity.policy.removal_limit import RemovalRateLimiter
from cloudrun_identity.policy.syncers import PolicySyncers
from cloudrun_identity.reconcile.grant_status import grant_statuses
from cloudrun_identity.reconcile.grants.resolver import ResolvedGrants
from cloudrun_identity.reconcile.outcomes import Outcome
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.seed import Seed
from cloudrun_identity_playground.emulator.snapshot import snapshot
from tests.unit.policy.fakes import NOON, FakeLedgers, SyncOutcomes

WEB = Owner("IAMBinding", "payments", "web", "uid-1")

# A refused grant is due again at once, and a write that conflicts is tried twice.
_SETTINGS = SyncerSettings(
    batch_window=0.0, attempts=2, backoff_limits=BackoffLimits(first_delay=0.0, propagation_delay=0.0)
)


class _Unobserved:
    def observed(self, method: str, code: str, seconds: float) -> None:
        pass


@dataclass(frozen=True)
class Findings:
    """Result of a sync: the state of each grant by its member, and the outcomes that are not in sync."""

    states: dict[str, GrantState]
    outcomes: list[Outcome]

    @property
    def outcome(self) -> Outcome:
        """Return the only outcome."""
        [outcome] = self.outcomes
        return outcome


@dataclass
class Bench:
    """The grants of one object, synced to an emulator. `fresh` are e-mails that Google may not know yet."""

    emulator: Emulator
    clients: GoogleClients
    fresh: set[str] = field(default_factory=set)
    now: datetime = NOON
    """Time at which temporary grants are over."""
    ledgers: FakeLedgers = field(default_factory=FakeLedgers)
    drifted: list[Grant] = field(default_factory=list)

    def __post_init__(self) -> None:
        unique_ids = UniqueIDs(self.clients, ServiceAccounts(self.clients))
        self._syncers = PolicySyncers(
            SyncerPorts(
                policies=Policies(self.clients),
                ledgers=self.ledgers,
                observer=SyncOutcomes(),
                wall_clock=lambda: self.now,
                is_fresh=self.fresh.__contains__,
                target_id=unique_ids.of_target,
                account_id=unique_ids.of_account,
                removal_limiter=RemovalRateLimiter(lambda _: 100),
                settings=_SETTINGS,
            )
        )

    async def sync(self, *desired_grants: Grant | DesiredGrant) -> Findings:
        """Declare exactly these grants, and sync the policies."""
        wanted = frozenset(
            desired_grant if isinstance(desired_grant, DesiredGrant) else DesiredGrant(desired_grant)
            for desired_grant in desired_grants
        )
        self._syncers.declare(DesiredGrants(WEB, wanted))
        synced = await self._syncers.sync(WEB)
        self.drifted += synced.drifted
        statuses, outcomes = grant_statuses(ResolvedGrants(), synced)
        return Findings({status.member: status.state for status in statuses}, outcomes)

    async def sync_all(self, desired: Mapping[Owner, Iterable[Grant]]) -> set[Grant]:
        """Declare the grants of several objects, sync their policies at once, and return what is granted."""
        for owner, grants in desired.items():
            self._syncers.declare(DesiredGrants(owner, frozenset(map(DesiredGrant, grants))))
        results = await asyncio.gather(*map(self._syncers.sync, desired))
        return {
            each.grant
            for result in results
            for each in result.grant_results
            if each.state is GrantState.GRANTED
        }

    def ledger(self, target: Target) -> Ledger:
        return self.ledgers.ledger(target)

    def members(self, target: Target, role: str) -> set[str]:
        """Return the members that have a role without a condition in the emulator."""
        return set(self.bound_to(target, role))

    def bound_to(self, target: Target, role: str) -> dict[str, str]:
        """Return the members of a role without a condition, each with the ID of its account, if any."""
        policy = snapshot(self.emulator.cloud)["policies"].get(target.resource, {})
        return {
            member: binding.get("boundTo", {}).get(member, "")
            for binding in policy.get("bindings", ())
            if binding["role"] == role and "condition" not in binding
            for member in binding["members"]
        }


@asynccontextmanager
async def open_bench(seed: Seed, limiter: RateLimiter | None = None) -> AsyncIterator[Bench]:
    """Provide a bench with an emulator of its own, with the rate limits of production by default."""
    async with Emulator(seed=seed) as emulator:
        clients = GoogleClients(emulator.grpc_address, _Unobserved(), limiter)
        yield Bench(emulator, clients)
        await clients.close()
