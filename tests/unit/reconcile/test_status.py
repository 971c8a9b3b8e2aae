"""Status of an object: the kstatus rules hold for each one, and its content."""

from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.api import (
    Condition,
    ConditionStatus,
    ConditionType,
    GrantState,
    GrantStatus,
    IAMBinding,
    IAMBindingStatus,
    Reason,
)
from cloudrun_identity.reconcile.conditions import Finding
from cloudrun_identity.reconcile.interfaces import Summary
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Outcome, Paused, Refused, Waiting
from cloudrun_identity.reconcile.status import Report, difference_of, status_agrees, status_of
from cloudrun_identity.reconcile.steps import Change

from .bindings import LATER, NOON, after, binding, with_status
from .kstatus import violations

reasons = st.sampled_from(Reason)
messages = st.sampled_from(["", "m"])
seconds = st.sampled_from([None, 1.0])
outcomes: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(InSync),
    st.builds(Paused, reasons, messages),
    st.builds(Waiting, reasons, messages, seconds),
    st.builds(Failing, reasons, messages, seconds, st.booleans()),
    st.builds(Refused, reasons, messages),
)
conditions = st.lists(
    st.builds(
        lambda type, status, generation: Condition(  # noqa: A006 - the name of the field
            type=type,
            status=status,
            reason="Reason",
            message="",
            last_transition_time=NOON,
            observed_generation=generation,
        ),
        st.sampled_from(ConditionType),
        st.sampled_from(ConditionStatus),
        st.integers(1, 3),
    ),
    max_size=6,
    unique_by=lambda condition: condition.type,
)
own_conditions = st.dictionaries(
    st.sampled_from([ConditionType.CROSS_PROJECT_READY, ConditionType.LEAST_PRIVILEGE]),
    st.builds(Finding, st.sampled_from(ConditionStatus), st.just("Reason")),
    max_size=2,
)
reports = st.builds(
    Report,
    outcome=outcomes,
    difference=st.sampled_from([None, "", "different"]),
    unresolved=st.sampled_from([None, "", "unresolved"]),
    project_id=st.sampled_from([None, "acme"]),
    summary=st.none() | own_conditions.map(lambda conditions: Summary({}, conditions)),
    drift=st.sampled_from([(), ("lost",)]),
)


# The kstatus rules


@given(reports, conditions, st.integers(3, 5), st.none() | st.just(LATER - timedelta(minutes=10)))
def test_every_status_follows_the_kstatus_rules(
    report: Report, before: list[Condition], generation: int, since: datetime | None
) -> None:
    status = IAMBindingStatus(conditions=tuple(before), observed_generation=3, waiting_since=since)
    obj = with_status(binding(generation), status)
    assert violations(status_of(obj, report, LATER), generation) == []


@given(st.lists(reports, min_size=2, max_size=4))
def test_status_history_follows_the_rules_and_dates_only_transitions(history: list[Report]) -> None:
    obj = binding(1)
    for generation, report in enumerate(history, start=1):
        before = {each.type: each for each in obj.status.conditions}
        metadata = obj.metadata.model_copy(update={"generation": generation})
        obj = obj.model_copy(update={"metadata": metadata})
        now = NOON + timedelta(minutes=generation)
        status = status_of(obj, report, now)
        assert violations(status, generation) == []
        for condition in status.conditions:
            known = before.get(condition.type)
            moved = known is None or known.last_transition_time != condition.last_transition_time
            assert moved is (known is None or known.status is not condition.status)
        obj = with_status(obj, status)


@given(reports, conditions)
def test_unchanged_report_produces_the_same_status(report: Report, before: list[Condition]) -> None:
    obj = with_status(binding(), IAMBindingStatus(conditions=tuple(before)))
    undrifted = Report(report.outcome, report.difference, report.unresolved, summary=report.summary)
    once = status_of(obj, undrifted, NOON)
    assert status_of(with_status(obj, once), undrifted, LATER) == once


# Content


def test_suspended_object_keeps_its_last_observation() -> None:
    ready = after(binding(2), InSync(), difference="", unresolved="", drift=("lost",), issues=("old image",))
    suspended = after(with_status(binding(3), ready), Paused(Reason.SUSPENDED, "m"), LATER, unresolved="")
    for kept in (ConditionType.IN_SYNC, ConditionType.REFERENCES_RESOLVED):
        assert suspended.condition(kept) == ready.condition(kept)
    assert suspended.drift == ready.drift
    assert suspended.issues == ("old image",)
    now_ready = suspended.condition(ConditionType.READY)
    assert now_ready
    assert (now_ready.status, now_ready.observed_generation) == (ConditionStatus.FALSE, 3)


def granted(*members: str, state: GrantState = GrantState.GRANTED) -> tuple[GrantStatus, ...]:
    return tuple(
        GrantStatus(target="Project acme", role="roles/run.invoker", member=member, state=state)
        for member in members
    )


def ready_message(status: IAMBindingStatus) -> str:
    ready = status.condition(ConditionType.READY)
    assert ready
    return ready.message


def test_ready_states_since_when_a_grant_may_not_be_in_effect() -> None:
    pending = after(binding(), InSync(), grants=granted("user:ann@x.org", state=GrantState.PENDING))
    first = after(with_status(binding(), pending), InSync(), grants=granted("user:ann@x.org"))
    again = after(with_status(binding(), first), InSync(), LATER, grants=granted("user:ann@x.org"))
    second = after(
        with_status(binding(), again), InSync(), LATER, grants=granted("user:ann@x.org", "user:bob@x.org")
    )
    fewer = after(with_status(binding(), second), InSync(), grants=granted("user:bob@x.org"))
    none = after(with_status(binding(), fewer), InSync(), grants=())

    dates = [each.last_granted_time for each in (pending, first, again, second, fewer, none)]
    assert dates == [None, NOON, NOON, LATER, LATER, None]
    assert ready_message(pending) == ready_message(none) == "Google Cloud is as declared"
    assert ready_message(first) == (
        "Google Cloud is as declared; grants of 2026-03-01T12:00:00Z take effect within seven minutes"
    )


def test_time_of_a_grant_beyond_the_listed_ones_is_recorded() -> None:
    many = [f"user:u{number}@x.org" for number in range(150)]
    before = after(binding(), InSync(), grants=granted(*many))
    same = after(with_status(binding(), before), InSync(), LATER, grants=granted(*many))
    more = after(with_status(binding(), same), InSync(), LATER, grants=granted(*many, "user:v@x.org"))
    assert [each.last_granted_time for each in (before, same, more)] == [NOON, NOON, LATER]


def test_reconcile_request_is_echoed() -> None:
    obj = binding()
    annotations = {"cloudrun-identity.dev/reconcile-requested-at": "now"}
    asked = obj.model_copy(update={"metadata": obj.metadata.model_copy(update={"annotations": annotations})})
    assert after(asked, InSync()).last_handled_reconcile_at == "now"
    assert after(obj, InSync()).last_handled_reconcile_at is None


def test_project_id_is_kept_by_reports_without_one() -> None:
    pinned = with_status(binding(), after(binding(), InSync(), project_id="acme"))
    assert after(pinned, Waiting(Reason.DEPENDENCY_NOT_FOUND, "m")).project_id == "acme"


def test_fields_of_the_kind_are_kept_without_a_summary() -> None:
    seen = with_status(binding(), after(binding(), InSync(), summary=Summary({"role": "roles/run.invoker"})))
    assert after(seen, Failing(Reason.API_UNAVAILABLE, "m")).role == "roles/run.invoker"
    assert after(seen, InSync(), summary=Summary({"role": None})).role is None


def test_grants_are_listed_counted_and_kept_while_unknown() -> None:
    grant = GrantStatus(target="Project acme", role="r", member="m", state=GrantState.PENDING)
    listed = after(binding(), Waiting(Reason.UPDATING, "m"), grants=(grant,) * 120)
    assert len(listed.grants) == 100
    assert listed.grant_counts
    assert listed.grant_counts.pending == 120
    unknown = after(with_status(binding(), listed), Failing(Reason.API_UNAVAILABLE, "m"))
    assert (unknown.grants, unknown.grant_counts) == (listed.grants, listed.grant_counts)
    none = after(with_status(binding(), listed), InSync(), grants=())
    assert (none.grants, none.grant_counts) == ((), None)


def test_texts_longer_than_the_schema_allows_are_cut() -> None:
    status = after(binding(), Refused(Reason.REJECTED, "x" * 100_000), issues=("y" * 10_000,) * 50)
    assert len(status.issues) == 16
    assert all(len(issue) <= 1024 for issue in status.issues)
    ready = status.condition(ConditionType.READY)
    assert ready
    assert len(ready.message) < 100_000


def showing(summary: Summary) -> IAMBinding:
    """Return a binding whose status shows the summary."""
    obj = binding()
    after = status_of(obj, Report(InSync(), summary=summary, issues=summary.issues), NOON)
    return obj.model_copy(update={"status": after})


def test_status_shows_a_summary_only_if_everything_is_equal() -> None:
    advice = {ConditionType.LEAST_PRIVILEGE: Finding(ConditionStatus.FALSE, "Advice", "Escalation")}
    summary = Summary({"target": "Project acme", "member_count": 2}, advice, ("x" * 300,))
    assert status_agrees(showing(summary), summary), "texts that were cut are the same texts"
    for other in (
        Summary({"target": "Project shop", "member_count": 2}, advice),
        Summary({}, {ConditionType.LEAST_PRIVILEGE: Finding(ConditionStatus.TRUE, "NoAdvice")}),
        Summary({}, {ConditionType.CROSS_PROJECT_READY: Finding(ConditionStatus.TRUE, "Allowed")}),
        Summary({}, issues=("something else",)),
        replace(summary, issues=()),
    ):
        assert not status_agrees(showing(summary), other)


def test_remaining_change_is_a_difference() -> None:
    change = Change("disabled", "true", "false")
    assert difference_of([change], (), ()) == str(change)
    assert difference_of((), (), ()) == ""
