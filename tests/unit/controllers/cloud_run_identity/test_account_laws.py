"""An account under every fault and edit: at rest it is as declared, and unmanaged accounts are untouched."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cloudrun_identity.api import AccountLoss
from cloudrun_identity.controllers.cloud_run_identity.propagation import GOOD_READS, STALE
from cloudrun_identity.controllers.new_accounts import GRACE
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.reconcile.outcomes import InSync, Outcome, Refused
from tests.unit.controllers.cluster_state import EMAIL

from .account_bench import AccountBench

T = TypeVar("T")
Spec = dict[str, Any]

PERIOD = 300.0
LOOKS = 12
"""Reconciles, half a grace period apart: enough for a create in doubt, the good reads and a deletion."""

SPECS = st.fixed_dictionaries(
    {
        "displayName": st.sampled_from(["Till", "Counter"]),
        "disabled": st.booleans(),
        "whenDeleted": st.sampled_from(["Undelete", "Recreate", "Report"]),
        "whenDisabled": st.sampled_from(["Repair", "Report"]),
        "whenReplaced": st.sampled_from(["Report", "Regrant"]),
        "disableBeforeDelete": st.sampled_from(["0s", "5m"]),
    }
)


class Crash(Exception):
    """The process ends at a checkpoint."""


class Bench(AccountBench):
    """A bench whose process ends at the `crash_at`-th checkpoint from now."""

    crash_at = 0

    def checkpoint(self, step: str) -> None:
        super().checkpoint(step)
        self.crash_at -= 1
        if self.crash_at == 0:
            raise Crash(step)


class AccountLife(RuleBasedStateMachine):
    """One identity and its account. `theirs` are the unique ids of accounts that another client created."""

    @initialize(spec=SPECS, beginning=st.sampled_from(["now", "steady", "in doubt", "too late"]))
    def declare(self, spec: Spec, beginning: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.bench = Bench()
        self.spec: Spec | None = spec
        self.deleting = False
        self.theirs: set[str] = set()
        self.taken_over: set[str] = set()
        self.ever_regranted = spec["whenReplaced"] == "Regrant"
        self.unmanaged_ids = iter(range(900, 10_000))
        match beginning:
            case "steady":
                self.reconcile_until_settled()
            case "in doubt":
                self.bench.google.lost = {"create"}
                self.work()
            case "too late":
                self.bench.google.faults = {"create": Fault.UNAVAILABLE}
                self.work()
                self.another_client_creates_it()

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.close()

    # The user

    @rule(spec=SPECS)
    def edit(self, spec: Spec) -> None:
        if self.spec is None:
            self.deleting = False
            if self.ever_regranted:  # the deleted object may have taken over any of these
                self.taken_over |= self.theirs
            self.ever_regranted = False
        self.spec = spec
        self.ever_regranted |= spec["whenReplaced"] == "Regrant"

    @precondition(lambda self: self.spec)
    @rule()
    def delete(self) -> None:
        self.deleting = True

    # The operator

    @precondition(lambda self: self.spec)
    @rule()
    def reconcile(self) -> None:
        self.work()

    @precondition(lambda self: self.spec)
    @rule()
    def reconcile_until_settled(self) -> None:
        for _ in range(GOOD_READS + 1):
            self.work()

    @rule(seconds=st.sampled_from([1.0, STALE, GRACE + 1, PERIOD]))
    def time_advances(self, seconds: float) -> None:
        self.bench.now += seconds

    @rule()
    def the_operator_restarts(self) -> None:
        self.bench.restart()

    @precondition(lambda self: self.spec)
    @rule(steps=st.integers(1, 3))
    def the_operator_crashes(self, steps: int) -> None:
        self.bench.crash_at = steps
        self.work()
        self.bench.crash_at = 0
        self.bench.restart()

    # Google Cloud

    @rule(shown=st.lists(st.booleans(), min_size=1, max_size=4))
    def reads_lag(self, shown: list[bool]) -> None:
        """Some of the next reads do not show the account, as after a create."""
        account = self.account
        young = (
            (record := self.bench.own_record())
            and record.appeared_time
            and self.bench.propagation.is_fresh(EMAIL)
        )
        if account and young and account.unique_id not in self.theirs:
            self.bench.google.stale[EMAIL] = [account if each else None for each in shown]

    @rule(
        verb=st.sampled_from(["get", "create", "patch", "disable", "enable", "delete", "undelete"]),
        kind=st.sampled_from([Fault.UNAVAILABLE, Fault.QUOTA_EXCEEDED]),
    )
    def a_call_fails(self, verb: str, kind: Fault) -> None:
        self.bench.google.faults = {verb: kind}

    @rule(verb=st.sampled_from(["create", "delete", "undelete"]))
    def a_reply_is_lost(self, verb: str) -> None:
        self.bench.google.lost = {verb}

    # Another client

    @precondition(lambda self: self.account)
    @rule()
    def another_client_deletes_it(self) -> None:
        account = self.bench.google.existing.pop(EMAIL)
        self.bench.google.deleted[account.unique_id] = account
        self.bench.google.stale.clear()

    @precondition(lambda self: not self.account)
    @rule()
    def another_client_creates_it(self) -> None:
        unique_id = str(next(self.unmanaged_ids))
        self.theirs.add(unique_id)
        self.bench.google.put(EMAIL, unique_id, display_name="theirs")

    @precondition(lambda self: self.account)
    @rule()
    def another_client_replaces_it(self) -> None:
        self.another_client_deletes_it()
        self.another_client_creates_it()

    @precondition(lambda self: self.account)
    @rule(disabled=st.booleans())
    def another_client_switches_it(self, disabled: bool) -> None:
        assert self.account
        self.bench.google.existing[EMAIL] = replace(self.account, disabled=disabled)
        self.bench.google.stale.clear()

    # Invariants

    @invariant()
    def unmanaged_accounts_are_untouched(self) -> None:
        if not hasattr(self, "bench") or self.ever_regranted:
            return
        account, untouched = self.account, self.theirs - self.taken_over
        if account and account.unique_id in untouched:
            assert account.display_name == "theirs"
        calls = self.bench.google.calls
        assert not any(f"{verb} {each}" in calls for each in untouched for verb in ("delete", "patch"))

    @invariant()
    def unmanaged_accounts_are_not_granted(self) -> None:
        if not hasattr(self, "bench"):
            return
        record, account = self.bench.own_record(), self.account
        if record and record.is_steady and account and not self.ever_regranted:
            assert record.unique_id not in self.theirs

    @rule()
    def it_comes_to_rest(self) -> None:
        self.bench.google.faults, self.bench.google.lost, self.bench.google.stale = {}, set(), {}
        outcome: object = None
        for _ in range(LOOKS):
            self.bench.now += GRACE / 2
            outcome = self.work()
        if self.spec is None:
            assert self.bench.own_record() is None
            assert self.bench.ledgers.records == {}
            return
        if self.deleting:
            record = self.bench.own_record()
            assert record, "only an account that was enabled again keeps the object"
            assert record.disabled_time
            return
        self.is_as_declared(self.spec, outcome)
        calls = len(self.bench.writes())
        self.work()
        assert len(self.bench.writes()) == calls or isinstance(outcome, Refused), (
            "an account at rest is not written"
        )

    def is_as_declared(self, spec: Spec, outcome: object) -> None:
        account, record = self.account, self.bench.own_record()
        if record is None:
            assert account, "only an unmanaged account is a conflict"
            assert account.unique_id in self.theirs
            assert isinstance(outcome, Refused)
        elif account is None:
            assert record.lost is AccountLoss.DELETED
            assert spec["whenDeleted"] != "Recreate"
        elif account.unique_id in self.theirs and record.lost:
            assert (record.lost, spec["whenReplaced"]) == (AccountLoss.REPLACED, "Report")
        else:
            assert record.is_steady
            assert record.unique_id == account.unique_id
            assert account.display_name == spec["displayName"]
            assert account.disabled == spec["disabled"] or spec["whenDisabled"] == "Report"

    # Reconciles

    @property
    def account(self) -> ServiceAccount | None:
        return self.bench.google.existing.get(EMAIL) if hasattr(self, "bench") else None

    def work(self) -> object:
        """Reconcile once; return the outcome, None if the process crashed or a call failed."""
        if self.spec is None:
            return None
        try:
            outcome = self.run(self.once(self.spec))
        except (Crash, GoogleError) as error:
            if isinstance(error, Crash):
                self.bench.restart()
            return None
        if self.deleting and isinstance(outcome, InSync):
            self.spec, self.deleting = None, False
        return outcome

    async def once(self, spec: Spec) -> Outcome:
        if self.deleting:
            return await self.bench.delete(**spec)
        return (await self.bench.step(**spec)).outcome

    def run(self, work: Coroutine[object, object, T]) -> T:
        return self.loop.run_until_complete(work)


TestAccountLife = AccountLife.TestCase
TestAccountLife.settings = settings(stateful_step_count=30)
