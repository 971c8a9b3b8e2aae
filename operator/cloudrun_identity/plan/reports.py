"""Order of the objects in a dry run, and the reports of their reconciles."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol

from cloudrun_identity.api import CloudRunIdentity, CustomRole, ManagedProject, ReconciledResource
from cloudrun_identity.reconcile.cluster_state import ObjectKey
from cloudrun_identity.reconcile.outcomes import InSync, Outcome
from cloudrun_identity.reconcile.status import Report

from .model import PlanBlocker, blocker, bounded

CONCURRENT = 250
"""Objects that are reconciled together. They share one sync of the project's policy, which is large if they
are many. More of them would delay each other until their deadline."""


def in_order(key: ObjectKey) -> tuple[int, ObjectKey]:
    """Sort objects that others refer to first."""
    first = (ManagedProject.__name__, CustomRole.__name__, CloudRunIdentity.__name__)
    return (first.index(key.kind) if key.kind in first else len(first), key)


class References(Protocol):
    """The references between objects, which the cache has."""

    def referrers(self, key: ObjectKey) -> Iterable[ObjectKey]:
        """Return the objects that refer to this one."""
        ...


def groups_of(keys: Collection[ObjectKey], references: References) -> Iterator[tuple[int, list[ObjectKey]]]:
    """Divide keys into groups to reconcile together, each with the number of keys before it.

    Of one kind, objects that others of the kind refer to come first.
    """
    start = 0
    unreferred = {key: not any(each.kind == key.kind for each in references.referrers(key)) for key in keys}
    ordered = sorted(keys, key=lambda key: (in_order(key)[0], key.kind, unreferred[key], key))
    for _, together in groupby(ordered, key=lambda key: (key.kind, unreferred[key])):
        listed = list(together)
        for first in range(0, len(listed), CONCURRENT):
            group = listed[first : first + CONCURRENT]
            yield start, group
            start += len(group)


@dataclass(slots=True)
class Reports:
    """The last report of every object."""

    latest: dict[ObjectKey, Report] = field(default_factory=dict)

    def add(self, obj: ReconciledResource, report: Report) -> None:
        """Take the report of a reconcile."""
        self.latest[ObjectKey.of(obj)] = report

    def blockers(self) -> Iterable[PlanBlocker]:
        """Return why objects would not become Ready, those of one object together."""
        for key in sorted(self.latest, key=in_order):
            report = self.latest[key]
            outcomes = (report.outcome, *_apart_from(report.outcome, report.others))
            yield from bounded([found for each in outcomes if (found := blocker(key, each))])

    def notices(self) -> Iterable[str]:
        """Return the notices of all objects, each with its object."""
        for key in sorted(self.latest, key=in_order):
            for message in self.latest[key].notices.values():
                yield f"{key}: {message}"


def _apart_from(shown: Outcome, others: Iterable[Outcome]) -> Iterable[Outcome]:
    """Return the outcomes that the message does not contain. That of a refusal lists several of them."""
    if isinstance(shown, InSync):
        return dict.fromkeys(others)
    return dict.fromkeys(
        each for each in others if isinstance(each, InSync) or each.message not in shown.message
    )
