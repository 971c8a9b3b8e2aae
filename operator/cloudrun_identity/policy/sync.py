"""Sync one IAM policy with the desired grants of all objects.

A sync reads the policy, plans (`policy.planning`), records the plan in the ledger, writes the policy at
most once, and settles the ledger. The operator writes only grants that the ledger holds. An entry leaves the
ledger only after a read shows that its grant is absent, or after a write of it was certainly refused.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from cloudrun_identity.api import GrantState
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.principals import email
from cloudrun_identity.ledger.model import Ledger

from .abandonment import without_abandoned
from .backoff import GrantBackoff, GrantBackoffs
from .bisection import LEDGER_FULL, MAX_PRINCIPALS, REFUSALS, fit, write_isolating
from .desired_grants import DesiredGrant
from .merge import Release
from .planning import PolicyPlan, plan, settle
from .ports import SyncerPorts
from .registrations import Registrations
from .writer import PolicyWriter


@dataclass(frozen=True, slots=True)
class GrantResult:
    """What became of one claim; without a `setback` it stands, or nobody has tried yet."""

    grant: Grant
    state: GrantState
    backoff: GrantBackoff | None = None


@dataclass(frozen=True, slots=True)
class SyncResult:
    """One pass: when it began (loop time), what stands now, what is held back, or why there was no pass.

    `missing` says that the target itself does not exist. `intruders` still stand in a binding that somebody
    has to itself; `contested` names, by seat, a claim of somebody else's in such a binding.
    """

    began: float
    present: frozenset[Grant] = frozenset()
    backoffs: Mapping[Grant, GrantBackoff] = field(default_factory=dict)
    unmanaged: tuple[Grant, ...] = ()
    contested: Mapping[str, Grant] = field(default_factory=dict)
    missing: bool = False
    fault: GoogleError | None = None

    def grant_result(self, grant: Grant) -> GrantResult:
        """What became of a claim in this pass."""
        if grant in self.present:
            return GrantResult(grant, GrantState.GRANTED)
        backoff = self.backoffs.get(grant)
        refused = backoff is not None and backoff.error is not None and not backoff.propagating
        return GrantResult(grant, GrantState.REJECTED if refused else GrantState.PENDING, backoff)


class LedgerMoved(Exception):  # noqa: N818 - it names what happened
    """Somebody else changed what a pass was planned on: an admin, or a replica that should not act."""


class PolicySync:
    """Makes passes over one policy, and remembers from one to the next what is held back."""

    def __init__(self, target: Target, ports: SyncerPorts, all_desired: Registrations) -> None:
        self._target = target
        self._ports = ports
        self._registrations = all_desired
        self._backoffs = GrantBackoffs(ports.settings.backoff_limits)

    async def make(self) -> SyncResult:
        """A pass over a ledger that nobody else changes meanwhile; each try starts from what they left."""
        for _ in range(self._ports.settings.attempts - 1):
            try:
                return await self._pass()
            except LedgerMoved:
                continue
        return await self._pass()

    async def _pass(self) -> SyncResult:
        began = _now()
        writer = PolicyWriter(self._target, self._ports.policies, self._ports.settings.attempts)
        account = self._ports.ledgers.ledger(self._target).account
        if account and account.lost:  # whatever has its e-mail now is not ours to read or write
            await self._settle_missing(writer)
            return SyncResult(began, missing=True)
        try:
            try:
                await writer.read()
            except GoogleError as error:
                # Reads of a fresh account flap: it is no proof that its grants are gone.
                if error.fault is not Fault.NOT_FOUND or self._ports.is_fresh(self._target.name):
                    raise
                await self._settle_missing(writer)
                self._ports.observer.policy_synced(self._target.kind, "missing")
                return SyncResult(began, missing=True, fault=error)
            return await self._sync_grants(began, writer)
        except GoogleError as error:
            self._ports.observer.policy_synced(self._target.kind, error.fault)
            await self._leave_abandoned()
            return SyncResult(began, fault=error)

    async def _sync_grants(self, began: float, writer: PolicyWriter) -> SyncResult:
        checkpoint = self._ports.checkpoint
        checkpoint("policy read")
        before = self._ports.ledgers.ledger(self._target)
        policy_plan = self._plan(before, writer)
        await self._persist(policy_plan.ledger, over=before)
        checkpoint("ledger written ahead")
        for grant in policy_plan.drifted:
            self._backoffs.lose(grant)
        self._registrations.drifted(policy_plan.drifted)
        try:
            await self._write(writer, policy_plan)
        except GoogleError:
            await self._settle(policy_plan, writer, over=policy_plan.ledger, given_up=True)
            raise
        checkpoint("policy written")
        await self._settle(policy_plan, writer, over=policy_plan.ledger)
        checkpoint("ledger settled")
        self._ports.observer.policy_synced(self._target.kind, "written" if writer.writes else "unchanged")
        return SyncResult(
            began,
            writer.present,
            dict(self._backoffs.held),
            tuple(grant for grant in policy_plan.unmanaged if grant in writer.present),
            policy_plan.contested,
        )

    def _plan(self, ledger: Ledger, writer: PolicyWriter) -> PolicyPlan:
        return plan(
            ledger,
            self._registrations.concerning(ledger),
            writer.present,
            may_release=self._registrations.complete,
            observed=self._ports.is_observed(self._target.project_id),
            withheld=self._backoffs.withheld,
            protected=self._ports.is_protected,
            may_return=self._ports.may_return,
        )

    async def _settle(
        self, policy_plan: PolicyPlan, writer: PolicyWriter, *, over: Ledger, given_up: bool = False
    ) -> None:
        settled = settle(
            policy_plan,
            writer.present,
            added=writer.added,
            rejected=self._backoffs.refused,
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
        if self._registrations.complete:
            all_desired = self._registrations.concerning(before)
            await self._persist(without_abandoned(before, all_desired), over=before)

    async def _write(self, writer: PolicyWriter, policy_plan: PolicyPlan) -> None:
        """Write what is new, then what was held back and is due again, lest that hold up the new."""
        held = self._backoffs.held
        withheld = policy_plan.withheld | self._backoffs.withheld
        free = [
            desired_grant
            for desired_grant in policy_plan.desired_grants
            if desired_grant.grant not in held.keys() | policy_plan.withheld
        ]
        due = [
            desired_grant
            for desired_grant in policy_plan.desired_grants
            if desired_grant.grant in held and desired_grant.grant not in withheld
        ]
        if policy_plan.stale:
            await writer.write((), policy_plan.stale)
        removals = policy_plan.released + self._removals_of_unmanaged(policy_plan)
        room = MAX_PRINCIPALS - writer.principals + sum(each.grant in writer.present for each in removals)
        refused = fit((*free, *due), writer.present, policy_plan.fresh, room)
        refused |= await write_isolating(writer, _without(free, refused), removals)
        if again := _without(due, refused):
            refused |= await write_isolating(writer, again, (), again=True)
        refused |= dict.fromkeys(policy_plan.unrecorded, LEDGER_FULL)
        for grant, error in refused.items():
            self._backoffs.refuse(
                grant,
                error,
                propagating=error.fault in REFUSALS and self._ports.is_fresh(email(grant.member)),
            )
        self._backoffs.succeed(
            [desired_grant.grant for desired_grant in (*free, *due) if desired_grant.grant in writer.present]
        )
        self._backoffs.keep_only(
            {*(desired_grant.grant for desired_grant in policy_plan.desired_grants), *policy_plan.unrecorded}
        )
        if writer.owes(removals):
            await writer.write((), removals)

    def _removals_of_unmanaged(self, policy_plan: PolicyPlan) -> tuple[Release, ...]:
        """The intruders that the project's brake lets us remove now."""
        wanted = policy_plan.removable
        removed_unmanaged = wanted[: self._ports.removal_limiter.admit(self._target.project_id, len(wanted))]
        self._ports.removal_limiter.note(self._target.project_id, len(removed_unmanaged))
        self._registrations.removed_unmanaged(removed_unmanaged)
        return tuple(map(Release, removed_unmanaged))

    async def _persist(self, ledger: Ledger, *, over: Ledger) -> None:
        """Put the holdings of `ledger` in the place of those of `over`, on which they were planned.

        What is recorded of the account and of roles is not the lane's and stays. Raises LedgerMoved if others
        changed the holdings.
        """

        def change(current: Ledger) -> Ledger:
            if current.entries != over.entries:
                raise LedgerMoved(f"the ledger of {self._target} was changed by somebody else")
            return current.with_entries(ledger.entries).replace(
                unmanaged_members=ledger.unmanaged_members,
                last_write_time=ledger.last_write_time,
            )

        if ledger != over or self._ports.ledgers.ledger(self._target) != over:
            await self._ports.ledgers.update(self._target, change)


def _without(desired_grants: Iterable[DesiredGrant], refused: Collection[Grant]) -> list[DesiredGrant]:
    return [desired_grant for desired_grant in desired_grants if desired_grant.grant not in refused]


def _now() -> float:
    return asyncio.get_running_loop().time()
