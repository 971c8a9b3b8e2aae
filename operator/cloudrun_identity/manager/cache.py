"""The cache: every object and namespace as last seen, and the reconciles that a change requires.

A list fills it before the first reconcile. Then the watches and the replies to the operator's writes update
it. A version that is older than the known one is dropped.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import ValidationError

from cloudrun_identity.api import CloudRunIdentity, ManagedProject, ProjectOperator
from cloudrun_identity.iam.namespace_selection import admits_namespace
from cloudrun_identity.iam.role_permissions import home_of
from cloudrun_identity.kube.finalizers import as_being_deleted, is_bypassed
from cloudrun_identity.kube.resources import Object
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.ledger.store import Ledgers
from cloudrun_identity.reconcile.cluster_state import ObjectKey, custom_role_key, role_key
from cloudrun_identity.reconcile.reconciler import AnyKindReconciler

from .change_predicates import is_older, needs_reconcile, operator_in, visible_to_referrers
from .cluster_view import ClusterView
from .object_index import Entry
from .stored_form import compact_version, parse


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """The reconciles that a new version of an object requires."""

    changed: bool = False
    """True if the object itself must be reconciled."""
    woken: frozenset[ObjectKey] = frozenset()
    """Other objects that must be reconciled."""


NO_CHANGE = ObjectChange()

_log = logging.getLogger(__name__)

_PROJECT = ManagedProject.__name__


class Cache(ClusterView):
    """Objects, namespaces and ledgers as last seen."""

    def __init__(
        self,
        kinds: Mapping[str, AnyKindReconciler],
        ledgers: Ledgers,
        wake: Callable[[Iterable[ObjectKey]], None],
        operator_identity: Callable[[], str] = lambda: "",
        operator: ProjectOperator | None = None,
    ) -> None:
        """`wake` is called with the objects that a write of the operator, or a ledger, concerns.

        `operator` is this operator; None in a dry run, which operates every project.
        """
        super().__init__(kinds, ledgers, operator_identity, operator)
        self._wake = wake
        for ledger in ledgers.all():
            self._ledger_changed(Ledger.of(ledger.target), ledger)
        ledgers.subscribe(self._ledger_changed)

    def listed(self, kind: str) -> None:
        """Note that every object of the kind was observed, so that an unknown object does not exist."""
        self._listed.add(kind)

    def observe(self, raw: Object, *, deleted: bool, is_compact: bool = False) -> ObjectChange:
        """Take in a version of an object, or its deletion. A compact version is kept as it is."""
        key = ObjectKey.of_raw(raw)
        old = self._objects.get(key)
        if old and is_older(raw, old.raw, deleted=deleted):
            return NO_CHANGE
        if key.kind == _PROJECT:
            self._declared_credentials = None
        if deleted:
            return self._keep_to_finalize(key, raw) or self._remove(key)
        raw = raw if is_compact else compact_version(raw, old)
        try:
            obj = parse(self._kinds[key.kind].model, raw, old)
        except ValidationError:
            last = self.stored(key)
            wakes = last is None or operator_in(last.raw) != operator_in(raw)
            self._objects.put_invalid(key, raw)  # its reconcile reports the error
            return ObjectChange(changed=True, woken=self._concerned(key, old) if wakes else frozenset())
        self._objects.put(key, raw, obj)
        known = old.raw if old else None
        is_visible = visible_to_referrers(known) != visible_to_referrers(raw)
        woken = self._concerned(key, old) if is_visible else frozenset()
        return ObjectChange(changed=needs_reconcile(raw, known), woken=woken)

    def observe_namespace(self, raw: Object, *, deleted: bool) -> frozenset[ObjectKey]:
        """Take in a namespace, or its deletion. Return the objects that it concerns."""
        name = raw["metadata"]["name"]
        before = self._namespaces.labels().get(name)
        if not self._namespaces.observe(raw, deleted=deleted):
            return frozenset()
        own = {key for key in self._objects if key.namespace == name}
        return frozenset(own.union(*map(self.referrers, self._changed_admissions(name, before))))

    def absorb(self, raw: Object) -> None:
        """Take in the reply to a write of the operator.

        The write alone requires no reconcile of the object. But after a conflict the reply has the edit of a
        user, which the watch then delivers as a known version.
        """
        key = ObjectKey.of_raw(raw)
        known = self.stored(key)
        if known and known.raw is not raw:  # or else it was deleted before the reply, or nothing was written
            is_edited = needs_reconcile(raw, known.raw)
            woken = self.observe(raw, deleted=False).woken
            self._wake(woken | {key} if is_edited else woken)

    def drop(self, raw: Object) -> None:
        """Remove an object that a write did not find, or that was finalized after its removal.

        The watch delivers the last version later, which shows whether the object is still to be finalized.
        """
        key = ObjectKey.of_raw(raw)
        old = self._objects.get(key)
        if not (old and is_older(raw, old.raw, deleted=True)):
            self._wake(self._remove(key).woken)

    def _remove(self, key: ObjectKey) -> ObjectChange:
        old = self._objects.get(key)
        self._objects.remove(key)
        self._declared_credentials = None
        woken = self._concerned(key, old) | frozenset(self._projects_recording(key))
        return ObjectChange(changed=True, woken=woken)

    def _keep_to_finalize(self, key: ObjectKey, removed: Object) -> ObjectChange | None:
        """Keep an object that was removed in spite of its finalizer; None if nothing must be undone for it.

        It counts as being deleted until the operator has finalized it, or until a new object has its name.
        """
        if not (key.namespace and is_bypassed(removed)):
            return None
        old = self._objects.get(key)
        raw = as_being_deleted(compact_version(removed, old), datetime.now(UTC))
        try:
            obj = parse(self._kinds[key.kind].model, raw, old)
        except ValidationError:  # the operator did nothing for it
            return None
        _log.warning("the API server removed %s while the finalizer was added; it is finalized now", key)
        self._objects.put(key, raw, obj, is_removed=True)
        return ObjectChange(changed=True, woken=self._concerned(key, old))

    def _changed_admissions(self, name: str, before: Mapping[str, str] | None) -> Iterable[ObjectKey]:
        """Yield the projects that admit the namespace with only one of its previous and its new labels.

        All objects of such a project are concerned, because the number of admitted namespaces decides about
        its workloads.
        """
        now = self._namespaces.labels().get(name)
        for project in self.objects(ManagedProject):
            if _admits(project, name, before) != _admits(project, name, now):
                yield ObjectKey.of(project)

    def _concerned(self, key: ObjectKey, old: Entry | None) -> frozenset[ObjectKey]:
        """Return the referrers and other declarers of an object, and deleted objects that wait for it."""
        concerned = set(self.referrers(key)) | {ObjectKey.of(other) for other in self.other_declarers(key)}
        if old and key not in self._objects:
            concerned |= set(self._objects.declarers(old.declares))
            concerned |= {each for each in map(self._resolved, old.references) if self._is_deleting(each)}
        return frozenset(each for each in concerned if self.stored(each) is not None)

    def _projects_recording(self, key: ObjectKey) -> Iterable[ObjectKey]:
        """Yield the ManagedProjects that list a deleted object as an orphan: their ledgers still name it."""
        targets = set(self._ledgers.held_by(f"{key.kind}/{key.namespace}/{key.name}"))
        if key.kind == CloudRunIdentity.__name__:
            home = self._ledgers.account_home(f"{key.namespace}/{key.name}")
            targets |= {home} if home else set()
        for target in targets:
            if project := self.project_on(target.project_id):
                yield ObjectKey.of(project)

    def _resolved(self, reference: ObjectKey) -> ObjectKey:
        """Return the object that a reference names: for the full name of a custom role its CustomRole."""
        home = home_of(reference.name) if reference == role_key(reference.name) else None
        record = self.role(*home) if home else None
        return custom_role_key(*record.owner.split("/", 1)) if record else reference

    def _is_deleting(self, key: ObjectKey) -> bool:
        """Return whether an object is being deleted, and may wait for its referrers to be deleted first."""
        entry = self._objects.get(key)
        return entry is not None and entry.obj.is_deleting

    def _ledger_changed(self, old: Ledger, new: Ledger) -> None:
        for key in self._take_in(old, new):
            self._wake(self.referrers(key))


def _admits(project: ManagedProject, name: str, labels: Mapping[str, str] | None) -> bool:
    return labels is not None and admits_namespace(project, name, labels)
