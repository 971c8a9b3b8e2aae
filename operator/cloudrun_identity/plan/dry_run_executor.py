"""An executor that assumes the effect of every action and calls nothing."""

from collections.abc import Iterable
from typing import TypeVar

from cloudrun_identity.api import ReconciledResource
from cloudrun_identity.reconcile.cluster_state import ObjectKey
from cloudrun_identity.reconcile.interfaces import Executed, ExternalResource
from cloudrun_identity.reconcile.preconditions import Allowed
from cloudrun_identity.reconcile.steps import Action

from .model import PlannedStep, sign_of

Obj = TypeVar("Obj", bound=ReconciledResource)
Want = TypeVar("Want")
Seen = TypeVar("Seen")
A = TypeVar("A", bound=Action)


class DryRunExecutor:
    """Record what would be done for every object, observed ones included."""

    def __init__(self) -> None:
        self._steps: dict[PlannedStep, None] = {}
        self._observed: set[ObjectKey] = set()

    @property
    def steps(self) -> Iterable[PlannedStep]:
        """The steps in the order in which they would be taken."""
        return self._steps

    def is_observed(self, key: ObjectKey) -> bool:
        """Return whether the operator would only report the steps of an object."""
        return key in self._observed

    def acts_on(self, obj: ReconciledResource, allowed: Allowed) -> bool:
        """Return True: an observed object shows what Manage would do."""
        if allowed.observe:
            self._observed.add(ObjectKey.of(obj))
        return True

    async def execute(
        self,
        resource: ExternalResource[Obj, Want, Seen, A],
        obj: Obj,
        action: A,
        want: Want,
        seen: Seen,
    ) -> Executed[Seen]:
        """Record the changes of the action and assume its effect."""
        key = ObjectKey.of(obj)
        for change in () if action.only_records else action.changes:
            step = PlannedStep(
                resource.describe(want), sign_of(change), str(change), key, self.is_observed(key), change
            )
            self._steps[step] = None
        return Executed(await resource.assume(action, want, seen))
