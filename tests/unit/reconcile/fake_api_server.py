"""The API server and the operator's cache of it, in one, with one identity in one project."""

import copy
from typing import Any

from pydantic import ValidationError

from cloudrun_identity.api import FINALIZER, KINDS, CloudRunIdentity, ManagedProject
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.kube.resources import Object
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.reconcile.cluster_state import ObjectKey, StoredObject
from tests.unit.controllers.cluster_state import IDENTITY, FakeClusterState, parsed, project
from tests.unit.policy.fakes import FakeLedgers

KEY = ObjectKey("CloudRunIdentity", "payments", "checkout")


class FakeApiServer(FakeClusterState):
    """Stores raw objects, and records each write."""

    raws: dict[ObjectKey, Object]
    """Stored objects."""

    writes: list[str]
    """Writes of finalizers and of changed statuses, in order."""

    status_written: Object
    """Status of the last write."""

    uninstalled: bool
    """True if the CRDs are being deleted."""

    edited_meanwhile: bool
    """True if a user edits each object during its reconcile."""

    is_removed: bool
    """True if the identity was removed while its finalizer was added. The cache still has it."""

    found_by_finalizer: Object | None
    """Newer version of the identity, to which the finalizer is not added."""

    project_number: str | None
    """Number of the project; None before its first reconcile."""

    def __init__(self, ledgers: FakeLedgers) -> None:
        super().__init__(project())
        self._ledgers = ledgers
        self.raws = {}
        self.writes = []
        self.status_written = {}
        self.uninstalled = False
        self.edited_meanwhile = False
        self.is_removed = False
        self.found_by_finalizer = None
        self.project_number = "417203958816"
        self.delegate()
        self.apply()

    def delegate(self, **spec: Any) -> None:
        """Store the ManagedProject with these fields of its spec."""
        delegated = project(**spec)
        status = delegated.status.model_copy(update={"project_number": self.project_number})
        self.add(delegated.model_copy(update={"status": status}))

    def add(self, delegated: ManagedProject) -> None:
        self._objects[ObjectKey.of(delegated)] = delegated

    def apply(self, **spec: Any) -> None:
        """Store the identity with these fields of its spec, as the next generation."""
        known = self.raws.get(KEY)
        self.raws[KEY] = parsed(IDENTITY, **spec).to_dict()
        if known:
            self.raws[KEY]["metadata"] = known["metadata"]
            self.raws[KEY]["metadata"]["generation"] += 1
            self.raws[KEY]["status"] = known.get("status", {})

    def delete(self) -> None:
        """Delete the identity: it stays until its finalizer is removed."""
        self.raws[KEY]["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"

    @property
    def status(self) -> Any:
        """Status of the identity."""
        return CloudRunIdentity.model_validate(self.raws[KEY]).status

    def ledger(self, target: Target) -> Ledger:
        return self._ledgers.ledger(target)

    def invalid_ledger_of(self, owner_key: str) -> str:
        return self._ledgers.invalid_ledger_of(owner_key)

    def stored(self, key: ObjectKey) -> StoredObject | None:
        raw = copy.deepcopy(self.raws.get(key))
        if raw is None:
            return None
        try:
            return StoredObject(raw, KINDS[key.kind].model_validate(raw), is_removed=self.is_removed)
        except ValidationError:
            return StoredObject(raw, None)

    def absorb(self, raw: Object) -> None:
        self.raws[_key(raw)] = copy.deepcopy(raw)

    def drop(self, raw: Object) -> None:
        self.raws.pop(_key(raw))

    async def add_finalizer(self, raw: Object) -> Object | None:
        if self.found_by_finalizer:
            return self.found_by_finalizer
        self.writes.append("finalizer")
        raw["metadata"]["finalizers"] = [FINALIZER]
        return raw if _key(raw) in self.raws else None

    async def remove_finalizer(self, raw: Object) -> None:
        assert not self.is_removed
        self.writes.append("no finalizer")
        del self.raws[_key(raw)]

    async def write_status(self, raw: Object, status: Object) -> Object | None:
        assert not self.is_removed
        if self.edited_meanwhile:
            return self.raws[_key(raw)]
        self.status_written = status
        if raw.get("status", {}) != status:
            self.writes.append("status")
        return {**raw, "status": status}

    async def is_uninstalled(self, kind: str) -> bool:
        return self.uninstalled


def _key(raw: Object) -> ObjectKey:
    return ObjectKey(raw["kind"], raw["metadata"].get("namespace", ""), raw["metadata"]["name"])
