"""Sync one IAM policy with the desired grants of all objects.

A sync reads the policy, plans (`planning`), records the plan and the write in the ledger (`recording`),
writes the policy, and settles the ledger (`settlement`). After a conflict it reads the policy again, and
updates the ledger before it writes again. So the ledger has the grants that were present before each write.
The operator writes only grants that the ledger records. An entry leaves the ledger only after a read shows
that its grant is absent, or after a write of it was certainly refused.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from google.iam.v1.policy_pb2 import Policy

from cloudrun_identity.api import LedgerWrite
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.grants import Grant, Target, order
from cloudrun_identity.iam.principals import email
from cloudrun_identity.ledger.model import Ledger

from .backoff import GrantBackoffs
from .bisection import REFUSALS, write_with_bisection
from .bound_policies import BoundPolicies, TargetReplaced
from .capacity import LEDGER_FULL, over_capacity, over_conditions
from .desired_grants import DesiredGrant
from .in_sync import InSyncPolicy, in_sync_policy
from .merge import Removal, grants_in
from .own_writes import OwnWrites
from .pending_write import is_alone
from .planning import PolicyPlan
from .policy_shares import share_refusals
from .ports import SyncerPorts
from .recording import LedgerChanged, LedgerRecord
from .registered_forms import cannot_be_matched
from .registrations import Registrations
from .renames import renamed_owners, with_renames
from .results import SyncResult
from .settlement import made_by_others, progress, settle, settle_absent, without_abandoned
from .shown_forms import ShownForms
from .sync_planner import PlannedSync, SyncPlanner
from .writer import PolicyWriter


class PolicySync:
    """Syncs of one policy. Between them it keeps the backoff of grants."""

    def __init__(self, target: Target, ports: SyncerPorts, registrations: Registrations) -> None:
        self._target = target
        self._ports = ports
        self._registrations = registrations
        self._backoffs = GrantBackoffs(ports.settings.backoff_limits)
        self._undecided_removals: Mapping[Grant, str] = {}
        self._lost: frozenset[Grant] = frozenset()
        self._planner = SyncPlanner(ports, registrations, self._backoffs)
        self._last_policy = Policy()
        self._own_writes = OwnWrites()
        self._in_sync: InSyncPolicy | None = None

    async def run(self) -> SyncResult:
        """Run a sync. Start again if another writer changes the ledger meanwhile."""
        for _ in range(self._ports.settings.attempts - 1):
            try:
                return await self._run_once()
            except (LedgerChanged, TargetReplaced):
                continue
        return await self._run_once()

    async def _run_once(self) -> SyncResult:
        began = _now()
        self._ports.ledgers.check(self._target)
        policies = BoundPolicies(self._ports, self._own_writes)
        writer = PolicyWriter(self._target, policies, self._ports.settings.attempts)
        account = self._ports.ledgers.ledger(self._target).account
        if account and account.lost:  # an account of the same e-mail would be unmanaged
            await self._settle_absent()
            return SyncResult(began, missing=True)
        try:
            try:
                await writer.read()
                self._ports.checkpoint("policy read")
                before = self._ports.ledgers.ledger(self._target)
                declared = self._registrations.concerning(before)
                if self._in_sync and self._in_sync.matches(writer.policy, before, declared):
                    self._ports.observer.policy_synced(self._target.kind, "unchanged")
                    return replace(self._in_sync.result, began=began, all_in_sync=True)
                self._in_sync = None
                if is_shown := _shows_write(before, writer):
                    policies.note_found(self._target)
                found = is_shown or before.target_absent
                self._settle_removals(self._undecided_removals, writer)
                known = with_renames(before, self._last_policy, writer.policy)
                self._registrations.note_renamed(renamed_owners(before, known))
                self._backoffs.resume(writer.shown)
                planned = await self._planner.plan_for_target(
                    known, policies, writer.shown, write_found=found
                )
            except GoogleError as error:
                # A read of a new account may fail after an earlier one succeeded.
                if error.fault is not Fault.NOT_FOUND or self._ports.is_fresh(self._target.name):
                    raise
                await self._settle_absent()
                self._ports.observer.policy_synced(self._target.kind, "missing")
                return SyncResult(began, missing=True, fault=error)
            if planned is None:
                await self._settle_absent()
                self._ports.observer.policy_synced(self._target.kind, "replaced")
                return SyncResult(began, replaced=True)
            synced = await self._sync(began, writer, before, planned, write_found=found)
            if self._registrations.is_complete and not writer.writes:
                after = self._ports.ledgers.ledger(self._target)
                self._in_sync = in_sync_policy(writer.policy, before, after, declared, planned.plan, synced)
            if planned.plan.unrecorded and self._has_shrunk(before):
                return await self._run_once()  # the ledger has room now
            return synced
        except GoogleError as error:
            error.propagating = error.fault is Fault.NOT_FOUND and self._ports.is_fresh(self._target.name)
            self._ports.observer.policy_synced(self._target.kind, error.fault)
            await self._release_abandoned(with_temporary=error.fault in _LASTING)
            return SyncResult(began, fault=error)

    async def _sync(
        self,
        began: float,
        writer: PolicyWriter,
        before: Ledger,
        planned: PlannedSync,
        *,
        write_found: bool,
    ) -> SyncResult:
        checkpoint, plan = self._ports.checkpoint, planned.plan
        writer.forms = ShownForms(
            planned.known,
            writer.shown,
            grants_in(self._last_policy, self._target),
            write_found=write_found,
        )
        writer.forms.keep(plan.ledger.entries, {removal.grant for removal in plan.released})
        record = LedgerRecord(before, self._ports.ledgers)
        self._note_losses(planned)
        progressed = plan.ledger

        async def store_ahead(writer: PolicyWriter, write: LedgerWrite | None) -> None:
            nonlocal progressed
            ahead = progress(plan, progressed, writer.present, writer.added)
            progressed = await record.store_ahead(writer.forms.recorded(ahead, writer.shown), write)
            checkpoint("ledger written ahead")

        writer.store_ahead = store_ahead
        try:
            await self._write(writer, plan)
        except GoogleError:
            await record.store(self._settled(plan, progressed, writer, failed=True))
            raise
        checkpoint("policy written")
        await record.store(self._settled(plan, progressed, writer))
        checkpoint("ledger settled")
        self._last_policy = writer.policy
        self._lost = frozenset()
        self._registrations.note_made_by_others(made_by_others(planned.known, plan, record.stored))
        self._ports.observer.policy_synced(self._target.kind, "written" if writer.writes else "unchanged")
        return SyncResult(
            began,
            writer.present,
            dict(self._backoffs.delayed),
            tuple(grant for grant in plan.unmanaged if grant in writer.present),
            plan.conflicting,
        )

    def _has_shrunk(self, before: Ledger) -> bool:
        return len(self._ports.ledgers.ledger(self._target).entries) < len(before.entries)

    def _note_losses(self, planned: PlannedSync) -> None:
        """Count and report missing grants, once until the ledger records them as missing."""
        known, self._lost = self._lost, planned.drifted
        for grant in sorted(planned.plan.drifted - known, key=order):
            self._backoffs.lose(grant)
        self._registrations.note_drift(planned.drifted - known)

    async def _write(self, writer: PolicyWriter, plan: PolicyPlan) -> None:
        """Write the new grants first, then those that are due after a backoff."""
        delayed = self._backoffs.delayed
        withheld = plan.withheld | self._backoffs.withheld
        prompt = [
            desired
            for desired in plan.desired_grants
            if desired.grant not in delayed and desired.grant not in plan.withheld
        ]
        due = [
            desired
            for desired in plan.desired_grants
            if desired.grant in delayed and desired.grant not in withheld
        ]
        if plan.replaced:
            await writer.write((), plan.replaced)
        limiter, project_id = self._ports.removal_limiter, self._target.project_id
        excluded = {
            step.grant: step.namespace for step in plan.removals if limiter.admit(project_id, step.namespace)
        }
        removals = (*plan.released, *map(Removal, excluded))
        removed = {form for removal in removals for form in removal.forms}
        prompt += [
            desired
            for desired in plan.desired_grants
            if self._backoffs.is_resumed_without(desired.grant, removed)
        ]
        try:
            refused = await self._write_batches(writer, plan, prompt, due, removals)
        finally:
            self._settle_removals(excluded, writer)
        for grant, error in refused.items():
            self._backoffs.refuse(
                grant,
                error,
                propagating=error.fault in REFUSALS and self._ports.is_fresh(email(grant.member)),
            )
        for grant, candidates in writer.forms.unmatched.items():
            self._backoffs.suspend(grant, cannot_be_matched(grant), while_shown=candidates)
        self._backoffs.succeed(
            [desired.grant for desired in (*prompt, *due) if desired.grant in writer.present]
        )
        self._backoffs.keep_only({*(desired.grant for desired in plan.desired_grants), *plan.unrecorded})

    async def _write_batches(
        self,
        writer: PolicyWriter,
        plan: PolicyPlan,
        prompt: list[DesiredGrant],
        due: list[DesiredGrant],
        removals: tuple[Removal, ...],
    ) -> dict[Grant, GoogleError]:
        """Write the grants and the removals. Return the refused grants with the reasons."""
        written = writer.present.union(desired.grant for desired in (*prompt, *due))
        leaving = [removal for removal in removals if removal.successors <= written]
        usage = writer.usage_without(leaving)
        refused = share_refusals(
            (*prompt, *due),
            plan.ledger.entries,
            writer.present,
            leaving,
            namespaces=lambda: self._ports.namespaces_on(self._target),
            principals=usage.principals,
        )
        refused |= over_capacity(_without((*prompt, *due), refused), writer.present, plan.new, usage)
        kept = writer.shown.difference(*(removal.forms for removal in leaving))
        refused |= over_conditions(_without((*prompt, *due), refused), kept)
        refused |= await write_with_bisection(writer, _without(prompt, refused), removals)
        if retried := _without(due, refused):
            renewed = [removal for removal in removals if removal.successors]
            refused |= await write_with_bisection(writer, retried, renewed, retry=True)
        if writer.contains_any(removals):
            await writer.write((), removals)
        if any(removal.forms.isdisjoint(writer.shown) for removal in plan.released):
            return refused  # the removals make room in the ledger, and the next sync records the rest
        return refused | dict.fromkeys(plan.unrecorded, LEDGER_FULL)

    def _settle_removals(self, admitted: Mapping[Grant, str], writer: PolicyWriter) -> None:
        """Report the removals of unmanaged grants that happened, and count only these against the limit.

        `admitted` are the removed grants, each with the namespace whose share it counts against. A removal
        with an unknown outcome counts until the next read of the policy decides it.
        """
        undecided = writer.undecided_removed
        self._undecided_removals = {grant: admitted[grant] for grant in admitted if grant in undecided}
        settled = admitted.keys() - self._undecided_removals.keys()
        for grant in settled & writer.present:
            self._ports.removal_limiter.refund(self._target.project_id, admitted[grant])
        self._registrations.note_removed_unmanaged(settled - writer.present)

    def _settled(
        self, plan: PolicyPlan, ledger: Ledger, writer: PolicyWriter, *, failed: bool = False
    ) -> Ledger:
        undecided = writer.undecided_added | (writer.forms.undecided if failed else frozenset())
        settled = settle(
            plan,
            writer.present,
            added=writer.added,
            refused=self._backoffs.refused,
            written_at=self._ports.wall_clock() if writer.writes else None,
            ledger=ledger,
            undecided=undecided,
            usage=writer.usage.as_recorded(),
            failed=failed,
        )
        return writer.forms.settled(settled, writer.shown)

    async def _settle_absent(self) -> None:
        """Settle the ledger of a deleted target: drop released entries, keep desired ones as pending."""
        before = self._ports.ledgers.ledger(self._target)
        record = LedgerRecord(before, self._ports.ledgers)
        await record.store(settle_absent(self._planner.plan(before, ()), before))

    async def _release_abandoned(self, *, with_temporary: bool) -> None:
        """Drop abandoned entries. That needs no read of the policy, which has failed.

        Temporary grants are abandoned only if the operator cannot remove them any more.
        """
        before = self._ports.ledgers.ledger(self._target)
        if self._registrations.is_complete:
            declared = self._registrations.concerning(before)
            after = without_abandoned(before, declared, with_temporary=with_temporary)
            await LedgerRecord(before, self._ports.ledgers).store(after)


_LASTING = frozenset(
    {Fault.NOT_FOUND, Fault.PERMISSION_DENIED, Fault.API_DISABLED, Fault.PERIMETER_VIOLATION}
)
"""Faults that end only when a user acts, such as those of a deleted project."""


def _shows_write(ledger: Ledger, writer: PolicyWriter) -> bool:
    """Return whether the policy shows the write that the ledger records, and no other since."""
    write = ledger.pending_write
    return write is not None and is_alone(write, writer.etag, writer.shown)


def _without(desired_grants: Iterable[DesiredGrant], refused: Collection[Grant]) -> list[DesiredGrant]:
    return [desired for desired in desired_grants if desired.grant not in refused]


def _now() -> float:
    return asyncio.get_running_loop().time()
