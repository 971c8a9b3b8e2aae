"""Temporary grants of one object: when to look at them again, and what its status and its Events say.

The policy engine removes a grant that is over. This module requeues the object at that time, and one hour
before. It also syncs the policies of an object that cannot declare its grants at that time, for example
because it is suspended.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from cloudrun_identity.api import (
    ConditionStatus,
    ConditionType,
    GrantCounts,
    GrantState,
    GrantStatus,
    LedgerTemporaryGrant,
    ProjectScopedStatus,
    Reason,
    ReconciledResource,
    ReconciledStatus,
)
from cloudrun_identity.iam.expiry import timestamp
from cloudrun_identity.iam.grants import Grant

from .cluster_state import ledger_owner
from .conditions import Finding
from .grants.terms import EndedGrant
from .outcomes import InSync, Outcome
from .preconditions import is_halted

if TYPE_CHECKING:
    from .dependencies import Dependencies

WARNED_BEFORE: Final = timedelta(hours=1)
"""Time before the end of a grant at which the operator warns of it."""

OVER_RECHECK: Final = 15.0
"""Seconds until the operator tries again to remove a grant that is over."""

OVER_BEFORE_GRANTED: Final = "ExpiredBeforeGranted"
"""Reason of the Event for a grant that was over before it was made."""

_NAMED: Final = 20  # grants that a message names before it counts the rest
_MARGIN: Final = 0.01  # seconds after the end, because timers may fire early by the resolution of their clock


def next_look(deps: "Dependencies", obj: ReconciledResource) -> float | None:
    """Return the seconds until a grant of the object ends, or is warned of; None without such a grant."""
    now = deps.wall_clock()
    times: list[float] = []
    for record, halts in _records(deps, obj):
        left = record.expires_at - now
        ahead = (each for each in (left - WARNED_BEFORE, left) if each > timedelta())
        times += [each.total_seconds() + _MARGIN for each in ahead]
        if left <= timedelta() and not halts:
            times.append(OVER_RECHECK)
    return min(times, default=None)


async def release_over(deps: "Dependencies", obj: ReconciledResource) -> None:
    """Remove the grants that are over, for an object that has not declared its grants in this reconcile.

    An object that is suspended, refused or only observed cannot extend a temporary grant.
    """
    owner, now = ledger_owner(obj), deps.wall_clock()
    is_over = any(record.expires_at <= now for record, halts in _records(deps, obj) if not halts)
    if is_over and not deps.store.invalid_ledger_of(owner.owner_key):
        await deps.syncers.sync(owner)


def ended_meanwhile(deps: "Dependencies", obj: ReconciledResource) -> tuple[GrantStatus, ...] | None:
    """Return the grants for the status of an object that has not declared its grants in this reconcile.

    None if no grant that the status shows as present has ended.
    """
    owner = ledger_owner(obj)
    if not isinstance(obj.status, ProjectScopedStatus) or deps.store.invalid_ledger_of(owner.owner_key):
        return None
    held = [
        grant
        for target in deps.syncers.held_by(owner)
        for grant in deps.store.ledger(target).held_by(owner.owner_key)
    ]
    return mark_ended(obj.status, held, deps.wall_clock())


def mark_ended(
    status: ProjectScopedStatus, held: Iterable[Grant], now: datetime
) -> tuple[GrantStatus, ...] | None:
    """Return the grants of a status, with those marked as Expired that are over and that no ledger records.

    None if there is none. A status that does not show all grants stays as it is.
    """
    if GrantCounts.of(each.state for each in status.grants) != status.grant_counts:
        return None
    recorded = {(str(each.target), each.role, each.member) for each in held}
    marked = tuple(
        each.model_copy(update={"state": GrantState.EXPIRED, "reason": Reason.EXPIRED})
        if each.state in _PRESENT
        and each.expires_at is not None
        and each.expires_at <= now
        and (each.target, each.role, each.member) not in recorded
        else each
        for each in status.grants
    )
    return marked if marked != status.grants else None


def _records(deps: "Dependencies", obj: ReconciledResource) -> Iterator[tuple[LedgerTemporaryGrant, bool]]:
    """Yield the records of temporary grants that are made, and whether their project halts the operator."""
    owner = ledger_owner(obj)
    for target in deps.syncers.held_by(owner):
        project = deps.store.project_on(target.project_id)
        ledger, halts = deps.store.ledger(target), project is None or is_halted(project)
        for record in ledger.temporary_held_by(owner.owner_key):
            yield record, halts


def with_ended(outcome: Outcome, grants: Iterable[GrantStatus], *, is_empty: bool) -> Outcome:
    """Return the outcome of an object, with the number of its grants that are over.

    `is_empty` is true if the object declares nothing but grants. It is then Expired once all are over.
    """
    states = [each.state for each in grants]
    ended = states.count(GrantState.EXPIRED)
    if not isinstance(outcome, InSync) or not ended:
        return outcome
    return replace(outcome, ended=ended, is_expired=is_empty and ended == len(states))


def over_before_granted(ended: Iterable[EndedGrant]) -> Mapping[str, str]:
    """Return what to say about grants that were over before they were made, by the reason of the Event."""
    messages = [each.message for each in ended if not each.was_granted]
    return {OVER_BEFORE_GRANTED: "; ".join(_shortened(messages))} if messages else {}


def next_end(grants: Iterable[GrantStatus], now: datetime) -> datetime | None:
    """Return the next time at which a present grant ends; None without a temporary grant."""
    ends = (each.expires_at for each in grants if each.state is GrantState.GRANTED)
    return min((end for end in ends if end and end > now), default=None)


def expiring(
    before: ReconciledStatus, grants: Iterable[GrantStatus] | None, now: datetime
) -> Mapping[ConditionType, Finding]:
    """Return the condition Expiring of an object with temporary grants; that of the status for None."""
    if grants is None:
        known = before.condition(ConditionType.EXPIRING)
        return {ConditionType.EXPIRING: Finding(known.status, known.reason, known.message)} if known else {}
    temporary = [each for each in grants if each.expires_at]
    if not temporary:
        return {}
    soon = sorted(
        (each.expires_at, _text(each))
        for each in temporary
        if each.state is GrantState.GRANTED and each.expires_at and each.expires_at - WARNED_BEFORE <= now
    )
    if soon:
        texts = _shortened([f"{text} ends at {timestamp(end)}" for end, text in soon if end])
        finding = Finding(ConditionStatus.TRUE, "EndsWithinAnHour", "; ".join(texts))
    elif end := next_end(temporary, now):
        finding = Finding(ConditionStatus.FALSE, "NotDue", f"The next grant ends at {timestamp(end)}")
    else:
        finding = Finding(ConditionStatus.FALSE, "NothingGranted", "No temporary grant is present")
    return {ConditionType.EXPIRING: finding}


def newly_expiring(before: ReconciledStatus, after: ReconciledStatus) -> str:
    """Return the warning of grants that end within the hour and were not warned of; empty without one."""
    known, found = before.condition(ConditionType.EXPIRING), after.condition(ConditionType.EXPIRING)
    if found is None or found.status is not ConditionStatus.TRUE:
        return ""
    said = known.message if known and known.status is ConditionStatus.TRUE else ""
    new = [each for each in found.message.split("; ") if each not in said.split("; ")]
    if not new:
        return ""
    return f"{'; '.join(new)}. To keep access, set a later expiresAt or a longer duration"


def newly_ended(before: ReconciledStatus, after: ReconciledStatus) -> str:
    """Return the grants that ended since the last reconcile; empty if there is none.

    The policy may still contain such a grant: for another object, or because it existed before this one.
    """
    if not isinstance(before, ProjectScopedStatus) or not isinstance(after, ProjectScopedStatus):
        return ""
    present = {_text(each) for each in before.grants if each.state in _PRESENT}
    ended = [
        f"{_text(each)} ended at {timestamp(each.expires_at)}"
        for each in after.grants
        if each.state is GrantState.EXPIRED and each.expires_at and _text(each) in present
    ]
    return "; ".join(_shortened(ended))


_PRESENT: Final = (GrantState.GRANTED, GrantState.RELEASING)


def _text(grant: GrantStatus) -> str:
    when = f" if {grant.condition}" if grant.condition else ""
    return f"{grant.role} for {grant.member} on {grant.target}{when}"


def _shortened(texts: list[str]) -> list[str]:
    hidden = len(texts) - _NAMED
    return [*texts[:_NAMED], f"and {hidden} more"] if hidden > 0 else texts
