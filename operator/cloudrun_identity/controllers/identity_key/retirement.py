"""The decision when a former key is disabled.

A former key works for `rotation.overlap` after the Secret got the next one. With `rotation.requireUnused`, it
then works until Google has seen no use of it for two full days since, in Policy Analyzer and in Monitoring.
It works for `rotation.maxOverlap` at most. Without an overlap, it is disabled at once in any case.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, assert_never

from cloudrun_identity.api import KeyState, LedgerKey
from cloudrun_identity.gcp.last_use import INTERVAL
from cloudrun_identity.gcp.observed_uses import Evidence, Observation, Unknown
from cloudrun_identity.reconcile.advice import advised

from .key_state import KeyEvidence, Rotation, disable_due

UNUSED_FOR: Final = timedelta(days=2)
"""Time without a use after which a former key counts as unused."""

MAX_AGE: Final = 2 * INTERVAL
"""Age of an answer of Monitoring up to which it shows that a key is not in use now."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """Reason to assume that a former key may be in use."""

    text: str
    is_warning: bool = True
    """False if only the delay of the source is the cause, as after each rotation."""


@dataclass(frozen=True, slots=True)
class Retirement:
    """The decision about one former key."""

    is_due: bool
    """True if the key is disabled now."""
    next_look: datetime
    """Time at which to decide again, if the key is not disabled now."""
    latest: datetime
    """Time at which the key is disabled, whatever Google reports."""
    doubts: tuple[Doubt, ...] = ()
    """Reasons to assume that the key may be in use, if `rotation.overlap` is over."""

    @property
    def is_warning(self) -> bool:
        """True if the key is kept for another cause than the delay of a source."""
        return not self.is_due and any(each.is_warning for each in self.doubts)

    @property
    def why(self) -> str:
        """The doubts as a clause."""
        return "; ".join(each.text for each in self.doubts)


def retirement(
    record: LedgerKey, rotation: Rotation, evidence: KeyEvidence, now: datetime
) -> Retirement | None:
    """Decide about a former key; None for the key in use, and for one that was never in use."""
    superseded, latest = record.superseded_time, disable_due(record, rotation)
    if superseded is None or latest is None:
        return None
    if not rotation.depends_on_use:
        return Retirement(now >= latest, latest, latest)
    earliest = min(superseded + max(rotation.overlap, UNUSED_FOR), latest)
    if now < superseded + rotation.overlap:
        return Retirement(is_due=False, next_look=earliest, latest=latest)
    doubts = tuple(_doubts(record.id, superseded, evidence, now))
    is_due = now >= latest or (now >= earliest and not doubts)
    return Retirement(is_due, min(latest, max(earliest, now + INTERVAL)), latest, doubts)


def needs_evidence(record: LedgerKey, rotation: Rotation, now: datetime) -> bool:
    """Return whether the decision about a key depends on its last use now."""
    superseded = record.superseded_time
    if not rotation.depends_on_use or record.state is not KeyState.OVERLAP or superseded is None:
        return False
    return now >= superseded + rotation.overlap


def report(record: LedgerKey, decided: Retirement) -> str:
    """Return the remark about a former key that works for longer than the overlap; empty if it does not."""
    if decided.is_due or not decided.doubts:
        return ""
    return (
        f"Key {record.id} works for longer than spec.rotation.overlap, and is disabled at "
        f"{_time(decided.latest)} at the latest (spec.rotation.maxOverlap): {decided.why}"
    )


def _doubts(key_id: str, superseded: datetime, evidence: KeyEvidence, now: datetime) -> Iterator[Doubt]:
    """Yield why each source does not show that the key is unused."""
    if evidence.remedy:
        yield Doubt(evidence.remedy)
        return
    yield from _doubts_about("Policy Analyzer", key_id, superseded, evidence.analyzer)
    match evidence.monitoring:
        case Observation() as seen if now - seen.read > MAX_AGE:
            yield Doubt(f"Monitoring was last read at {_time(seen.read)}")
        case monitoring:
            yield from _doubts_about("Monitoring", key_id, superseded, monitoring)


def _doubts_about(source: str, key_id: str, superseded: datetime, evidence: Evidence) -> Iterator[Doubt]:
    """Yield why a source does not show two full days without a use of the key."""
    match evidence:
        case Unknown(is_pending=True):
            yield Doubt(f"{source} was not read yet", is_warning=False)
        case Unknown(error):
            if error is None:
                yield Doubt(f"{source} reports no use of any key of the project, which is no evidence")
            else:
                yield Doubt(f"{source} cannot be read: {advised(error)}")
        case Observation():
            if doubt := _doubt(source, evidence, key_id, superseded):
                yield doubt
        case _:
            assert_never(evidence)


# The texts have dates only, so that an hourly read does not change a status each time.
def _doubt(source: str, seen: Observation, key_id: str, superseded: datetime) -> Doubt | None:
    use, until = seen.uses.get(key_id), seen.observed_until(key_id)
    if use is None and not seen.is_complete:
        return Doubt(f"the answer of {source} is too long to be read as a whole")
    unused_since = max(superseded, use.ended if use else seen.since)
    if until - unused_since >= UNUSED_FOR:
        return None
    if use is not None and use.ended > superseded + UNUSED_FOR:
        return Doubt(f"{source} shows a use on or after {use.began:%Y-%m-%d}")
    return Doubt(f"{source} does not cover two days yet, only until {until:%Y-%m-%d}", is_warning=False)


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"
