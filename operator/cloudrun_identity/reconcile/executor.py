"""Executors: who carries out the actions of a plan. The reconciler is the same for all of them."""

from typing import Protocol, TypeVar

from cloudrun_identity.api import ReconciledResource
from cloudrun_identity.gcp.mutations import log_mutation as write_mutation

from .events import EventReporter
from .interfaces import Executed, ExternalResource
from .preconditions import Allowed
from .steps import Action

Obj = TypeVar("Obj", bound=ReconciledResource)
Want = TypeVar("Want")
Seen = TypeVar("Seen")
A = TypeVar("A", bound=Action)

ASSUMED_UNIQUE_ID = "0"
"""Unique id of an account that a dry run assumes to be created."""


class Executor(Protocol):
    """Carries out actions, and says for which objects it does."""

    def acts_on(self, obj: ReconciledResource, allowed: Allowed) -> bool:
        """Return whether the actions for an object are carried out; otherwise they are reported."""
        ...

    async def execute(
        self,
        resource: ExternalResource[Obj, Want, Seen, A],
        obj: Obj,
        action: A,
        want: Want,
        seen: Seen,
    ) -> Executed[Seen]:
        """Carry out one action; raises GoogleError."""
        ...


class CloudExecutor:
    """Executes actions on Google Cloud, logs each mutation, and records its Event."""

    def __init__(self, event_reporter: EventReporter) -> None:
        self._event_reporter = event_reporter

    def acts_on(self, obj: ReconciledResource, allowed: Allowed) -> bool:  # noqa: ARG002
        """Return whether the object's management policy is Manage."""
        return not allowed.observe

    async def execute(
        self,
        resource: ExternalResource[Obj, Want, Seen, A],
        obj: Obj,
        action: A,
        want: Want,
        seen: Seen,
    ) -> Executed[Seen]:
        """Execute one action; raises GoogleError."""
        executed = await resource.execute(action, want, seen)
        if executed.outcome is None and executed.written:
            if action.verb:
                log_mutation(action, executed.resource or action.resource)
            if event := action.event:
                self._event_reporter.record(obj, event)
        return executed


def log_mutation(action: Action, resource: str) -> None:
    """Write the line of the mutation log for an action that was executed on the resource."""
    before = ", ".join(f"{change.field} {change.before or 'unset'}" for change in action.changes)
    after = ", ".join(f"{change.field} {change.after or 'unset'}" for change in action.changes)
    write_mutation(action.verb, resource, before=before, after=after)
