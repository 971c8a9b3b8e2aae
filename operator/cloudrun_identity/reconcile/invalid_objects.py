"""Reconcile objects that do not fit their kind: an older or laxer CRD admitted them.

Nothing is done for an invalid object, and its grants stay. Its deletion must not hang: the ledgers hold its
grants by its name, so those of an IAMBinding are released without the rest of its spec. Everything else that
an object manages is left in place. The ledgers keep recording its owner: the ManagedProject lists it in
`orphans`, and a valid object of the same name takes it over.
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
from .steps import ABANDONED

_log = logging.getLogger(__name__)


class InvalidObjects:
    """Reconcile invalid objects."""

    def __init__(self, deps: Dependencies, finisher: Finisher) -> None:
        self._deps = deps
        self._finisher = finisher
        self._releaser = Releaser(deps.syncers, deps.store)

    async def reconcile(self, key: ObjectKey, raw: Object) -> tuple[Requeue, str]:
        """Report the invalid field, or finalize the object."""
        misfit = _first_misfit(raw)
        if "deletionTimestamp" in raw["metadata"]:
            return await self._finalize(key, raw, misfit)
        _log.error("%s is invalid: %s", key, misfit)
        self._retain(key, raw)
        await self._write(raw, invalid_spec(misfit))
        return NoRequeue(), "invalid"

    async def _finalize(self, key: ObjectKey, raw: Object, misfit: str) -> tuple[Requeue, str]:
        owner = _owner(key, raw)
        if FINALIZER not in raw["metadata"].get("finalizers", ()):
            self._deps.syncers.forget(owner)
            return NoRequeue(), "gone"
        self._retain(key, raw)
        outcome = await self._undo(key, raw, misfit)
        if not isinstance(outcome, InSync):
            await self._write(raw, outcome)
            return requeue_after(outcome), "invalid"
        self._deps.syncers.forget(owner)
        self._finisher.forget(key)
        await self._deps.kube.remove_finalizer(raw)
        return NoRequeue(), "deleted"

    async def _undo(self, key: ObjectKey, raw: Object, misfit: str) -> Outcome:
        """Undo what can be undone safely; InSync if nothing is left to wait for."""
        if not key.namespace:
            return still_used(key, self._deps.store)
        project = self._project(raw)
        if _spec_field(raw, "suspend") is True or (project and project.spec.suspend):
            return Paused(Reason.SUSPENDED, DELETION_WAITS)
        owner = _owner(key, raw)
        halted = halted_elsewhere(self._deps.syncers.held_by(owner), self._deps.store)
        if halted:
            return halted
        abandon = _abandons(key, raw)
        if abandon is None:
            self._deps.event_reporter.warn_about(raw, ABANDONED, f"{misfit}; {_LEFT}")
            return InSync()
        policies = {
            _spec_field(raw, "managementPolicy"),
            project.spec.management_policy if project else None,
        }
        uninstalled = await self._deps.kube.is_uninstalled(key.kind)
        if not uninstalled:
            self._deps.syncers.check_complete()
        claims_existing = _spec_field(raw, "existingGrants") == ExistingGrants.CLAIM
        return await self._releaser.release_all(
            owner,
            abandon=abandon or uninstalled or ManagementPolicy.OBSERVE in policies,
            claims=self._releaser.claimed_by(owner) if claims_existing else frozenset(),
        )

    def _retain(self, key: ObjectKey, raw: Object) -> None:
        if key.namespace:
            self._deps.syncers.retain(_owner(key, raw))

    async def _write(self, raw: Object, outcome: Outcome) -> None:
        await self._deps.kube.write_status(raw, status_with(raw, outcome, self._deps.wall_clock()))

    def _project(self, raw: Object) -> ManagedProject | None:
        return self._deps.store.project(project_named_by(raw))


def project_named_by(raw: Object) -> str:
    """Return the ManagedProject that an object names, even if the object is invalid; empty if none."""
    ref = _spec_field(raw, "projectRef")
    name = ref.get("name") if isinstance(ref, dict) else None
    return name if isinstance(name, str) else ""


def project_id_said_by(raw: Object) -> str:
    """Return the Google Cloud project of a ManagedProject, even if the object is invalid."""
    project_id = _spec_field(raw, "projectID")
    return project_id if isinstance(project_id, str) and project_id else str(raw["metadata"]["name"])


def accounts_said_by(raw: Object) -> frozenset[str]:
    """Return the accounts that a ManagedProject acts as, delegates included, even if it is invalid.

    The e-mails are in lower case.
    """
    credentials = _spec_field(raw, "credentials")
    if not isinstance(credentials, dict):
        return frozenset()
    delegates = credentials.get("delegates")
    named = [
        credentials.get("impersonateServiceAccount"),
        *(delegates if isinstance(delegates, list) else ()),
    ]
    return frozenset(lower_email(each) for each in named if isinstance(each, str))


def invalid_spec(misfit: str) -> Outcome:
    """Return the outcome for an object with this invalid field."""
    return Refused(
        Reason.INVALID_SPEC,
        f"{misfit}; nothing is done for the object and its grants stay, until it is edited to fit the schema "
        "of its kind",
    )


def status_with(raw: Mapping[str, Any], outcome: Outcome, now: datetime) -> dict[str, Any]:
    """Return the status of an object with conditions for the outcome. Its other fields stay."""
    status, generation = dict(raw.get("status") or {}), int(raw["metadata"].get("generation", 0))
    status.pop("waitingSince", None)
    before = _valid_conditions(status.get("conditions") or ())
    found = conditions(before, generation, Review(outcome, difference=None), now)
    return status | {
        "observedGeneration": generation,
        "conditions": [condition.to_dict() for condition in found],
    }


_LEFT = (
    "nothing that the object managed was undone: status.orphans of its ManagedProject and the PolicyLedgers "
    "list it, and a valid object of the same name takes it over"
)


def _abandons(key: ObjectKey, raw: Object) -> bool | None:
    """Return whether the object leaves its grants in place; None if nothing may be undone.

    The grants of other kinds than IAMBinding belong to an account, a role, keys or a workload. More of the
    spec than can be read decides whether those may be deleted.
    """
    if key.kind != IAMBinding.__name__:
        return None
    match _spec_field(raw, "deletionPolicy"):
        case None | BindingDeletionPolicy.DELETE:
            return False
        case BindingDeletionPolicy.ABANDON:
            return True
        case _:
            return None


def _spec_field(raw: Object, field: str) -> Any:
    """Return a field of the spec, unvalidated."""
    spec = raw.get("spec")
    return spec.get(field) if isinstance(spec, dict) else None


def _owner(key: ObjectKey, raw: Object) -> Owner:
    return Owner(key.kind, key.namespace, key.name, raw["metadata"]["uid"])


def _first_misfit(raw: Object) -> str:
    """Return the first field of the object that does not fit its kind, and why."""
    try:
        KINDS[raw["kind"]].model_validate(raw)
    except ValidationError as error:
        return misfits(error)[0]
    return "the object did not fit its kind before"


def _valid_conditions(listed: Iterable[Any]) -> Iterable[Condition]:
    for each in listed:
        try:
            yield Condition.model_validate(each)
        except ValidationError:
            continue
