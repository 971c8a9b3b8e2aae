"""Objects that do not fit the models: ones that an older or a laxer CRD let in.

Nothing is done for them, and what they hold stays. One that is being deleted must not stay for ever all the
same: its grants stand in the ledgers by its name, so those of a binding are released without a look at the
rest of its spec. Whatever else an object made is left as it is, and the ledgers go on to tell whose it was:
the ManagedProject lists it among its `orphans`, and another object of the same name takes it over.
"""

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from cloudrun_identity.api import (
    FINALIZER,
    KINDS,
    BindingDeletionPolicy,
    Condition,
    ExistingGrants,
    IAMBinding,
    ManagedProject,
    ManagementPolicy,
    Reason,
)
from cloudrun_identity.api.validation import misfits
from cloudrun_identity.iam.principals import lower_email
from cloudrun_identity.kube.resources import Object
from cloudrun_identity.ledger.owners import Owner

from .cluster_state import ObjectKey
from .conditions import Review, conditions
from .dependencies import Dependencies
from .finish import Finisher
from .grants.release import Releaser
from .outcomes import InSync, Outcome, Paused, Refused
from .preconditions import DELETION_WAITS, halted_elsewhere, still_used
from .requeue import NoRequeue, Requeue, requeue_after

_log = logging.getLogger(__name__)


class InvalidObjects:
    """Passes over objects that cannot be read."""

    def __init__(self, deps: Dependencies, finisher: Finisher) -> None:
        self._deps = deps
        self._finisher = finisher
        self._releaser = Releaser(deps.syncers, deps.slot_released)

    async def reconcile(self, key: ObjectKey, raw: Object) -> tuple[Requeue, str]:
        """Say what is wrong with the object, or let it go."""
        wrong = _first_misfit(raw)
        if "deletionTimestamp" in raw["metadata"]:
            return await self._finalize(key, raw, wrong)
        _log.error("%s cannot be read: %s", key, wrong)
        self._hold(key, raw)
        await self._tell(raw, unreadable(wrong))
        return NoRequeue(), "unreadable"

    async def _finalize(self, key: ObjectKey, raw: Object, wrong: str) -> tuple[Requeue, str]:
        if FINALIZER not in raw["metadata"].get("finalizers", ()):
            self._deps.syncers.forget(_claimant(key, raw))
            return NoRequeue(), "gone"
        self._hold(key, raw)
        outcome = await self._release(key, raw, wrong)
        if not isinstance(outcome, InSync):
            await self._tell(raw, outcome)
            return requeue_after(outcome), "unreadable"
        self._deps.syncers.forget(_claimant(key, raw))
        self._finisher.forget(key)
        await self._deps.kube.remove_finalizer(raw)
        return NoRequeue(), "deleted"

    async def _release(self, key: ObjectKey, raw: Object, wrong: str) -> Outcome:
        """Undo what can be undone safely; InSync once nothing more is to be waited for."""
        if not key.namespace:
            return still_used(key, self._deps.store)
        project = self._project(raw)
        if _says(raw, "suspend") is True or (project and project.spec.suspend):
            return Paused(Reason.SUSPENDED, DELETION_WAITS)
        halted = halted_elsewhere(self._deps.syncers.held_by(_claimant(key, raw)), self._deps.store)
        if halted:
            return halted
        abandon = _abandons(key, raw)
        if abandon is None:
            self._deps.event_reporter.tell(raw, "Abandoned", f"{wrong}; {_LEFT}")
            return InSync()
        policies = {_says(raw, "managementPolicy"), project.spec.management_policy if project else None}
        uninstalled = await self._deps.kube.kind_is_leaving(key.kind)
        if not uninstalled:
            self._deps.syncers.check_complete()
        return await self._releaser.release_all(
            _claimant(key, raw),
            abandon=abandon or uninstalled or ManagementPolicy.OBSERVE in policies,
            owns_existing=_says(raw, "existingGrants") == ExistingGrants.CLAIM,
        )

    def _hold(self, key: ObjectKey, raw: Object) -> None:
        if key.namespace:
            self._deps.syncers.retain(_claimant(key, raw))

    async def _tell(self, raw: Object, outcome: Outcome) -> None:
        await self._deps.kube.write_status(raw, status_with(raw, outcome, self._deps.wall_clock()))

    def _project(self, raw: Object) -> ManagedProject | None:
        return self._deps.store.project(project_named_by(raw))


def project_named_by(raw: Object) -> str:
    """The ManagedProject that an object names, whether the rest of it can be read or not; empty if none."""
    ref = _says(raw, "projectRef")
    name = ref.get("name") if isinstance(ref, dict) else None
    return name if isinstance(name, str) else ""


def project_id_said_by(raw: Object) -> str:
    """The Google Cloud project that a ManagedProject is on, whether the rest of it can be read or not."""
    said = _says(raw, "projectID")
    return said if isinstance(said, str) and said else str(raw["metadata"]["name"])


def accounts_said_by(raw: Object) -> frozenset[str]:
    """Whom a ManagedProject says to act as, delegates included: their e-mails in lower case.

    The rest of it need not be readable.
    """
    credentials = _says(raw, "credentials")
    if not isinstance(credentials, dict):
        return frozenset()
    delegates = credentials.get("delegates")
    said = [credentials.get("impersonateServiceAccount"), *(delegates if isinstance(delegates, list) else ())]
    return frozenset(lower_email(each) for each in said if isinstance(each, str))


def unreadable(wrong: str) -> Outcome:
    """The outcome of a pass over an object with which this is wrong."""
    return Refused(
        Reason.INVALID_SPEC,
        f"{wrong}; nothing is done for the object, and what it holds stays, until it is edited to fit the "
        "definition of its kind",
    )


def status_with(raw: Mapping[str, Any], outcome: Outcome, now: datetime) -> dict[str, Any]:
    """The object's status with conditions that tell of the outcome; whatever else it holds stays as it is."""
    status, generation = dict(raw.get("status") or {}), int(raw["metadata"].get("generation", 0))
    before = _readable(status.get("conditions") or ())
    found = conditions(before, generation, Review(outcome, difference=None), now)
    return status | {
        "observedGeneration": generation,
        "conditions": [condition.to_dict() for condition in found],
    }


_LEFT = (
    "nothing that it made was undone: status.orphans of its ManagedProject and the PolicyLedgers tell what "
    "that is, and an object of the same name that can be read takes it over"
)


def _abandons(key: ObjectKey, raw: Object) -> bool | None:
    """Whether the object says to leave its grants; None if nothing may be undone on its word.

    What another kind than a binding holds belongs with an account, a role, keys or a workload: whether those
    may go is told by more of its spec than can be read.
    """
    if key.kind != IAMBinding.__name__:
        return None
    match _says(raw, "deletionPolicy"):
        case None | BindingDeletionPolicy.DELETE:
            return False
        case BindingDeletionPolicy.ABANDON:
            return True
        case _:
            return None


def _says(raw: Object, field: str) -> Any:
    """What the spec says by a field, as it stands there."""
    spec = raw.get("spec")
    return spec.get(field) if isinstance(spec, dict) else None


def _claimant(key: ObjectKey, raw: Object) -> Owner:
    return Owner(key.kind, key.namespace, key.name, raw["metadata"]["uid"])


def _first_misfit(raw: Object) -> str:
    """Return the first field of the object that does not fit its kind, and why."""
    try:
        KINDS[raw["kind"]].model_validate(raw)
    except ValidationError as error:
        return misfits(error)[0]
    return "the object could not be read before"


def _readable(listed: Iterable[Any]) -> Iterable[Condition]:
    for each in listed:
        try:
            yield Condition.model_validate(each)
        except ValidationError:
            continue
