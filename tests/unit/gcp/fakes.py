"""Policies and ledgers in memory, with the manners of the real ones that lanes rely on."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime

from google.iam.v1.policy_pb2 import Binding, Policy
from google.type.expr_pb2 import Expr

from cloudrun_identity.api import GrantState
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.principals import Tombstone, normalise
from cloudrun_identity.ledger.model import Ledger, entry_of
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.exclusive import RemovalRateLimiter
from cloudrun_identity.policy.merge import grants_in
from cloudrun_identity.policy.ports import SyncerPorts, SyncerSettings

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Crash(Exception):  # noqa: N818 - the end of a process is no error of anybody's
    """The process ends here."""


@dataclass
class Journal:
    """What was done in which order; raises Crash before the step of that number (None: never)."""

    steps: list[str] = field(default_factory=list)
    crash_before: int | None = None

    def step(self, name: str) -> None:
        if self.crash_before == len(self.steps):
            self.crash_before = None
            raise Crash(name)
        self.steps.append(name)


class FakePolicies:
    """Policies with etags. A call takes `latency` seconds; a member of `refused` fails any write of it.

    `offered` is what the last write was to make of a policy. `unique_ids` are those of the accounts that
    exist. A grant means the account that had its e-mail when the member was added, and keeps that meaning
    whoever has the e-mail later.
    """

    def __init__(self, journal: Journal | None = None, latency: float = 0.1) -> None:
        self.journal = journal or Journal()
        self.latency = latency
        self.reads = 0
        self.sets = 0
        self.refused: set[str] = set()
        self.most_members = 1500
        self.refusal = Fault.INVALID_ARGUMENT
        self.names_culprit = False
        self.faults: list[GoogleError] = []
        self.offered: frozenset[Grant] = frozenset()
        self.before_set: list[Callable[[], None]] = []
        self.after_set: list[Callable[[], None]] = []
        self.unique_ids: dict[str, str] = {}
        self._meant: dict[Grant, str] = {}
        self._policies: dict[Target, Policy] = {}

    def create(self, target: Target, *bindings: tuple[str, Iterable[str]]) -> None:
        self._policies[target] = Policy(etag=b"0")
        self.edit(target, *bindings)

    def drop(self, target: Target) -> None:
        del self._policies[target]

    def edit(self, target: Target, *bindings: tuple[str, Iterable[str]]) -> None:
        """Somebody else sets the bindings."""
        policy = self._policies[target]
        del policy.bindings[:]
        policy.bindings.extend(Binding(role=role, members=members) for role, members in bindings)
        self._touch(target)

    def grant(self, grant: Grant, spelling: str = "") -> None:
        """Somebody else adds a grant in a binding of its own, spelling its member in that way."""
        policy = self._policies[grant.target]
        binding = policy.bindings.add(role=grant.role, members=[spelling or grant.member])
        if grant.condition:
            binding.condition.CopyFrom(Expr(**asdict(grant.condition)))
        self._touch(grant.target)

    def revoke(self, grant: Grant) -> None:
        """Somebody else takes a grant away, whoever made it and however it is spelt."""
        self._respell(grant, lambda _: None)

    def recreate(self, member: str, unique_id: str, *, buried: bool) -> dict[Grant, Grant]:
        """An account is deleted and made anew: its grants by the tombstones that take their places.

        Unless it is `buried`, every grant goes on showing the plain e-mail, and means the old account.
        """
        graves = {}
        for grant, meant in list(self._meant.items()) if buried else ():
            if grant.member == member:
                self._respell(grant, lambda spelt, meant=meant: str(Tombstone(spelt, meant)))
                graves[grant] = replace(grant, member=str(Tombstone(member, meant)))
        self.unique_ids[member] = unique_id
        return graves

    def meant(self, grant: Grant) -> str:
        """The unique id of the account that a standing grant was given to."""
        return self._meant[grant]

    def spellings(self, grant: Grant) -> Counter[str]:
        """How the grant's member is spelt where it stands, and how often."""
        return Counter(
            member
            for binding in self._bindings_of(grant)
            for member in binding.members
            if normalise(member) == grant.member
        )

    def is_full(self, target: Target) -> bool:
        """Whether Google takes no more members."""
        return sum(len(each.members) for each in self._policies[target].bindings) >= self.most_members

    def present(self, target: Target) -> frozenset[Grant]:
        return grants_in(self._policies[target], target)

    async def get(self, target: Target) -> Policy:
        self.reads += 1
        await asyncio.sleep(self.latency)
        self._fail()
        return self._copy(target)

    async def set(self, target: Target, policy: Policy) -> Policy:
        self.sets += 1
        self.offered = grants_in(policy, target)
        await asyncio.sleep(self.latency)
        if self.before_set:
            self.before_set.pop(0)()
        self._fail()
        stored = self._policies.get(target)
        if stored is None:
            raise fault(Fault.NOT_FOUND)
        if stored.etag != policy.etag:
            raise fault(Fault.ABORTED)
        bad = [member for each in policy.bindings for member in each.members if member in self.refused]
        if sum(len(each.members) for each in policy.bindings) > self.most_members:
            raise fault(Fault.INVALID_ARGUMENT, "too many members")
        if bad:
            raise fault(self.refusal, f"{bad[0]} does not exist." if self.names_culprit else "bad member")
        self.journal.step("policy")
        del stored.bindings[:]
        stored.bindings.extend(policy.bindings)
        self._touch(target)
        reply = self._copy(target)
        if self.after_set:
            self.after_set.pop(0)()
        return reply

    def _bindings_of(self, grant: Grant) -> list[Binding]:
        condition = Expr(**asdict(grant.condition)) if grant.condition else Expr()
        return [
            binding
            for binding in self._policies[grant.target].bindings
            if binding.role == grant.role and binding.condition == condition
        ]

    def _respell(self, grant: Grant, spell: Callable[[str], str | None]) -> None:
        """Show a grant's member in another form wherever it stands, or no more."""
        for binding in self._bindings_of(grant):
            forms = [spell(each) if normalise(each) == grant.member else each for each in binding.members]
            binding.members[:] = filter(None, forms)
        self._touch(grant.target)

    def _fail(self) -> None:
        if self.faults:
            raise self.faults.pop(0)

    def _copy(self, target: Target) -> Policy:
        if target not in self._policies:
            raise fault(Fault.NOT_FOUND)
        copy = Policy()
        copy.CopyFrom(self._policies[target])
        return copy

    def _touch(self, target: Target) -> None:
        policy = self._policies[target]
        policy.etag = str(int(policy.etag) + 1).encode()
        present = self.present(target)
        self._meant = {
            grant: unique_id
            for grant, unique_id in self._meant.items()
            if grant.target != target or grant in present
        }
        for grant in present:
            if grant.member in self.unique_ids:
                self._meant.setdefault(grant, self.unique_ids[grant.member])


class FakeLedgers:
    """Ledgers that are stored as soon as they are updated."""

    def __init__(self, journal: Journal | None = None) -> None:
        self.journal = journal or Journal()
        self.failing: Exception | None = None
        self.unreadable: Exception | None = None
        self.stored: dict[Target, Ledger] = {}

    def ledger(self, target: Target) -> Ledger:
        return self.stored.get(target, Ledger.of(target))

    async def update(self, target: Target, change: Callable[[Ledger], Ledger]) -> Ledger:
        await asyncio.sleep(0)
        if self.failing:
            raise self.failing
        self.journal.step("ledger")
        self.stored[target] = change(self.ledger(target))
        return self.stored[target]

    def held_by(self, owner_key: str) -> frozenset[Target]:
        return frozenset(
            target for target, ledger in self.stored.items() if owner_key in _by_owner_key(ledger)
        )

    def check_complete(self) -> None:
        if self.unreadable:
            raise self.unreadable

    def targets(self, project_id: str) -> Iterable[Target]:
        return [
            target
            for target, ledger in self.stored.items()
            if target.project_id == project_id and ledger.entries
        ]


class Passes:
    """Counts passes by their outcome."""

    def __init__(self) -> None:
        self.outcomes: list[str] = []

    def policy_synced(self, target_kind: str, outcome: str) -> None:
        self.outcomes.append(outcome)


@dataclass
class Scene:
    """Everything that lanes work with, and that outlives them."""

    journal: Journal = field(default_factory=Journal)
    fresh: set[str] = field(default_factory=set)
    passes: Passes = field(default_factory=Passes)
    removals_an_hour: int = 100
    suspended: set[str] = field(default_factory=set)
    observed: set[str] = field(default_factory=set)
    settings: SyncerSettings = field(default_factory=SyncerSettings)

    def __post_init__(self) -> None:
        self.policies = FakePolicies(self.journal)
        self.ledgers = FakeLedgers(self.journal)

    @property
    def ports(self) -> SyncerPorts:
        return SyncerPorts(
            policies=self.policies,
            ledgers=self.ledgers,
            observer=self.passes,
            wall_clock=lambda: NOON,
            is_fresh=self.fresh.__contains__,
            removal_limiter=RemovalRateLimiter(lambda _: self.removals_an_hour),
            is_suspended=self.suspended.__contains__,
            is_observed=self.observed.__contains__,
            settings=self.settings,
        )

    def retain(self, grant: Grant, *owners: Owner, **fields: object) -> None:
        """Put a holding into the ledger of the grant's target."""
        ledger = self.ledgers.ledger(grant.target)
        entry = entry_of(grant, [*map(str, owners)], **{"state": GrantState.GRANTED, **fields})
        self.ledgers.stored[grant.target] = ledger.with_entries({**ledger.entries, grant: entry})


def fault(kind: Fault, message: str = "no", **details: object) -> GoogleError:
    return GoogleError(kind, "google.test.Service/Method", message, **details)


def unsent() -> GoogleError:
    """What a call meets that fails before it is sent, such as for want of a token."""
    error = fault(Fault.UNAVAILABLE)
    error.sent = False
    return error


def _by_owner_key(ledger: Ledger) -> set[str]:
    return {Owner.parse(text).owner_key for held in ledger.entries.values() for text in held.owners}
