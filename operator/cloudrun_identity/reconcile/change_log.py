"""The last changes by others in Google Cloud, as the change feed reported them: who caused a difference."""

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from cloudrun_identity.iam.audited_changes import (
    AccountChange,
    AuditedChange,
    Cause,
    DeltaAction,
    PolicyChange,
    ProjectChange,
    RoleChange,
    Subject,
    WorkloadChange,
)
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.principals import lower_email

from .attribution import Causes
from .cluster_state import ObjectKey
from .late_causes import LateCauses, UnexplainedDrift

RESOURCES: Final = 4096
"""Resources whose changes are kept; the one that was changed least recently is dropped."""

CHANGES: Final = 8
"""Changes that are kept for each resource."""

MAX_AGE: Final = timedelta(hours=1)
"""Age from which a change is no cause any more. While the feed works, drift is found within seconds."""


class DriftCauses(Causes, Protocol):
    """Causes of drift, also of drift whose entry arrives after its repair. See `ChangeLog`."""

    def unexplained(self, drift: UnexplainedDrift) -> None:
        """Note drift that no entry explains yet."""
        ...

    def explained_late(self, key: ObjectKey) -> UnexplainedDrift | None:
        """Return the last drift of an object, if entries explain it that have arrived since it was found."""
        ...

    def settled(self, key: ObjectKey) -> None:
        """Note that the status of an object has the causes of its last drift, or newer drift."""
        ...


class NoCauses:
    """Causes without a change feed: none is known."""

    def of_grant(self, grant: Grant, action: DeltaAction) -> Cause | None:  # noqa: ARG002
        """Return None."""
        return None

    def of_resource(self, full_name: str) -> Cause | None:  # noqa: ARG002
        """Return None."""
        return None

    def unexplained(self, drift: UnexplainedDrift) -> None:
        """Do nothing."""

    def explained_late(self, key: ObjectKey) -> UnexplainedDrift | None:  # noqa: ARG002
        """Return None."""
        return None

    def settled(self, key: ObjectKey) -> None:
        """Do nothing."""


NO_CAUSES: Final = NoCauses()
"""Causes of a process without a change feed."""


class ChangeLog:
    """The last changes of each resource. It is empty after a restart."""

    def __init__(
        self,
        on_unexplained: Callable[[str], None],
        *,
        reports_actors: Callable[[str], bool],
        wall_clock: Callable[[], datetime],
        on_late: Callable[[Iterable[ObjectKey]], None] = lambda _: None,
    ) -> None:
        """Create an empty log.

        `on_unexplained` is called with the ID of a project in which drift without an entry was found, and
        `reports_actors` returns whether a project with an ID wants callers to be named now. `on_late` is
        called with the objects whose drift was repaired before its entry arrived.
        """
        self._on_unexplained = on_unexplained
        self._reports_actors = reports_actors
        self._wall_clock = wall_clock
        self._on_late = on_late
        self._changes: dict[Hashable, deque[AuditedChange]] = {}
        self._late = LateCauses()

    def note(self, change: AuditedChange) -> None:
        """Add a change. Entries may arrive twice, and in any order."""
        for key in _keys(change.subject):
            known = self._changes.pop(key, None) or deque(maxlen=CHANGES)
            if change not in known:
                ordered = sorted((*known, change), key=lambda each: each.cause.time)
                known = deque(ordered, maxlen=CHANGES)
            self._changes[key] = known
        while len(self._changes) > RESOURCES:
            del self._changes[next(iter(self._changes))]

    def unexplained(self, drift: UnexplainedDrift) -> None:
        """Note drift that no entry explains yet."""
        self._late.add(drift, self)
        self._on_unexplained(drift.project_id)

    def explained_late(self, key: ObjectKey) -> UnexplainedDrift | None:
        """Return the last drift of an object, if entries explain it that have arrived since it was found."""
        return self._late.explained(key, self)

    def settled(self, key: ObjectKey) -> None:
        """Note that the status of an object has the causes of its last drift, or newer drift."""
        self._late.drop(key)

    def report_late(self) -> None:
        """Report the objects whose drift the noted changes explain after its repair.

        Called once for many entries, because each may concern the drift of many objects.
        """
        if late := self._late.all_explained(self, self._wall_clock()):
            self._on_late(late)

    def of_grant(self, grant: Grant, action: DeltaAction) -> Cause | None:
        """Return the last call that added or removed a grant; None if no entry reports it.

        An entry without differences may be about any grant of the policy, so it is only assumed.
        """
        for change in reversed(self._changes.get(_policy_key(grant.target), ())):
            if not change.deltas:
                assumed = self._cause(change)
                return replace(assumed, is_assumed=True) if assumed else None
            if any(delta.action is action and delta.concerns(grant) for delta in change.deltas):
                return self._cause(change)
        return None

    def of_resource(self, full_name: str) -> Cause | None:
        """Return the last call that changed a resource, by its full name; None if no entry reports it.

        The keys of an account count as changes of the account.
        """
        known = self._changes.get(full_name.removesuffix("/keys"))
        return self._cause(known[-1]) if known else None

    def _cause(self, change: AuditedChange) -> Cause | None:
        """Return the cause as the project wants it shown now; None if it is too old."""
        if self._wall_clock() - change.cause.time > MAX_AGE:
            return None
        named = self._reports_actors(change.subject.project_id)
        return change.cause if named else change.cause.anonymous()


def _keys(subject: Subject) -> Iterable[Hashable]:
    """Return the names under which a change is looked up."""
    match subject:
        case PolicyChange(target=target):
            return (_policy_key(target),)
        case WorkloadChange(target=target):
            return (target.full_name,)
        case AccountChange(project_id=project_id, email=email):
            return (Target.service_account(project_id, lower_email(email)).full_name,)
        case RoleChange(role=role):
            return (f"//iam.googleapis.com/{role}",)
        case ProjectChange(project_id=project_id):
            return (Target.project(project_id).full_name,)


def _policy_key(target: Target) -> Hashable:
    """Return the key of a policy: of a folder or an organization another one for each project.

    Each project decides whether callers are named.
    """
    return "policy", target.project_id, target.full_name
