"""Lanes as in production, over the wire to the emulator; the ledgers alone are in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from cloudrun_identity.api import GrantState
from cloudrun_identity.controllers.grants.wishes import Wishes
from cloudrun_identity.controllers.outcomes import Outcome
from cloudrun_identity.controllers.reconcile.verdicts import judged
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.policies import Policies
from cloudrun_identity.gcp.policy_engine.brake import RemovalBrake
from cloudrun_identity.gcp.policy_engine.lanes import Lanes
from cloudrun_identity.gcp.policy_engine.ports import LanePorts, LaneSettings
from cloudrun_identity.gcp.policy_engine.setbacks import Backoffs
from cloudrun_identity.iam.claims import Claim, Claimant, Declaration
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.ledger import Ledger
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.seed import Seed
from cloudrun_identity_playground.emulator.snapshot import snapshot
from tests.unit.gcp.fakes import NOON, FakeLedgers, Passes

WEB = Claimant("IAMBinding", "payments", "web", "uid-1")

# What was refused is due again at once, and a write that loses is tried twice.
_SETTINGS = LaneSettings(linger=0.0, attempts=2, backoffs=Backoffs(first=0.0, fresh=0.0))


class _Unobserved:
    def observed(self, method: str, code: str, seconds: float) -> None:
        pass


@dataclass(frozen=True)
class Findings:
    """What a pass found: the state of each grant by its member, and the outcomes that are not in sync."""

    states: dict[str, GrantState]
    outcomes: list[Outcome]

    @property
    def outcome(self) -> Outcome:
        """The only outcome."""
        [outcome] = self.outcomes
        return outcome


@dataclass
class Bench:
    """One object's grants, brought to an emulator. `fresh` are e-mails that Google may not know yet."""

    emulator: Emulator
    clients: GoogleClients
    fresh: set[str] = field(default_factory=set)
    ledgers: FakeLedgers = field(default_factory=FakeLedgers)

    def __post_init__(self) -> None:
        self._lanes = Lanes(
            LanePorts(
                policies=Policies(self.clients),
                ledgers=self.ledgers,
                observer=Passes(),
                wall_clock=lambda: NOON,
                is_fresh=self.fresh.__contains__,
                brake=RemovalBrake(lambda _: 100),
                settings=_SETTINGS,
            )
        )

    async def converge(self, *claims: Grant | Claim) -> Findings:
        """Declare exactly these, and run the passes that it takes."""
        wanted = frozenset(claim if isinstance(claim, Claim) else Claim(claim) for claim in claims)
        self._lanes.declare(Declaration(WEB, wanted))
        statuses, outcomes = judged(Wishes(), await self._lanes.converge(WEB))
        return Findings({status.member: status.state for status in statuses}, outcomes)

    def ledger(self, target: Target) -> Ledger:
        return self.ledgers.ledger(target)

    def members(self, target: Target, role: str) -> set[str]:
        """Who holds a role without a condition, in truth."""
        return set(self.bound_to(target, role))

    def bound_to(self, target: Target, role: str) -> dict[str, str]:
        """The members of a role without a condition, each with the id of the account it means, if any."""
        policy = snapshot(self.emulator.cloud)["policies"].get(target.resource, {})
        return {
            member: binding.get("boundTo", {}).get(member, "")
            for binding in policy.get("bindings", ())
            if binding["role"] == role and "condition" not in binding
            for member in binding["members"]
        }


@asynccontextmanager
async def open_bench(seed: Seed) -> AsyncIterator[Bench]:
    """A bench over an emulator of its own."""
    async with Emulator(seed=seed) as emulator:
        clients = GoogleClients(emulator.grpc_address, _Unobserved())
        yield Bench(emulator, clients)
        await clients.close()
