"""The ledgers of all policies: a cache over the PolicyLedger objects in the operator's namespace.

The operator writes a ledger ahead of its policy. A write succeeds only if the reply of the API server has
every entry.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from weakref import WeakValueDictionary

from cloudrun_identity.api import LedgerAccount, LedgerRole, PolicyLedger
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.kube.crds import INSTALL
from cloudrun_identity.kube.errors import KubeError, OlderVersion
from cloudrun_identity.kube.objects import is_before, resource, shown_name
from cloudrun_identity.kube.resources import Listing, Object, ObjectClient

from .elsewhere import LedgersElsewhere, LedgersOfProject
from .index import LedgerIndex
from .interface import Change
from .invalid import InvalidLedgers
from .limits import refuse_too_large, refuse_too_many
from .model import Ledger
from .objects import LedgerInvalid, from_object, is_stored_as_written, object_name, to_object
from .stored import StoredLedger, StoredLedgers
from .versions import SeenVersions

TRIES = 5  # of one update, against other writers

OnChange = Callable[[Ledger, Ledger], None]

_RESOURCE = resource(PolicyLedger.__name__)
_log = logging.getLogger(__name__)


class LedgerPruned(Exception):
    """The API server dropped a part of the object. The message is one line."""


class Ledgers:
    """All ledgers, read from memory and written through to the API server.

    Call `fill` first. Pass each watch event to `observed` afterwards, to follow edits by others.
    """

    def __init__(self, client: ObjectClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._stored = StoredLedgers()
        self._versions = SeenVersions()
        self._invalid = InvalidLedgers()
        self._deleting: set[str] = set()  # by UID, objects that this process is deleting
        self._writing: dict[str, tuple[Object, Ledger]] = {}  # by name, writes without a reply so far
        self._index = LedgerIndex()
        self._elsewhere = LedgersElsewhere()
        self._locks: WeakValueDictionary[Target, asyncio.Lock] = WeakValueDictionary()
        self._subscribers: list[OnChange] = []

    def subscribe(self, on_change: OnChange) -> None:
        """Call `on_change(old, new)` after each change of a ledger, by this process or another."""
        self._subscribers.append(on_change)

    def ledger(self, target: Target) -> Ledger:
        """Return the ledger of a policy; an empty one if there is none."""
        stored = self._stored.get(target)
        return stored.ledger if stored else Ledger.of(target)

    def all(self) -> Iterator[Ledger]:
        """Iterate over all ledgers."""
        return self._stored.all()

    def account_of(self, owner: str) -> LedgerAccount | None:
        """Return the account of the CloudRunIdentity `namespace/name`."""
        return self._index.account_of(owner)

    def account_home(self, owner: str) -> Target | None:
        """Return the target of the ledger with the account of the CloudRunIdentity `namespace/name`."""
        return self._index.account_home(owner)

    def owner_of(self, email: str) -> LedgerAccount | None:
        """Return the record of the account with this e-mail, which names its owner."""
        return self._index.owner_of(email)

    def role_home(self, owner: str) -> tuple[str, LedgerRole] | None:
        """Return the project ID and the record of the role of the CustomRole `namespace/name`."""
        return self._index.role_home(owner)

    def key_home(self, owner: str) -> Target | None:
        """Return the account with keys of the IdentityKey `namespace/name`."""
        return self._index.key_home(owner)

    def attachment_home(self, owner: str) -> Target | None:
        """Return the workload of the IdentityAttachment `namespace/name`."""
        return self._index.attachment_home(owner)

    def held_by(self, owner_key: str) -> frozenset[Target]:
        """Return the targets with entries of the owner `Kind/namespace/name`."""
        return self._index.held_by(owner_key)

    def targets(self, project_id: str) -> Iterable[Target]:
        """Return the targets in a project with any entry."""
        return self._index.targets(project_id)

    def check(self, target: Target) -> None:
        """Check that the stored ledger of a policy is valid. Its last valid version may be in memory.

        Raises:
            LedgerInvalid: the stored ledger is invalid.

        """
        self._invalid.check(object_name(target))

    def invalid_ledger_of(self, owner_key: str) -> str:
        """Return what is wrong with an invalid ledger that names the owner; empty if there is none."""
        return self._invalid.reason_for(owner_key)

    def invalid_count(self) -> int:
        """Return the number of stored ledgers that are invalid."""
        return len(self._invalid)

    def check_complete(self) -> None:
        """Check that all stored ledgers are known.

        Raises:
            LedgerInvalid: a stored ledger is invalid, and was so since the start of the process.

        """
        self._invalid.check_complete()

    def of_project(self, project_id: str) -> LedgersOfProject:
        """Return the ledgers of a project, also those in other namespaces."""
        return LedgersOfProject(self._stored.digests(project_id), self._elsewhere.recording(project_id))

    def only_elsewhere(self, owner_key: str) -> bool:
        """Return whether ledgers name an object, but only those in other namespaces."""
        return self._elsewhere.name(owner_key) and not self._index.names(owner_key)

    async def fill(self) -> Listing[Object]:
        """Read all ledgers, also those in other namespaces, and return them as listed. Raises KubeError."""
        listing = await self._client.list_all(_RESOURCE)
        for raw in listing.items:
            self.observed(raw, deleted=False)
        return listing

    def observed(self, raw: Object, *, deleted: bool) -> frozenset[str]:
        """Add an object from a list or a watch event to the cache, unless a newer version is known.

        Returns:
            The owner keys in a ledger that another client has deleted, made invalid, or repaired.

        """
        metadata = raw["metadata"]
        if metadata["namespace"] != self._namespace:
            self._elsewhere.observe(raw, deleted=deleted)
            return frozenset()
        if self._versions.has(metadata):
            return frozenset()
        written = self._writing.get(metadata["name"])
        if written and not deleted and is_stored_as_written(written[0], raw):  # the event precedes the reply
            return self._observed_valid(metadata, written[1], deleted=False)
        try:
            ledger = from_object(raw)
        except LedgerInvalid as error:
            _log.error("%s", error)
            return self._observed_invalid(raw, str(error), deleted=deleted)
        return self._observed_valid(metadata, ledger, deleted=deleted)

    def _observed_valid(self, metadata: Object, ledger: Ledger, *, deleted: bool) -> frozenset[str]:
        """Add a newer ledger to the cache; return as `observed` does."""
        repaired = self._invalid.remove(metadata["name"])
        if metadata["name"] != object_name(ledger.target):
            _log.warning(
                "PolicyLedger %s/%s is ignored: the ledger of %s has the name %s",
                self._namespace,
                metadata["name"],
                ledger.target,
                object_name(ledger.target),
            )
            return frozenset()
        if ledger.restored and not self.ledger(ledger.target).restored:
            _log.warning(
                "another client wrote PolicyLedger %s/%s: grants that it records and that no object declares "
                "are left on %s",
                self._namespace,
                metadata["name"],
                ledger.target.full_name,
            )
        stored = StoredLedger(ledger, _without_managed_fields(metadata))
        self._versions.add(metadata)
        known = self._stored.get(ledger.target)
        self._set(ledger.target, None if deleted else stored)
        is_lost = known and deleted and ledger.bindings and metadata["uid"] not in self._deleting
        return repaired | (self._lost(ledger) if is_lost else frozenset())

    async def update(self, target: Target, change: Change) -> Ledger:
        """Apply a pure function to the newest ledger and store its result.

        Nothing is written if only `last_write_time` and `unmanaged_members` differ. An empty result deletes
        the object. `change` is called again after a conflict with another writer. The policy must not be
        written after an error.

        Returns:
            The stored ledger.

        Raises:
            LedgerFull: an entry was added beyond the limits.
            LedgerPruned: the reply lacks an entry.
            LedgerInvalid: the stored object is invalid.
            OlderVersion: the storage of the API server was restored from a backup.
            KubeError: the API server refused or failed.

        """
        lock = self._locks.setdefault(target, asyncio.Lock())
        async with lock:
            for _ in range(TRIES):
                stored = self._stored.get(target)
                old = self.ledger(target)
                new = change(old)
                if _is_same(new, old):
                    return old
                try:
                    return await self._write(stored, old, new)
                except KubeError as error:
                    if not (error.is_conflict or (error.is_not_found and stored)):
                        raise
                await self._read(target)
        raise KubeError(
            HTTPStatus.CONFLICT,
            "Conflict",
            f"PolicyLedger {self._namespace}/{object_name(target)} changed during each of {TRIES} tries",
        )

    async def _write(self, stored: StoredLedger | None, old: Ledger, new: Ledger) -> Ledger:
        if new.is_empty:
            return await self._delete(stored, new.target)
        metadata = stored.metadata if stored else self._new_metadata(new.target)
        refuse_too_many(old, new)
        raw = to_object(new, metadata)
        refuse_too_large(old, new, raw)
        self._writing[metadata["name"]] = raw, new
        try:
            reply = await (
                self._client.replace(_RESOURCE, raw) if stored else self._client.create(_RESOURCE, raw)
            )
        finally:
            del self._writing[metadata["name"]]
        if is_stored_as_written(raw, reply):
            if not self._versions.has(reply["metadata"]):
                self._observed_valid(reply["metadata"], new, deleted=False)
            return new
        self.observed(reply, deleted=False)
        if (kept := from_object(reply)) != new:
            raise LedgerPruned(
                f"PolicyLedger {self._namespace}/{metadata['name']}: the API server dropped a part of the "
                f"object, so the installed CRDs are older than this operator: run `{INSTALL}`"
            )
        return kept

    async def _delete(self, stored: StoredLedger | None, target: Target) -> Ledger:
        if stored:
            name, uid = stored.metadata["name"], stored.metadata["uid"]
            self._deleting.add(uid)  # the watch event may precede the reply
            try:
                await self._client.delete(
                    _RESOURCE,
                    name,
                    self._namespace,
                    uid=uid,
                    resource_version=stored.metadata["resourceVersion"],
                )
                self._set(target, None)
            finally:
                self._deleting.discard(uid)
        return Ledger.of(target)

    async def _read(self, target: Target) -> None:
        """Read the newest object into the cache.

        Raises:
            LedgerInvalid: the object is invalid, and must not be overwritten.
            OlderVersion: the storage of the API server was restored from a backup.
            KubeError: the object cannot be read.

        """
        known = self._stored.get(target)
        try:
            raw = await self._client.get(_RESOURCE, object_name(target), self._namespace)
        except KubeError as error:
            if not error.is_not_found:
                raise
            self._set(target, None)
        else:
            if known and is_before(raw["metadata"], known.metadata):
                raise OlderVersion(shown_name(_RESOURCE, raw))
            from_object(raw)
            self.observed(raw, deleted=False)

    def _observed_invalid(self, raw: Object, message: str, *, deleted: bool) -> frozenset[str]:
        """Note that an object is invalid; return the owner keys in it and in its last valid version."""
        name = raw["metadata"]["name"]
        known = self._stored.named(name)
        self._invalid.add(raw, message, known.ledger if known else None)
        if not deleted:
            return self._invalid.owner_keys(name)
        if known:
            self._set(known.ledger.target, None)
        return self._invalid.remove(name)

    def _lost(self, ledger: Ledger) -> frozenset[str]:
        """Log that another client deleted a ledger; return the owner keys in it."""
        _log.warning(
            "another client deleted PolicyLedger %s/%s: the operator treats its grants on %s as unmanaged",
            self._namespace,
            object_name(ledger.target),
            ledger.target.full_name,
        )
        return ledger.owner_keys

    def _set(self, target: Target, stored: StoredLedger | None) -> None:
        old = self.ledger(target)
        if stored is None:
            self._stored.remove(target)
            self._versions.note_deletion(object_name(target))
        else:
            self._stored.put(stored)
        new = self.ledger(target)
        if new == old:
            return
        self._index.change(old, new)
        for on_change in self._subscribers:
            on_change(old, new)

    def _new_metadata(self, target: Target) -> Object:
        return {"name": object_name(target), "namespace": self._namespace}


def _is_same(new: Ledger, old: Ledger) -> bool:
    """Compare ledgers without the fields that are only stored together with others."""
    return old == new.replace(unmanaged_members=old.unmanaged_members, last_write_time=old.last_write_time)


def _without_managed_fields(metadata: Object) -> Object:
    return {key: value for key, value in metadata.items() if key != "managedFields"}
