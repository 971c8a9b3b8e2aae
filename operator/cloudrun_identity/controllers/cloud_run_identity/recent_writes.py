"""What we wrote to an account a moment ago, and Google may not show yet.

A read right after `:disable` may still show the account enabled. To take that for somebody else's doing would
count drift that never was, and write again what has been written.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from cloudrun_identity.gcp.service_accounts import ServiceAccount

STALE = 15.0
"""Seconds after a write of ours in which a read may show what was there before."""

_FIELDS = ("display_name", "description", "disabled")


@dataclass(frozen=True, slots=True)
class _Write:
    former: tuple[object, ...]
    current: object
    until: float


class RecentWrites:
    """Remembers, by account and field, what our writes replaced. A restart forgets it: a write too many."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives monotonic seconds."""
        self._clock = clock
        self._writes: dict[tuple[str, str], _Write] = {}

    def wrote(self, before: ServiceAccount, after: ServiceAccount) -> None:
        """We turned `before` into `after` just now."""
        now = self._clock()
        self._writes = {key: write for key, write in self._writes.items() if write.until > now}
        for field in _FIELDS:
            old, new = getattr(before, field), getattr(after, field)
            if old == new:
                continue
            key = (before.unique_id, field)
            earlier = self._writes[key].former if key in self._writes else ()
            self._writes[key] = _Write((*earlier, old), new, now + STALE)

    def seen_through(self, shown: ServiceAccount) -> ServiceAccount:
        """The account as it must be by now: what a write of ours replaced is taken for a stale read."""
        now = self._clock()
        for field in _FIELDS:
            write = self._writes.get((shown.unique_id, field))
            if write and write.until > now and getattr(shown, field) in write.former:
                shown = replace(shown, **{field: write.current})  # type: ignore[arg-type] # of its own field
        return shown
