"""Finish a reconcile: write the status, report transitions, and decide when to reconcile again."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TypeAlias

from cloudrun_identity.api import ReconciledResource
from cloudrun_identity.kube.resources import Object

from .attribution import Attribution, attributed, explained
from .change_log import MAX_AGE
from .cluster_state import ObjectKey, ledger_owner
from .dependencies import Dependencies
from .expirations import ended_meanwhile, next_look
from .outcomes import InSync, Paused
from .progress_deadline import stalls_in
from .repeated_drift import DriftHistory
from .requeue import NoRequeue, Requeue, RequeueAfter, no_later_than, requeue_after
from .status import Report, status_object, status_of

_log = logging.getLogger(__name__)

ReportObserver: TypeAlias = Callable[[ReconciledResource, Report], None]
"""Called with an object and the report of its reconcile."""


def ignore_report(obj: ReconciledResource, report: Report) -> None:
    """Observe nothing."""


class Finisher:
    """Finish reconciles, and remember between them what no status holds."""

    def __init__(
        self,
        deps: Dependencies,
        drift_history: DriftHistory,
        on_report: ReportObserver = ignore_report,
    ) -> None:
        """`drift_history` receives the drift that is repaired."""
        self._deps = deps
        self._on_report = on_report
        self._drift_history = drift_history
        self._unreported: dict[ObjectKey, tuple[tuple[str, ...], Mapping[str, Attribution]]] = {}
        self._explained: dict[ObjectKey, frozenset[tuple[str, datetime]]] = {}

    async def finish(self, obj: ReconciledResource, raw: Object, report: Report) -> tuple[Requeue, str]:
        """Write the status; return when to reconcile again, and a word for the metrics.

        The reconcile that repairs drift is the only one that sees it. Drift that could not be written to the
        status is therefore kept for the next reconcile.
        """
        self._on_report(obj, report)
        key, now = ObjectKey.of(obj), self._deps.wall_clock()
        if (known := self._deps.store.stored(key)) and known.is_removed:
            return self._finish_removed(key, report)
        unreported, causes = self._unreported.get(key, ((), {}))
        report = replace(
            report,
            drift=tuple(dict.fromkeys((*unreported, *report.drift))),
            attributions=self._unused(key, {**causes, **report.attributions}),
        )
        if report.drift:
            self._unreported[key] = report.drift, report.attributions
        if report.grants is None:
            report = replace(report, grants=ended_meanwhile(self._deps, obj))
        after = status_of(obj, report, now)
        raw, status = self.newest(obj, raw), status_object(after)
        stored = await self._deps.kube.write_status(raw, status)
        word = "insync" if isinstance(report.outcome, InSync) else report.outcome.reason
        if stored is None:
            return self.gone(obj, raw)
        self._deps.store.absorb(stored)
        if stored.get("status", {}) != status:
            return RequeueAfter(), word  # a user edited the object during the reconcile
        self._unreported.pop(key, None)
        drift = attributed(report.drift, report.attributions)
        self._deps.event_reporter.report_changes(raw, obj.status, after, drift)
        if report.project_id and not explained(report.drift, report.attributions):
            self._deps.causes.unexplained(report.project_id)
        self._use(key, report, now)
        if report.project_id and not isinstance(report.outcome, Paused):
            self._drift_history.add(report.project_id, key, report.drift)
        if report.summary:
            self._deps.event_reporter.report_notices(raw, obj.status, report.summary.notices)
        self._deps.event_reporter.report_notices(raw, obj.status, report.notices)
        left = stalls_in(obj, report.outcome, after.waiting_since, now)
        requeue = requeue_after(report.outcome, report.others, left)
        return no_later_than(requeue, next_look(self._deps, obj)), word

    def _unused(self, key: ObjectKey, known: Mapping[str, Attribution]) -> Mapping[str, Attribution]:
        """Return the causes without those that have explained the same difference before.

        The difference returned through another call, whose entry has not arrived.
        """
        used = self._explained.get(key, frozenset())
        return {each: found for each, found in known.items() if (each, found.cause.time) not in used}

    def _use(self, key: ObjectKey, report: Report, now: datetime) -> None:
        """Remember the causes of reported drift, as long as the change log returns them."""
        used = {(each, at) for each, at in self._explained.pop(key, ()) if now - at <= MAX_AGE}
        known = report.attributions
        used |= {(each, known[each].cause.time) for each in report.drift if each in known}
        if used:
            self._explained[key] = frozenset(used)

    def _finish_removed(self, key: ObjectKey, report: Report) -> tuple[Requeue, str]:
        """Log the outcome for an object without a status: the API server has already removed it."""
        if isinstance(report.outcome, InSync):
            return NoRequeue(), "removed"
        _log.warning("%s is deleted, and what it declared is not yet undone: %s", key, report.outcome.message)
        return requeue_after(report.outcome, report.others), "removed"

    def gone(self, obj: ReconciledResource, raw: Object) -> tuple[Requeue, str]:
        """Forget an object that a write found deleted: the watch may never have seen it."""
        self._deps.store.drop(raw)
        self._deps.syncers.forget(ledger_owner(obj))
        self.forget(ObjectKey.of(obj))
        return NoRequeue(), "gone"

    def forget(self, key: ObjectKey) -> None:
        """Drop what is remembered of a deleted object."""
        self._unreported.pop(key, None)
        self._explained.pop(key, None)

    def newest(self, obj: ReconciledResource, raw: Object) -> Object:
        """Return the stored object, whose status this reconcile may have written, unless a user edited it."""
        known = self._deps.store.stored(ObjectKey.of(obj))
        edited = known is None or any(
            known.raw["metadata"].get(field) != raw["metadata"].get(field) for field in ("uid", "generation")
        )
        return raw if known is None or edited else known.raw
