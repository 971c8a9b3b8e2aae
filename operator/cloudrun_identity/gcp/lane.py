"""One policy's lane: passes over it, one at a time, shared by all who wait.

A pass reads the policy, plans (`iam.passes`), writes the ledger ahead, writes the policy once, and settles
the ledger. Only what the ledger holds is ever written to Google Cloud; only what Google shows gone leaves the
ledger.
"""

import asyncio
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from google.iam.v1.policy_pb2 import Policy

from cloudrun_identity.api import GrantState
from cloudrun_identity.iam.claims import Claim
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.ledger import Ledger
from cloudrun_identity.iam.merge import Merged, Release, merge, present
from cloudrun_identity.iam.passes import Plan, plan, settle
from cloudrun_identity.iam.principals import email

from .declarations import Declarations
from .errors import Fault, GoogleError
from .isolation import write_isolating
from .mutations import mutated


class PolicyPort(Protocol):
    """Where policies are read and written: `policies.Policies`. Both raise GoogleError."""

    async def get(self, target: Target) -> Policy:
        """The policy at version 3, with its etag."""
        ...

    async def set(self, target: Target, policy: Policy) -> Policy:
        """Write it over the etag it carries; the reply is the new policy."""
        ...


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

    `linger` is how long a pass waits for company, `patience` how long for claims announced as coming soon.
    `attempts` bounds the writes that lose against other writers; `retry_first` and `retry_most` bound the
    backoff of a grant that Google refuses, `retry_fresh` is that of a grant to an account it may not know
    yet.
    """

    linger: float = 0.5
    patience: float = 2.0
    attempts: int = 8
    retry_first: float = 15.0
    retry_most: float = 900.0
    retry_fresh: float = 3.0


@dataclass(frozen=True, slots=True)
class LanePorts:
    """What a lane works with. `is_fresh(email)`: Google may not know the account everywhere yet."""

    policies: PolicyPort
    ledgers: LedgerPort
    observer: LaneObserver
    wall_clock: Callable[[], datetime]
    is_fresh: Callable[[str], bool]
    settings: LaneSettings = LaneSettings()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one claim. `error` is Google's refusal, if that is why it is not granted.

    `retry_after` are the seconds until it is worth asking again, None where asking again changes nothing.
    """

    grant: Grant
    state: GrantState
    error: GoogleError | None = None
    propagating: bool = False
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class PassResult:
    """One pass: when it began (loop time), what stands now, what was refused, or why there was no pass.

    `missing` says that the target itself does not exist.
    """

    began: float
    standing: frozenset[Grant] = frozenset()
    refusals: Mapping[Grant, Verdict] = field(default_factory=dict)
    missing: bool = False
    fault: GoogleError | None = None

    def verdict(self, grant: Grant) -> Verdict:
        """What became of a claim in this pass."""
        if grant in self.standing:
            return Verdict(grant, GrantState.GRANTED)
        return self.refusals.get(grant) or Verdict(grant, GrantState.PENDING, self.fault)


@dataclass(frozen=True, slots=True)
class _Refusal:
    error: GoogleError
    failures: int
    due: float
    propagating: bool


class Lane:
    """The lane of one target."""

    def __init__(self, target: Target, ports: LanePorts, declarations: Declarations) -> None:
        self._target = target
        self._ports = ports
        self._declarations = declarations
        self._last: PassResult | None = None
        self._waiting: list[asyncio.Future[PassResult]] = []
        self._running: asyncio.Task[None] | None = None
        self._refused: dict[Grant, _Refusal] = {}

    async def result(self, *, since: float, max_age: float) -> PassResult:
        """The last pass, if it began after `since` and within `max_age` seconds; else the next one."""
        last = self._last
        if last and not last.fault and last.began > since and _now() - last.began <= max_age:
            return last
        waiter: asyncio.Future[PassResult] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name=f"lane {self._target}")
        return await waiter

    async def close(self) -> None:
        """End the lane; who still waits is cancelled. The ledger makes the next process carry on."""
        if self._running:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self) -> None:
        waiters: list[asyncio.Future[PassResult]] = []
        try:
            while self._waiting:
                await self._gather_company()
                waiters, self._waiting = self._waiting, []
                try:
                    self._last = await self._pass()
                except Exception as error:  # whoever asked must hear of it, or would wait for ever
                    for waiter in waiters:
                        if not waiter.done():
                            waiter.set_exception(error)
                    continue
                for waiter in waiters:
                    if not waiter.done():
                        waiter.set_result(self._last)
        finally:
            self._running = None
            for waiter in (*waiters, *self._waiting):
                waiter.cancel()

    async def _gather_company(self) -> None:
        settings = self._ports.settings
        began = _now()
        await asyncio.sleep(settings.linger)
        while self._declarations.awaits(self._target) and _now() - began < settings.patience:  # noqa: ASYNC110
            await asyncio.sleep(settings.linger / 4)

    async def _pass(self) -> PassResult:
        began = _now()
        writer = _Writer(self._target, self._ports)
        try:
            try:
                await writer.read()
            except GoogleError as error:
                # Reads of a fresh account flap: it is no proof that its grants are gone.
                if error.fault is not Fault.NOT_FOUND or self._ports.is_fresh(self._target.name):
                    raise
                await self._settle_missing()
                self._ports.observer.lane_passed(self._target.kind, "missing")
                return PassResult(began, missing=True, fault=error)
            return await self._converge(began, writer)
        except GoogleError as error:
            self._ports.observer.lane_passed(self._target.kind, error.fault)
            return PassResult(began, fault=error)

    async def _converge(self, began: float, writer: "_Writer") -> PassResult:
        pass_plan = self._plan(self._ports.ledgers.ledger(self._target), writer.standing)
        await self._persist(pass_plan.ledger)
        self._declarations.drifted(pass_plan.drifted)
        await self._write(writer, pass_plan)
        refusals = self._verdicts()
        await self._persist(
            settle(
                pass_plan,
                writer.standing,
                added=writer.added,
                rejected={grant for grant, verdict in refusals.items() if not verdict.propagating},
                written_at=self._ports.wall_clock() if writer.writes else None,
            )
        )
        self._ports.observer.lane_passed(self._target.kind, "written" if writer.writes else "unchanged")
        return PassResult(began, writer.standing, refusals)

    def _plan(self, ledger: Ledger, standing: Collection[Grant]) -> Plan:
        return plan(
            ledger,
            self._declarations.concerning(ledger),
            standing,
            may_release=self._declarations.complete,
        )

    async def _settle_missing(self) -> None:
        """The target is gone and its policy with it: what was let go is gone, what is claimed waits."""
        pass_plan = self._plan(self._ports.ledgers.ledger(self._target), ())
        claimed = {claim.grant for claim in pass_plan.claims} & pass_plan.ledger.holdings.keys()
        waiting = {
            grant: replace(pass_plan.ledger.holdings[grant], state=GrantState.PENDING)
            for grant in claimed - pass_plan.fresh
        }
        settled = settle(pass_plan, (), added=(), rejected=(), written_at=None)
        kept = {grant: held for grant, held in settled.holdings.items() if grant not in pass_plan.fresh}
        await self._persist(replace(settled, holdings=kept | waiting))

    async def _write(self, writer: "_Writer", pass_plan: Plan) -> None:
        """Write what is new, then what was refused before and is due again, lest that hold up the new."""
        new = [claim for claim in pass_plan.claims if claim.grant not in self._refused]
        due = [
            claim
            for claim in pass_plan.claims
            if claim.grant in self._refused and self._refused[claim.grant].due <= _now()
        ]
        refused = await write_isolating(lambda batch: writer.write(batch, pass_plan.released), new)
        if writer.owes(pass_plan.released):
            await writer.write((), pass_plan.released)
        if due:
            refused |= await write_isolating(lambda batch: writer.write(batch, ()), due)
        self._remember(refused, tried={claim.grant for claim in (*new, *due)}, plan=pass_plan)

    def _remember(
        self, refused: Mapping[Grant, GoogleError], *, tried: Collection[Grant], plan: Plan
    ) -> None:
        """Keep the refusals of claims that were not tried, and count up those that were refused again."""
        claimed = {claim.grant for claim in plan.claims}
        kept = {
            grant: refusal
            for grant, refusal in self._refused.items()
            if grant in claimed and grant not in tried
        }
        self._refused = kept | {grant: self._refusal(grant, error) for grant, error in refused.items()}

    def _refusal(self, grant: Grant, error: GoogleError) -> "_Refusal":
        settings = self._ports.settings
        before = self._refused.get(grant)
        failures = before.failures + 1 if before else 1
        propagating = self._ports.is_fresh(email(grant.member))
        delay = (
            settings.retry_fresh
            if propagating
            else min(settings.retry_first * 2.0 ** min(failures - 1, 16), settings.retry_most)
        )
        return _Refusal(error, failures, _now() + delay, propagating)

    def _verdicts(self) -> dict[Grant, Verdict]:
        return {
            grant: Verdict(
                grant,
                GrantState.PENDING if refusal.propagating else GrantState.REJECTED,
                refusal.error,
                refusal.propagating,
                max(0.0, refusal.due - _now()),
            )
            for grant, refusal in self._refused.items()
        }

    async def _persist(self, ledger: Ledger) -> None:
        """Put the holdings of `ledger` in place; its account part is the identity's and stays."""
        if ledger == self._ports.ledgers.ledger(self._target):
            return
        await self._ports.ledgers.update(
            self._target, lambda current: replace(ledger, account=current.account)
        )


class _Writer:
    """The policy under way: as last read or written, with what our writes added to it."""

    def __init__(self, target: Target, ports: LanePorts) -> None:
        self._target = target
        self._ports = ports
        self._policy = Policy()
        self.standing: frozenset[Grant] = frozenset()
        self.added: set[Grant] = set()
        self.writes = 0

    async def read(self) -> None:
        self._see(await self._ports.policies.get(self._target))

    def owes(self, released: Sequence[Release]) -> bool:
        """Whether a release still stands in the policy."""
        return merge(self._policy, (), released).policy is not self._policy

    async def write(self, claims: Sequence[Claim], released: Sequence[Release]) -> None:
        """Merge and write, again over a fresh read if somebody else was quicker or the reply was lost."""
        lost: Merged | None = None
        for attempt in range(1, self._ports.settings.attempts + 1):
            merged = merge(self._policy, claims, released)
            if merged.policy is self._policy:
                if lost:
                    self._note(lost)
                return
            try:
                reply = await self._ports.policies.set(self._target, merged.policy)
            except GoogleError as error:
                if error.fault not in _TRY_AGAIN or attempt == self._ports.settings.attempts:
                    raise
                if error.fault is Fault.UNAVAILABLE:
                    lost = merged  # it may have happened, and what then stands is ours
                    self.added |= merged.added
                await asyncio.sleep(random.uniform(0, 0.1 * 2**attempt))  # noqa: S311 - no secret
                await self.read()
            else:
                self._note(merged)
                self._see(reply)
                return

    def _note(self, merged: Merged) -> None:
        self.writes += 1
        self.added |= merged.added
        mutated(
            "set policy of",
            self._target.full_name,
            before=_listed(merged.removed),
            after=_listed(merged.added),
        )

    def _see(self, policy: Policy) -> None:
        self._policy = policy
        self.standing = present(policy, self._target)


_TRY_AGAIN = frozenset({Fault.ABORTED, Fault.UNAVAILABLE})


def _listed(grants: Collection[Grant]) -> str:
    """Grants for the log; what a write replaces stands before the arrow, what it brings after it."""
    return ", ".join(sorted(f"{grant.role} {grant.member}" for grant in grants)) or "nothing"


def _now() -> float:
    return asyncio.get_running_loop().time()
