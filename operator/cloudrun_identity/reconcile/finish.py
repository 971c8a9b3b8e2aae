"""How a pass ends: its status is written, what changed is told, and when to look again is said."""

import asyncio
from dataclasses import replace

from cloudrun_identity.api import Reason, ReconciledResource
from cloudrun_identity.kube.resources import Object

from .cluster_state import ObjectKey, ledger_owner
from .dependencies import Dependencies
from .outcomes import Failing, InSync, Outcome
from .requeue import Requeue, RequeueAfter, Rest, requeue_after
from .status import Report, status_object, status_of

DENIED_FOR_GOOD = 600.0
"""Seconds after which a missing permission is taken for something that a person must mend."""


class Finisher:
    """Ends passes, and remembers from one to the next what no status says."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps
        self._denied_since: dict[ObjectKey, float] = {}
        self._unreported: dict[ObjectKey, tuple[str, ...]] = {}

    async def finish(self, obj: ReconciledResource, raw: Object, report: Report) -> tuple[Requeue, str]:
        """Write the status, tell of transitions, and say when to look again.

        Drift is found once, by the pass that repairs it: what no status has told yet the next one tells.
        """
        key = ObjectKey.of(obj)
        stalled = self._is_denied_for_good(key, report.outcome)
        report = replace(report, drift=tuple(dict.fromkeys((*self._unreported.get(key, ()), *report.drift))))
        if report.drift:
            self._unreported[key] = report.drift
        after = status_of(obj, report, self._deps.wall_clock(), stalled=stalled)
        raw, status = self._newest(obj, raw), status_object(after)
        stored = await self._deps.kube.write_status(raw, status)
        word = _word(report.outcome)
        if stored is None:
            return self.gone(obj, raw)
        self._deps.store.absorb(stored)
        if stored.get("status", {}) != status:
            return RequeueAfter(), word  # it was edited under our hands, and may be again
        self._unreported.pop(key, None)
        self._deps.event_reporter.report_changes(raw, obj.status, after, report.drift)
        return (Rest() if stalled else requeue_after(report.outcome, report.others)), word

    def gone(self, obj: ReconciledResource, raw: Object) -> tuple[Requeue, str]:
        """The object ended unseen: no watch will tell, because it may never have seen it."""
        self._deps.store.drop(raw)
        self._deps.syncers.forget(ledger_owner(obj))
        self.forget(ObjectKey.of(obj))
        return Rest(), "gone"

    def forget(self, key: ObjectKey) -> None:
        """Remember nothing of an object that is gone."""
        self._denied_since.pop(key, None)
        self._unreported.pop(key, None)

    def _newest(self, obj: ReconciledResource, raw: Object) -> Object:
        """The object as it is stored now, unless it was edited: the pass may have written its status."""
        known = self._deps.store.raw(ObjectKey.of(obj))
        edited = known is None or any(
            known["metadata"].get(field) != raw["metadata"].get(field) for field in ("uid", "generation")
        )
        return raw if known is None or edited else known

    def _is_denied_for_good(self, key: ObjectKey, outcome: Outcome) -> bool:
        if not isinstance(outcome, Failing) or outcome.reason is not Reason.PERMISSION_DENIED:
            self._denied_since.pop(key, None)
            return False
        now = asyncio.get_running_loop().time()
        return now - self._denied_since.setdefault(key, now) >= DENIED_FOR_GOOD


def _word(outcome: Outcome) -> str:
    return "insync" if isinstance(outcome, InSync) else outcome.reason
