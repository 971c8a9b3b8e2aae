"""How a pass ends: its status is written, what changed is told, and when to look again is said."""

import asyncio
from dataclasses import replace

from cloudrun_identity.api import Reason, ReconciledResource
from cloudrun_identity.controllers.outcomes import Failing, InSync, Outcome
from cloudrun_identity.controllers.world import Key, claimant
from cloudrun_identity.kube.resources import Object

from .following import Again, Next, Rest, following
from .report import Report, status_object, status_of
from .tools import Tools

DENIED_FOR_GOOD = 600.0
"""Seconds after which a missing permission is taken for something that a person must mend."""


class Conclusion:
    """Ends passes, and remembers from one to the next what no status says."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._denied_since: dict[Key, float] = {}
        self._untold: dict[Key, tuple[str, ...]] = {}

    async def conclude(self, obj: ReconciledResource, raw: Object, report: Report) -> tuple[Next, str]:
        """Write the status, tell of transitions, and say when to look again.

        Drift is found once, by the pass that repairs it: what no status has told yet the next one tells.
        """
        key = Key.of(obj)
        stalled = self._is_denied_for_good(key, report.outcome)
        report = replace(report, drift=tuple(dict.fromkeys((*self._untold.get(key, ()), *report.drift))))
        if report.drift:
            self._untold[key] = report.drift
        after = status_of(obj, report, self._tools.wall_clock(), stalled=stalled)
        raw, status = self._newest(obj, raw), status_object(after)
        stored = await self._tools.kube.write_status(raw, status)
        word = _word(report.outcome)
        if stored is None:
            return self.gone(obj, raw)
        self._tools.store.absorb(stored)
        if stored.get("status", {}) != status:
            return Again(), word  # it was edited under our hands, and may be again
        self._untold.pop(key, None)
        self._tools.announcer.announce(raw, obj.status, after, report.drift)
        return (Rest() if stalled else following(report.outcome, report.others)), word

    def gone(self, obj: ReconciledResource, raw: Object) -> tuple[Next, str]:
        """The object ended unseen: no watch will tell, because it may never have seen it."""
        self._tools.store.drop(raw)
        self._tools.lanes.forget(claimant(obj))
        self.forget(Key.of(obj))
        return Rest(), "gone"

    def forget(self, key: Key) -> None:
        """Remember nothing of an object that is gone."""
        self._denied_since.pop(key, None)
        self._untold.pop(key, None)

    def _newest(self, obj: ReconciledResource, raw: Object) -> Object:
        """The object as it is stored now, unless it was edited: the pass may have written its status."""
        known = self._tools.store.raw(Key.of(obj))
        edited = known is None or any(
            known["metadata"].get(field) != raw["metadata"].get(field) for field in ("uid", "generation")
        )
        return raw if known is None or edited else known

    def _is_denied_for_good(self, key: Key, outcome: Outcome) -> bool:
        if not isinstance(outcome, Failing) or outcome.reason is not Reason.PERMISSION_DENIED:
            self._denied_since.pop(key, None)
            return False
        now = asyncio.get_running_loop().time()
        return now - self._denied_since.setdefault(key, now) >= DENIED_FOR_GOOD


def _word(outcome: Outcome) -> str:
    return "insync" if isinstance(outcome, InSync) else outcome.reason
