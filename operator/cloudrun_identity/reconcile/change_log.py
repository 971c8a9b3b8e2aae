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

RESOURCES: Final = 4096
"""Resources whose changes are kept; the one that was changed least recently is dropped."""

CHANGES: Final = 8
"""Changes that are kept for each resource."""

MAX_AGE: Final = timedelta(hours=1)
"""Age from which a change is no cause any more. While the feed works, drift is found within seconds."""


class Causes(Protocol):
    """Reports who caused a difference. See `ChangeLog`."""

    def of_grant(self, grant: Grant, action: DeltaAction) -> Cause | None:
        """Return the last call that added or removed a grant; None if no entry reports it."""
        ...

    def of_resource(self, full_name: str) -> Cause | None:
        """Return the last call that changed a resource, by its full name; None if no entry reports it."""
        ...

    def unexplained(self, project_id: str) -> None:
        """Note that drift was found in a project, and that no entry reports its cause."""
        ...


class NoCauses:
    """Causes without a change feed: none is known."""

    def of_grant(self, grant: Grant, action: DeltaAction) -> Cause | None:  # noqa: ARG002
        """Return None."""
        return None

    def of_resource(self, full_name: str) -> Cause | None:  # noqa: ARG002
        """Return None."""
        return None

    def unexplained(self, project_id: str) -> None:
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
    ) -> None:
        """Create an empty log.

        `on_unexplained` is called with the ID of a project in which drift without an entry was found, and
        `reports_actors` returns whether a project with an ID wants callers to be named now.
        """
        self._on_unexplained = on_unexplained
        self._reports_actors = reports_actors
        self._wall_clock = wall_clock
        self._changes: dict[Hashable, deque[AuditedChange]] = {}

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

    def unexplained(self, project_id: str) -> None:
        """Note that drift was found in a project, and that no entry reports its cause."""
        self._on_unexplained(project_id)

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
