"""Passes over one policy: what a lane makes, one after the other.

A pass reads the policy, plans (`iam.passes`), writes the ledger ahead, writes the policy once, and settles
the ledger. Only what the ledger holds is ever written to Google Cloud; only what Google shows gone, or never
took, leaves the ledger.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from cloudrun_identity.api import GrantState
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.abandonment import without_abandoned
from cloudrun_identity.iam.claims import Claim
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.ledger import Ledger
from cloudrun_identity.iam.merge import Release
from cloudrun_identity.iam.passes import Plan, plan, settle
from cloudrun_identity.iam.principals import email

from .declarations import Declarations
from .isolation import LEDGER_FULL, MAX_PRINCIPALS, REFUSALS, fit, write_isolating
from .policy_writer import PolicyWriter
from .ports import LanePorts
from .setbacks import Setback, Setbacks


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one claim; without a `setback` it stands, or nobody has tried yet."""

    grant: Grant
    state: GrantState
    setback: Setback | None = None


@dataclass(frozen=True, slots=True)
class PassResult:
    """One pass: when it began (loop time), what stands now, what is held back, or why there was no pass.

    `missing` says that the target itself does not exist. `intruders` still stand in a binding that somebody
    has to itself; `contested` names, by seat, a claim of somebody else's in such a binding.
    """

    began: float
    standing: frozenset[Grant] = frozenset()
    setbacks: Mapping[Grant, Setback] = field(default_factory=dict)
    intruders: tuple[Grant, ...] = ()
    contested: Mapping[str, Grant] = field(default_factory=dict)
    missing: bool = False
    fault: GoogleError | None = None

    def verdict(self, grant: Grant) -> Verdict:
        """What became of a claim in this pass."""
        if grant in self.standing:
            return Verdict(grant, GrantState.GRANTED)
        setback = self.setbacks.get(grant)
        refused = setback is not None and setback.error is not None and not setback.propagating
        return Verdict(grant, GrantState.REJECTED if refused else GrantState.PENDING, setback)


class LedgerMoved(Exception):  # noqa: N818 - it names what happened
    """Somebody else changed what a pass was planned on: an admin, or a replica that should not act."""


class PolicyPasses:
    """Makes passes over one policy, and remembers from one to the next what is held back."""

    def __init__(self, target: Target, ports: LanePorts, declarations: Declarations) -> None:
        self._target = target
        self._ports = ports
        self._declarations = declarations
        self._setbacks = Setbacks(ports.settings.backoffs)

    async def make(self) -> PassResult:
        """A pass over a ledger that nobody else changes meanwhile; each try starts from what they left."""
        for _ in range(self._ports.settings.attempts - 1):
            try:
                return await self._pass()
            except LedgerMoved:
                continue
        return await self._pass()

    async def _pass(self) -> PassResult:
        began = _now()
        writer = PolicyWriter(self._target, self._ports.policies, self._ports.settings.attempts)
        account = self._ports.ledgers.ledger(self._target).account
        if account and account.lost:  # whatever has its e-mail now is not ours to read or write
            await self._settle_missing(writer)
            return PassResult(began, missing=True)
        try:
            try:
                await writer.read()
            except GoogleError as error:
                # Reads of a fresh account flap: it is no proof that its grants are gone.
                if error.fault is not Fault.NOT_FOUND or self._ports.is_fresh(self._target.name):
                    raise
                await self._settle_missing(writer)
                self._ports.observer.lane_passed(self._target.kind, "missing")
                return PassResult(began, missing=True, fault=error)
            return await self._converge(began, writer)
        except GoogleError as error:
            self._ports.observer.lane_passed(self._target.kind, error.fault)
            await self._leave_abandoned()
            return PassResult(began, fault=error)

    async def _converge(self, began: float, writer: PolicyWriter) -> PassResult:
        checkpoint = self._ports.checkpoint
        checkpoint("policy read")
        before = self._ports.ledgers.ledger(self._target)
        pass_plan = self._plan(before, writer)
        await self._persist(pass_plan.ledger, over=before)
        checkpoint("ledger written ahead")
        for grant in pass_plan.drifted:
            self._setbacks.lose(grant)
        self._declarations.drifted(pass_plan.drifted)
        try:
            await self._write(writer, pass_plan)
        except GoogleError:
            await self._settle(pass_plan, writer, over=pass_plan.ledger, given_up=True)
            raise
        checkpoint("policy written")
        await self._settle(pass_plan, writer, over=pass_plan.ledger)
        checkpoint("ledger settled")
        self._ports.observer.lane_passed(self._target.kind, "written" if writer.writes else "unchanged")
        return PassResult(
            began,
            writer.standing,
            dict(self._setbacks.held),
            tuple(grant for grant in pass_plan.intruders if grant in writer.standing),
            pass_plan.contested,
        )

    def _plan(self, ledger: Ledger, writer: PolicyWriter) -> Plan:
        return plan(
            ledger,
            self._declarations.concerning(ledger),
            writer.standing,
            may_release=self._declarations.complete,
            observed=self._ports.is_observed(self._target.project_id),
            withheld=self._setbacks.withheld,
            spared=self._ports.is_spared,
            may_return=self._ports.may_return,
        )

    async def _settle(
        self, pass_plan: Plan, writer: PolicyWriter, *, over: Ledger, given_up: bool = False
    ) -> None:
        settled = settle(
            pass_plan,
            writer.standing,
            added=writer.added,
            rejected=self._setbacks.refused,
            written_at=self._ports.wall_clock() if writer.writes else None,
            given_up=given_up,
        )
        await self._persist(settled, over=over)

    async def _settle_missing(self, writer: PolicyWriter) -> None:
        """The target is gone and its policy with it: what was let go is gone, what is claimed waits."""
        before = self._ports.ledgers.ledger(self._target)
        await self._settle(self._plan(before, writer), writer, over=before, given_up=True)

    async def _leave_abandoned(self) -> None:
        """Let go of what is left where it stands: for that nobody has to ask Google, who cannot be asked."""
        before = self._ports.ledgers.ledger(self._target)
        if self._declarations.complete:
            declarations = self._declarations.concerning(before)
            await self._persist(without_abandoned(before, declarations), over=before)

    async def _write(self, writer: PolicyWriter, pass_plan: Plan) -> None:
        """Write what is new, then what was held back and is due again, lest that hold up the new."""
        held = self._setbacks.held
        withheld = pass_plan.withheld | self._setbacks.withheld
        free = [claim for claim in pass_plan.claims if claim.grant not in held.keys() | pass_plan.withheld]
        due = [claim for claim in pass_plan.claims if claim.grant in held and claim.grant not in withheld]
        if pass_plan.stale:
            await writer.write((), pass_plan.stale)
        removals = pass_plan.released + self._evictions(pass_plan)
        room = MAX_PRINCIPALS - writer.principals + sum(each.grant in writer.standing for each in removals)
        refused = fit((*free, *due), writer.standing, pass_plan.fresh, room)
        refused |= await write_isolating(writer, _without(free, refused), removals)
        if again := _without(due, refused):
            refused |= await write_isolating(writer, again, (), again=True)
        refused |= dict.fromkeys(pass_plan.unrecorded, LEDGER_FULL)
        for grant, error in refused.items():
            self._setbacks.refuse(
                grant,
                error,
                propagating=error.fault in REFUSALS and self._ports.is_fresh(email(grant.member)),
            )
        self._setbacks.succeed([claim.grant for claim in (*free, *due) if claim.grant in writer.standing])
        self._setbacks.keep_only({*(claim.grant for claim in pass_plan.claims), *pass_plan.unrecorded})
        if writer.owes(removals):
            await writer.write((), removals)

    def _evictions(self, pass_plan: Plan) -> tuple[Release, ...]:
        """The intruders that the project's brake lets us remove now."""
        wanted = pass_plan.evictable
        evicted = wanted[: self._ports.brake.admit(self._target.project_id, len(wanted))]
        self._ports.brake.note(self._target.project_id, len(evicted))
        self._declarations.evicted(evicted)
        return tuple(map(Release, evicted))

    async def _persist(self, ledger: Ledger, *, over: Ledger) -> None:
        """Put the holdings of `ledger` in the place of those of `over`, on which they were planned.

        What is recorded of the account and of roles is not the lane's and stays. Raises LedgerMoved if others
        changed the holdings.
        """

        def change(current: Ledger) -> Ledger:
            if current.holdings != over.holdings:
                raise LedgerMoved(f"the ledger of {self._target} was changed by somebody else")
            return replace(
                current,
                holdings=ledger.holdings,
                foreign_members=ledger.foreign_members,
                last_write_time=ledger.last_write_time,
            )

        if ledger != over or self._ports.ledgers.ledger(self._target) != over:
            await self._ports.ledgers.update(self._target, change)


def _without(claims: Iterable[Claim], refused: Collection[Grant]) -> list[Claim]:
    return [claim for claim in claims if claim.grant not in refused]


def _now() -> float:
    return asyncio.get_running_loop().time()
