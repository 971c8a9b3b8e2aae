"""Observe, the dry run and Manage agree: each says or does what the plan of the same state says.

Three operators start from the same state of record and account. One only observes, one assumes the effect of
every action, and one executes the plan over a fake Google Cloud. What only a reply reveals is left out: an
undelete that is refused, and an account that appears between the read and the create.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from cloudrun_identity.api import (
    AccountIntent,
    AccountLoss,
    DeletionProtection,
    IdentityDeletionPolicy,
    LedgerAccount,
    Origin,
    Reason,
    WhenDeleted,
    WhenDisabled,
    WhenReplaced,
)
from cloudrun_identity.controllers.cloud_run_identity.account_records import creating, lost
from cloudrun_identity.controllers.cloud_run_identity.actions import ForgetAccount
from cloudrun_identity.controllers.cloud_run_identity.controller import IdentityWant
from cloudrun_identity.controllers.cloud_run_identity.propagation import GOOD_READS
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.reconcile.interfaces import Executed
from cloudrun_identity.reconcile.outcomes import InSync, Outcome, Paused, Refused, Waiting
from cloudrun_identity.reconcile.progress import Progress, carry_out
from cloudrun_identity.reconcile.steps import Action, ReleaseGrants
from tests.unit.controllers.cluster_state import EMAIL, admitted, identity, project, record

from .account_bench import NOON, OWNER, AccountBench

RECONCILES = 8
"""Enough for the good reads of an account, and for what follows them."""

SETTLED = record(origin=Origin.CREATED, unique_ids=("111",))
TEXT = {"display_name": "Till", "description": f"CloudRunIdentity {OWNER}, u-checkout"}


def _creating(former: LedgerAccount | None) -> LedgerAccount:
    return creating(AccountBench().want(displayName="Till").account, former, NOON)


RECORDS: dict[str, LedgerAccount | None] = {
    "none": None,
    "of another object": record(owner="payments/other"),
    "creating": _creating(None),
    "recreating": _creating(SETTLED),
    "settled": SETTLED,
    "adopted": SETTLED.replace(origin=Origin.ADOPTED),
    "disabled": SETTLED.replace(disabled=True),
    "fresh": SETTLED.replace(appeared_time=NOON),
    "undeleting": SETTLED.replace(intent=AccountIntent.UNDELETE, appeared_time=NOON),
    "deleted": lost(SETTLED, AccountLoss.DELETED),
    "replaced": lost(SETTLED, AccountLoss.REPLACED),
    "disabled before the deletion": SETTLED.replace(disabled=True, disabled_time=NOON - timedelta(minutes=4)),
}

ACCOUNTS: dict[str, Callable[[AccountBench], object]] = {
    "missing": lambda bench: None,
    "deleted": lambda bench: bench.google.deleted.update({"111": _deleted(bench)}),
    "as declared": lambda bench: bench.google.put(EMAIL, **TEXT),
    "renamed": lambda bench: bench.google.put(EMAIL, display_name="theirs"),
    "disabled": lambda bench: bench.google.put(EMAIL, **TEXT, disabled=True),
    "replaced": lambda bench: bench.google.put(EMAIL, "999", display_name="theirs"),
}

ADOPTIONS = [("Fail", False), ("Adopt", False), ("Adopt", True)]
"""The field of the spec, and whether the guardrails admit the adoption."""


def _deleted(bench: AccountBench) -> ServiceAccount:
    """Return the account as the operator left it: a deleted one cannot be read."""
    found = bench.own_record()
    bench.google.put(EMAIL, **TEXT, disabled=found is not None and found.disabled)
    return bench.google.existing.pop(EMAIL)


@dataclass(frozen=True)
class Case:
    """A state of record and account, and an identity."""

    record: str
    account: str
    adoptable: bool
    spec: dict[str, Any]
    in_use: bool = False
    forced: bool = False
    full: bool = False
    """True if the project has as many accounts as its guardrails permit."""

    def bench(self) -> AccountBench:
        """An operator that finds the state."""
        bench = AccountBench()
        found = RECORDS[self.record]
        if found:
            bench.ledgers.keep(found)
        ACCOUNTS[self.account](bench)
        if self.in_use:
            bench.run.services = {("europe-west1", "web"): EMAIL}
        if self.full:
            bench.google.put(EMAIL.replace("checkout", "ops"))
        return bench

    def want(self, bench: AccountBench) -> IdentityWant:
        guardrails: dict[str, Any] = {"adoptableAccounts": admitted([EMAIL])} if self.adoptable else {}
        if self.full:
            guardrails["maxAccounts"] = 1
        return bench.want(project(guardrails=guardrails), **self.spec)


@dataclass
class Executor:
    """Executes or assumes actions, and keeps them."""

    assumes: bool = False
    actions: list[Action] = field(default_factory=list)

    def acts_on(self, obj: object, allowed: object) -> bool:
        return True

    async def execute(self, resource: Any, obj: Any, action: Any, want: Any, seen: Any) -> Executed[Any]:
        self.actions.append(action)
        if self.assumes:
            return Executed(await resource.assume(action, want, seen))
        executed: Executed[Any] = await resource.execute(action, want, seen)
        return executed

    @property
    def changes(self) -> list[str]:
        """The differences that the actions remove, each once."""
        return list(dict.fromkeys(str(change) for action in self.actions for change in action.changes))


async def released(*, abandon: bool, ends: str = "") -> Outcome:
    return await AccountBench().releases(abandon=abandon)


async def reconcile(bench: AccountBench, want: IdentityWant, executor: Any) -> Progress[Any]:
    seen = await bench.controller.observe(want, 0.0)
    return await carry_out(
        bench.controller, executor, want.obj, want, seen, release=released, now=bench.wall_clock
    )


async def manage(case: Case) -> tuple[Outcome, Outcome, list[str], AccountBench]:
    """Reconcile until nothing propagates any more; return the first and the last outcome and the changes."""
    bench, executor = case.bench(), Executor()
    outcomes: list[Outcome] = []
    for _ in range(RECONCILES):
        outcomes.append((await reconcile(bench, case.want(bench), executor)).outcome)
        if not isinstance(outcomes[-1], Waiting):
            break
    return outcomes[0], outcomes[-1], executor.changes, bench


async def observe(case: Case) -> tuple[Progress[Any], AccountBench]:
    """Return what Observe reports."""
    bench = case.bench()
    want = case.want(bench)
    seen = await bench.controller.observe(want, 0.0)
    return Progress.forecast(bench.controller.plan(want, seen, bench.wall_clock()), seen), bench


async def dry_run(case: Case) -> tuple[Outcome, list[str], AccountBench]:
    """Return the outcome and the changes of two rounds of a dry run."""
    bench, executor = case.bench(), Executor(assumes=True)
    await reconcile(bench, case.want(bench), executor)
    outcome = (await reconcile(bench, case.want(bench), executor)).outcome
    return outcome, executor.changes, bench


def cases(found: str, account: str) -> Iterator[Case]:
    """Return a case for every combination of the options that matter in a state."""
    adoptions = ADOPTIONS if found in ("none", "creating") else ADOPTIONS[:1]
    for disabled, (adoption, adoptable), when_deleted, when_disabled, when_replaced in product(
        (False, True), adoptions, WhenDeleted, WhenDisabled, WhenReplaced
    ):
        if account == "missing" and when_deleted is WhenDeleted.UNDELETE:
            continue  # only the reply reveals that the account cannot be undeleted
        spec = {
            "displayName": "Till",
            "disabled": disabled,
            "adoption": adoption,
            "whenDeleted": when_deleted,
            "whenDisabled": when_disabled,
            "whenReplaced": when_replaced,
        }
        yield Case(found, account, adoptable, spec)


def deletions(found: str, account: str) -> Iterator[Case]:
    """Return a case for every combination of the options that matter for a deletion."""
    for policy, protection, period, in_use, forced in product(
        IdentityDeletionPolicy, DeletionProtection, ("0s", "3m", "5m"), (False, True), (False, True)
    ):
        spec = {"deletionPolicy": policy, "deletionProtection": protection, "disableBeforeDelete": period}
        yield Case(found, account, adoptable=False, spec=spec, in_use=in_use, forced=forced)


@pytest.mark.parametrize("found", RECORDS)
@pytest.mark.parametrize("account", ACCOUNTS)
async def test_observe_and_dry_run_show_what_manage_does(found: str, account: str) -> None:
    for case in cases(found, account):
        forecast, observed = await observe(case)
        first, last, changes, _ = await manage(case)
        assert observed.writes() == []
        assert observed.ledgers.history == []
        if forecast.outcome != first:  # equal if Manage takes no action: it waits, refuses or leaves
            assert isinstance(forecast.outcome, Paused)
            assert forecast.outcome.message.split("; ") == changes

        assumed, assumed_changes, assuming = await dry_run(case)
        assert assuming.writes() == []
        if isinstance(assumed, Waiting):
            assert assumed.reason is Reason.PROPAGATION_PENDING, "a change of before propagates still"
        else:
            assert (assumed, assumed_changes) == (last, changes)


@pytest.mark.parametrize("found", RECORDS)
@pytest.mark.parametrize("account", ACCOUNTS)
async def test_deletion_does_what_its_plan_says(found: str, account: str) -> None:
    for case in deletions(found, account):
        bench, executor = case.bench(), Executor()
        obj = identity(**case.spec)
        want = bench.deletion_want(obj, forced=case.forced)
        if want is None:
            continue
        seen = await bench.controller.observe(want, 0.0)
        plan = bench.controller.plan(want, seen, bench.wall_clock())
        progress = await carry_out(
            bench.controller, executor, obj, want, seen, release=released, now=bench.wall_clock
        )
        planned = [each for each in plan.actions if not isinstance(each, ReleaseGrants)]
        if progress.seen.account.not_found:  # only the reply reveals that the account is not found
            planned = [each for each in planned if not isinstance(each, ForgetAccount)]
            assert isinstance(progress.outcome, Waiting)
        else:
            assert progress.outcome == plan.outcome
        assert executor.actions == planned
        if isinstance(progress.outcome, InSync):
            assert bench.own_record() is None


# Cases that once differed


async def forecast_of(account: str, found: str = "none", **spec: Any) -> tuple[Outcome, Outcome]:
    """Return what Observe reports and how the first reconcile of Manage ends."""
    case = Case(found, account, adoptable=False, spec={"displayName": "Till", **spec})
    return (await observe(case))[0].outcome, (await manage(case))[0]


async def test_observe_reports_the_conflict_with_an_existing_account() -> None:
    observed, managed = await forecast_of("renamed")
    assert observed == managed
    assert isinstance(observed, Refused)
    assert observed.reason is Reason.CONFLICT
    assert "set spec.adoption to Adopt" in observed.message


@pytest.mark.parametrize(
    ("account", "spec"), [("deleted", {"whenDeleted": "Report"}), ("replaced", {"whenReplaced": "Report"})]
)
async def test_observe_reports_what_the_spec_leaves_as_it_is(account: str, spec: dict[str, str]) -> None:
    observed, managed = await forecast_of(account, "settled", **spec)
    assert observed == managed
    assert isinstance(observed, Paused | Refused)


async def test_observe_and_dry_run_wait_for_room_as_manage_does() -> None:
    case = Case("none", "missing", adoptable=False, spec={"displayName": "Till"}, full=True)
    observed = (await observe(case))[0].outcome
    managed, _, changes, bench = await manage(case)
    assumed, assumed_changes, _ = await dry_run(case)
    assert observed == managed == assumed
    assert isinstance(managed, Waiting)
    assert managed.reason is Reason.QUOTA_EXCEEDED
    assert (changes, assumed_changes, bench.writes()) == ([], [], [])


async def test_observed_account_in_creation_is_never_settled() -> None:
    case = Case("creating", "as declared", adoptable=False, spec={"displayName": "Till"})
    bench = case.bench()
    want = case.want(bench)
    for _ in range(GOOD_READS):
        seen = await bench.controller.observe(want, 0.0)
    assert Progress.forecast(bench.controller.plan(want, seen, NOON), seen).outcome == Paused(
        Reason.DRIFT_DETECTED, "account: absent → created"
    )
