"""Drift with its cause, as the change feed reported it."""

from datetime import UTC, datetime, timedelta

from cloudrun_identity.api import ChangeCause
from cloudrun_identity.iam.audited_changes import (
    AccountChange,
    AuditedChange,
    BindingDelta,
    Cause,
    DeltaAction,
    PolicyChange,
    WorkloadChange,
)
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.reconcile.attribution import attributed, attributions, explained, with_repair
from cloudrun_identity.reconcile.change_log import CHANGES, MAX_AGE, RESOURCES, ChangeLog, NoCauses
from cloudrun_identity.reconcile.drift import counted
from cloudrun_identity.reconcile.outcomes import InSync
from cloudrun_identity.reconcile.steps import Change

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
SHOP = Target.project("shop-1234")
ANN = Grant(SHOP, "roles/run.admin", "user:ann@example.com")
REMOVED = BindingDelta(DeltaAction.REMOVE, ANN.role, ANN.member)


def change_log(now: datetime = NOON + timedelta(minutes=1)) -> ChangeLog:
    return ChangeLog(lambda _: None, reports_actors=lambda _: True, wall_clock=lambda: now)


def change(
    *deltas: BindingDelta, subject: object = None, who: str = "dana", seconds: int = 0
) -> AuditedChange:
    cause = Cause("SetIamPolicy", NOON + timedelta(seconds=seconds), f"user:{who}@example.com", "gcloud/1")
    return AuditedChange(subject or PolicyChange(SHOP), cause, f"{who}@example.com", "", deltas)  # type: ignore[arg-type]


def test_cause_of_a_grant_is_the_last_call_that_removed_it() -> None:
    log = change_log()
    log.note(change(REMOVED, who="eve", seconds=1))
    log.note(change(REMOVED, who="dana", seconds=5))
    log.note(change(BindingDelta(DeltaAction.REMOVE, "roles/viewer", ANN.member), who="bob", seconds=9))
    cause = log.of_grant(ANN, DeltaAction.REMOVE)
    assert cause
    assert cause.principal == "user:dana@example.com"
    assert log.of_grant(ANN, DeltaAction.ADD) is None


def test_entry_without_differences_may_be_the_cause_of_any() -> None:
    log = change_log()
    log.note(change(who="eve"))
    cause = log.of_grant(ANN, DeltaAction.REMOVE)
    assert cause
    assert cause.is_assumed
    drift = (f"{ANN} was missing",)
    assert not explained(drift, attributions(log, removed=(ANN,), added=()))
    log.note(change(REMOVED, who="dana", seconds=5))
    assert explained(drift, attributions(log, removed=(ANN,), added=()))
    assert not explained((*drift, "another"), attributions(log, removed=(ANN,), added=()))


def test_old_change_is_no_cause_of_new_drift() -> None:
    log = change_log(NOON + MAX_AGE + timedelta(seconds=1))
    log.note(change(REMOVED))
    log.note(change(subject=WorkloadChange(SHOP)))
    assert log.of_grant(ANN, DeltaAction.REMOVE) is None
    assert log.of_resource(SHOP.full_name) is None


def test_late_entry_does_not_replace_a_newer_one() -> None:
    log = change_log()
    log.note(change(REMOVED, who="dana", seconds=5))
    log.note(change(REMOVED, who="eve", seconds=1))
    cause = log.of_grant(ANN, DeltaAction.REMOVE)
    assert cause
    assert cause.principal == "user:dana@example.com"


def test_account_and_its_keys_have_one_cause() -> None:
    log = change_log()
    email = "web@shop-1234.iam.gserviceaccount.com"
    log.note(change(subject=AccountChange("shop-1234", email, of_keys=True)))
    name = Target.service_account("shop-1234", email).full_name
    assert log.of_resource(name) == log.of_resource(f"{name}/keys") is not None
    assert log.of_resource(SHOP.full_name) is None


def test_log_is_bounded() -> None:
    log = change_log()
    for number in range(RESOURCES + 10):
        log.note(change(subject=WorkloadChange(Target.project(f"p{number}"))))
    assert log.of_resource(Target.project("p0").full_name) is None
    assert log.of_resource(Target.project(f"p{RESOURCES}").full_name)
    for seconds in range(3 * CHANGES):
        log.note(change(REMOVED, seconds=seconds))
    assert len(log._changes["policy", "shop-1234", SHOP.full_name]) == CHANGES


def test_drift_names_actor_program_and_time_and_its_repair() -> None:
    log = change_log()
    log.note(change(REMOVED))
    known = attributions(log, removed=(ANN,), added=())
    drift = counted(None, (f"{ANN} was missing",), InSync(), NOON + timedelta(seconds=2.1), known)
    assert drift
    assert drift.changes == (
        "roles/run.admin for user:ann@example.com on Project shop-1234 was removed by user:dana@example.com "
        "(gcloud) at 2026-11-03T12:00:00Z, repaired after 2.1 s",
    )
    assert drift.causes == (
        ChangeCause(
            method="SetIamPolicy", time=NOON, principal="user:dana@example.com", user_agent="gcloud/1"
        ),
    )


def test_changed_field_names_its_cause() -> None:
    log = change_log()
    workload = Target.project("shop-1234")
    log.note(change(subject=WorkloadChange(workload)))
    field = Change("disabled", "true", "false")
    known = attributions(log, removed=(), added=(), changes=(field,), resource=workload.full_name)
    assert attributed((str(field), "another"), known) == (
        "disabled: true → false, changed by user:dana@example.com (gcloud) at 2026-11-03T12:00:00Z",
        "another",
    )


def test_drift_without_an_entry_is_as_without_a_feed() -> None:
    known = attributions(NoCauses(), removed=(ANN,), added=(), changes=(), resource=SHOP.full_name)
    assert known == {}
    assert attributed((f"{ANN} was missing",), known) == (f"{ANN} was missing",)


def test_long_repair_is_shown_in_minutes_and_clocks_may_differ() -> None:
    assert with_repair(("a",), (NOON,), NOON + timedelta(minutes=5)) == ("a, repaired after 5m",)
    assert with_repair(("a",), (NOON,), NOON - timedelta(seconds=1)) == ("a, repaired after 0.0 s",)
    assert with_repair(("a",), (), NOON) == ("a",)
