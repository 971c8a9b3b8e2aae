"""The life of an account under everything that may befall it, in any order: it ends as it is declared."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cloudrun_identity.api import AccountLoss
from cloudrun_identity.controllers.cloud_run_identity.deletion import IdentityDeletion
from cloudrun_identity.controllers.cloud_run_identity.propagation import GOOD_READS, GRACE
from cloudrun_identity.controllers.cloud_run_identity.recent_writes import STALE
from cloudrun_identity.controllers.cloud_run_identity.usage import Usage
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.reconcile.events import EventReporter
from cloudrun_identity.reconcile.outcomes import InSync, Outcome, Refused
from tests.unit.controllers.cluster_state import EMAIL, FakeWorld, identity, project

from .account_bench import AccountBench

T = TypeVar("T")
Spec = dict[str, Any]

PERIOD = 300.0
LOOKS = 12
"""Passes, half a grace apart: enough for a create in doubt, the good reads, and a deletion after all."""

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


class Crash(Exception):  # noqa: N818 - the end of a process is no error of anybody's
    """The process ends here."""


class Bench(AccountBench):
    """Ends the process at the checkpoint that is reached as the `crash_at`-th from now."""

    crash_at = 0

    def restart(self) -> None:
        super().restart()
        none: Any = None
        self.deletion = IdentityDeletion(
            self.deps, self.accounts, Usage(self.inventory), Releases(), EventReporter(Silence(), none)
        )

    def checkpoint(self, step: str) -> None:
        super().checkpoint(step)
        self.crash_at -= 1
        if self.crash_at == 0:
            raise Crash(step)


class Releases:
    async def release(self, obj: Any, *, abandon: bool) -> Outcome:
        return InSync()


class Silence:
    def record(self, *told: object) -> None:
        """Nobody listens."""


class AccountLife(RuleBasedStateMachine):
    """One identity and its account. `theirs` are the unique ids that somebody else made."""

    @initialize(spec=SPECS, beginning=st.sampled_from(["now", "steady", "in doubt", "too late"]))
    def declare(self, spec: Spec, beginning: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.bench = Bench()
        self.spec: Spec | None = spec
        self.deleting = False
        self.theirs: set[str] = set()
        self.ever_regranted = spec["whenReplaced"] == "Regrant"
        self.foreign_ids = iter(range(900, 10_000))
        match beginning:
            case "steady":
                self.some_passes()
            case "in doubt":
                self.bench.google.lost = {"create"}
                self.work()
            case "too late":
                self.bench.google.faults = {"create": Fault.UNAVAILABLE}
                self.work()
                self.somebody_creates_it()

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.close()

    # What its owner does.

    @rule(spec=SPECS)
    def edit(self, spec: Spec) -> None:
        if self.spec is None:
            self.deleting = False
            self.ever_regranted = False
        self.spec = spec
        self.ever_regranted |= spec["whenReplaced"] == "Regrant"

    @precondition(lambda self: self.spec)
    @rule()
    def delete(self) -> None:
        self.deleting = True

    # What the operator does.

    @precondition(lambda self: self.spec)
    @rule()
    def a_pass(self) -> None:
        self.work()

    @precondition(lambda self: self.spec)
    @rule()
    def some_passes(self) -> None:
        for _ in range(GOOD_READS + 1):
            self.work()

    @rule(seconds=st.sampled_from([1.0, STALE, GRACE + 1, PERIOD]))
    def time_passes(self, seconds: float) -> None:
        self.bench.now += seconds

    @rule()
    def the_operator_restarts(self) -> None:
        self.bench.restart()

    @precondition(lambda self: self.spec)
    @rule(steps=st.integers(1, 3))
    def the_operator_dies_in_a_pass(self, steps: int) -> None:
        self.bench.crash_at = steps
        self.work()
        self.bench.crash_at = 0
        self.bench.restart()

    # What Google does.

    @rule(shown=st.lists(st.booleans(), min_size=1, max_size=4))
    def reads_lag(self, shown: list[bool]) -> None:
        """As Google does after a create: some of the next reads do not find it."""
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
    def an_answer_is_lost(self, verb: str) -> None:
        self.bench.google.lost = {verb}

    # What somebody else does.

    @precondition(lambda self: self.account)
    @rule()
    def somebody_deletes_it(self) -> None:
        account = self.bench.google.existing.pop(EMAIL)
        self.bench.google.deleted[account.unique_id] = account
        self.bench.google.stale.clear()

    @precondition(lambda self: not self.account)
    @rule()
    def somebody_creates_it(self) -> None:
        unique_id = str(next(self.foreign_ids))
        self.theirs.add(unique_id)
        self.bench.google.put(EMAIL, unique_id, display_name="theirs")

    @precondition(lambda self: self.account)
    @rule()
    def somebody_replaces_it(self) -> None:
        self.somebody_deletes_it()
        self.somebody_creates_it()

    @precondition(lambda self: self.account)
    @rule(disabled=st.booleans())
    def somebody_switches_it(self, disabled: bool) -> None:
        assert self.account
        self.bench.google.existing[EMAIL] = replace(self.account, disabled=disabled)
        self.bench.google.stale.clear()

    # What must hold.

    @invariant()
    def what_is_somebody_elses_is_untouched(self) -> None:
        account = getattr(self, "bench", None) and self.account
        if account and account.unique_id in self.theirs and not self.ever_regranted:
            assert account.display_name == "theirs"
        if account and not self.ever_regranted:
            gone = self.bench.google.calls
            assert not any(f"{verb} {own}" in gone for own in self.theirs for verb in ("delete", "patch"))

    @invariant()
    def nothing_goes_to_an_account_that_is_not_meant(self) -> None:
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
            assert record, "only an account that was enabled again while it was to go keeps the object"
            assert record.disabled_time
            return
        self.is_as_declared(self.spec, outcome)
        calls = len(self.writes())
        self.work()
        assert len(self.writes()) == calls or isinstance(outcome, Refused), "what is at rest is not written"

    def is_as_declared(self, spec: Spec, outcome: object) -> None:
        account, record = self.account, self.bench.own_record()
        if record is None:
            assert account, "a conflict needs an opponent"
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

    # Passes.

    @property
    def account(self) -> ServiceAccount | None:
        return self.bench.google.existing.get(EMAIL) if hasattr(self, "bench") else None

    def writes(self) -> list[str]:
        return [call for call in self.bench.google.calls if not call.startswith(("get", "list"))]

    def work(self) -> object:
        """One pass, as the reconcile would make it; its outcome, None where it did not come to an end."""
        if self.spec is None:
            return None
        try:
            outcome = self.run(self.finalize() if self.deleting else self.bench.step(**self.spec))
        except (Crash, GoogleError) as error:
            if isinstance(error, Crash):
                self.bench.restart()
            return None
        if not self.deleting:
            return outcome.outcome
        if isinstance(outcome, InSync):
            self.spec, self.deleting = None, False
        return outcome

    async def finalize(self) -> Any:
        assert self.spec
        obj, record = identity(**self.spec), self.bench.own_record()
        cluster = FakeWorld(project(), obj, accounts=[record] if record else [])
        return await self.bench.deletion.delete(obj, cluster, abandon=False)

    def run(self, work: Coroutine[object, object, T]) -> T:
        return self.loop.run_until_complete(work)


TestAccountLife = AccountLife.TestCase
TestAccountLife.settings = settings(stateful_step_count=30)
