"""Attribution of drift: which call caused a difference, as the change feed reported it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cloudrun_identity.api import ChangeCause
from cloudrun_identity.api.duration import go_duration
from cloudrun_identity.iam.audited_changes import Cause, DeltaAction
from cloudrun_identity.iam.grants import Grant

from .change_log import Causes
from .steps import Change

ADDED: Final = "was not declared"
REMOVED: Final = "was missing"


@dataclass(frozen=True, slots=True)
class Attribution:
    """The cause of one difference."""

    text: str
    """The difference with its cause, such as `roles/viewer for … was removed by user:dana@example.com …`."""
    cause: Cause


def attributions(
    causes: Causes,
    *,
    removed: Iterable[Grant],
    added: Iterable[Grant],
    changes: Iterable[Change] = (),
    resource: str = "",
) -> Mapping[str, Attribution]:
    """Return the known causes of differences, by the difference as `drift.drift_of` writes it.

    `changes` are the differences of the resource with the full name `resource`.
    """
    found: dict[str, Attribution] = {}
    for action, participle, said, grants in (
        (DeltaAction.REMOVE, "removed", REMOVED, removed),
        (DeltaAction.ADD, "added", ADDED, added),
    ):
        for grant in grants:
            if cause := causes.of_grant(grant, action):
                text = f"{grant} was {cause.described(participle)}"
                found[f"{grant} {said}"] = Attribution(text, cause)
    if resource and (cause := causes.of_resource(resource)):
        for change in changes:
            found[str(change)] = Attribution(f"{change}, {cause.described('changed')}", cause)
    return found


def attributed(drift: Iterable[str], known: Mapping[str, Attribution]) -> tuple[str, ...]:
    """Return the differences, each with its cause if that is known."""
    return tuple(known[each].text if each in known else each for each in drift)


def causes_of(drift: Iterable[str], known: Mapping[str, Attribution]) -> tuple[Cause, ...]:
    """Return the known causes of the differences, each once."""
    return tuple(dict.fromkeys(known[each].cause for each in drift if each in known))


def explained(drift: Iterable[str], known: Mapping[str, Attribution]) -> bool:
    """Return whether entries show the cause of each difference. An assumed cause may be another call."""
    return all(each in known and not known[each].cause.is_assumed for each in drift)


def cause_for_status(cause: Cause) -> ChangeCause:
    """Return a cause as statuses contain it."""
    return ChangeCause(
        method=cause.method,
        time=cause.time,
        principal=cause.principal or None,
        user_agent=cause.user_agent or None,
    )


def with_repair(changes: Iterable[str], caused: Iterable[datetime], repaired: datetime) -> tuple[str, ...]:
    """Return differences with the time from the first call that caused them to their repair.

    The clocks of Google Cloud and of this machine may differ by more than a fast repair takes.
    """
    first = min(caused, default=None)
    if first is None:
        return tuple(changes)
    took = max(repaired - first, timedelta())
    after = f"{took.total_seconds():.1f} s" if took < timedelta(minutes=2) else go_duration(took)
    return tuple(f"{change}, repaired after {after}" for change in changes)
