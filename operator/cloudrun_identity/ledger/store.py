"""The ledgers of all policies: a cache over the PolicyLedger objects of the operator's namespace.

A ledger is written ahead of the policy it speaks of, so a write counts only when the API server's reply holds
every entry of it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus
from weakref import WeakValueDictionary

from cloudrun_identity.api.policy_ledger import PolicyLedger
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.kube.crds import INSTALL
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.objects import resource
from cloudrun_identity.kube.resources import Object, ObjectClient

from .index import LedgerIndex
from .limits import refuse_too_large, refuse_too_many
from .model import AccountRecord, Ledger, RoleRecord
from .objects import LedgerInvalid, from_object, object_name, to_object

TRIES = 5  # of one update, against other writers
GONE_KEPT = 512  # ledgers whose end is remembered, lest a late event bring them back

OnChange = Callable[[Ledger, Ledger], None]
Change = Callable[[Ledger], Ledger]

_RESOURCE = resource(PolicyLedger.__name__)
_log = logging.getLogger(__name__)


class LedgerPruned(Exception):  # noqa: N818 - it names what happened
    """The API server did not keep all that was written; the message is one line."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """A ledger as the API server holds it; `metadata` goes back with the next write."""

    ledger: Ledger
    metadata: Object

    @property
    def version(self) -> int:
        return int(self.metadata["resourceVersion"])


class Ledgers:
    """All ledgers, read from memory and written through to the API server.

    `fill` first; afterwards `observed` with each watch event keeps it up to date with edits by others.
    """

    def __init__(self, client: ObjectClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._stored: dict[Target, _Stored] = {}
        self._versions: dict[str, int] = {}  # by name, the newest seen, also of some that are gone
        self._unread: dict[str, str] = {}  # by name, why nothing was ever read of it
        self._gone: deque[Target] = deque()
        self._leaving: set[str] = set()  # by uid, those whose deletion we have asked for
        self._index = LedgerIndex()
        self._locks: WeakValueDictionary[Target, asyncio.Lock] = WeakValueDictionary()
        self._subscribers: list[OnChange] = []

    def subscribe(self, on_change: OnChange) -> None:
        """Have `on_change(old, new)` called after each change of a ledger, ours or another's."""
        self._subscribers.append(on_change)

    def ledger(self, target: Target) -> Ledger:
        """Look up the ledger of a policy; an empty one where we hold nothing."""
        stored = self._stored.get(target)
        return stored.ledger if stored else Ledger(target)

    def all(self) -> Iterator[Ledger]:
        """Iterate over all ledgers that exist now."""
        return iter([stored.ledger for stored in self._stored.values()])

    def account_of(self, owner: str) -> AccountRecord | None:
        """Look up the account of the CloudRunIdentity `namespace/name`."""
        return self._index.account_of(owner)

    def account_home(self, owner: str) -> Target | None:
        """Look up the account, as a target, whose ledger names that owner."""
        return self._index.account_home(owner)

    def owner_of(self, email: str) -> AccountRecord | None:
        """Look up the record, and by it the owner, of the account with this e-mail."""
        return self._index.owner_of(email)

    def role_home(self, owner: str) -> tuple[str, RoleRecord] | None:
        """Look up the role of the CustomRole `namespace/name`, and the id of its project."""
        return self._index.role_home(owner)

    def key_home(self, owner: str) -> Target | None:
        """Look up the account that keys were made of for the IdentityKey `namespace/name`."""
        return self._index.key_home(owner)

    def attachment_home(self, owner: str) -> Target | None:
        """Look up the workload that the IdentityAttachment `namespace/name` moved."""
        return self._index.attachment_home(owner)

    def held_by(self, owner_key: str) -> frozenset[Target]:
        """Look up the targets on which a claimant of that seat (its name without UID) holds something."""
        return self._index.held_by(owner_key)

    def check_complete(self) -> None:
        """Make sure that everything that is held is known.

        Raises `LedgerInvalid` while a ledger makes no sense of which nothing was read since the start.
        """
        for why in self._unread.values():
            raise LedgerInvalid(why)

    def targets(self, project_id: str) -> Iterable[Target]:
        """Look up the targets in a project on which we hold anything."""
        return self._index.targets(project_id)

    async def fill(self) -> None:
        """Read all ledgers there are; raises `KubeError`."""
        for raw in await self._client.list(_RESOURCE, self._namespace):
            self.observed(raw, deleted=False)

    async def namespaces_elsewhere(self) -> frozenset[str]:
        """Name the other namespaces with ledgers: those of an operator that was started differently."""
        everywhere = await self._client.list(_RESOURCE)
        return frozenset(raw["metadata"]["namespace"] for raw in everywhere) - {self._namespace}

    def observed(self, raw: Object, *, deleted: bool) -> frozenset[str]:
        """Take in what a list or a watch says; what is older than what we know is dropped.

        Returns the seats of those for whom a ledger held something that somebody else has deleted now.
        """
        metadata = raw["metadata"]
        if metadata["namespace"] != self._namespace or self._is_known(metadata):
            return frozenset()
        try:
            ledger = from_object(raw)
        except LedgerInvalid as error:
            _log.error("%s", error)
            if deleted:
                self._unread.pop(metadata["name"], None)
            elif metadata["name"] not in self._versions:
                self._unread[metadata["name"]] = str(error)
            return frozenset()
        self._unread.pop(metadata["name"], None)
        if metadata["name"] != object_name(ledger.target):
            _log.warning("PolicyLedger %s/%s is none of ours: ignored", self._namespace, metadata["name"])
            return frozenset()
        stored = _Stored(ledger, _without_managed_fields(metadata))
        self._versions[metadata["name"]] = stored.version
        known = self._stored.get(ledger.target)
        self._set(ledger.target, None if deleted else stored)
        is_lost = known and deleted and ledger.entries and metadata["uid"] not in self._leaving
        return self._lost(ledger) if is_lost else frozenset()

    async def update(self, target: Target, change: Change) -> Ledger:
        """Apply a pure function to the newest ledger and store what comes of it; returns what is stored.

        Nothing is written when the result is the same but for `last_write_time` and `foreign_members`. An
        empty result deletes the object. `change` is called again when somebody else has written in between.

        Raises `LedgerFull` when an entry is added beyond the bounds, `LedgerPruned` when the reply lacks
        one, `LedgerInvalid` when the stored object makes no sense, and `KubeError`. After any of them the
        policy must not be written.
        """
        lock = self._locks.setdefault(target, asyncio.Lock())
        async with lock:
            for _ in range(TRIES):
                stored = self._stored.get(target)
                old = self.ledger(target)
                new = change(old)
                if _essence(new) == _essence(old):
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
            f"PolicyLedger {self._namespace}/{object_name(target)} changed under each of {TRIES} tries",
        )

    async def _write(self, stored: _Stored | None, old: Ledger, new: Ledger) -> Ledger:
        if new.is_empty:
            return await self._delete(stored, new.target)
        metadata = stored.metadata if stored else self._new_metadata(new.target)
        refuse_too_many(old, new)
        raw = to_object(new, metadata)
        refuse_too_large(old, new, raw)
        reply = await (
            self._client.replace(_RESOURCE, raw) if stored else self._client.create(_RESOURCE, raw)
        )
        self.observed(reply, deleted=False)
        if (kept := from_object(reply)) != from_object(raw):
            raise LedgerPruned(
                f"PolicyLedger {self._namespace}/{metadata['name']}: the API server did not keep all that "
                f"was written, so the installed CRDs are older than this operator: run `{INSTALL}`"
            )
        return kept

    async def _delete(self, stored: _Stored | None, target: Target) -> Ledger:
        if stored:
            name, uid = stored.metadata["name"], stored.metadata["uid"]
            self._leaving.add(uid)  # a watch may tell of its end before the reply does
            try:
                await self._client.delete(
                    _RESOURCE, name, self._namespace, uid=uid, resource_version=str(stored.version)
                )
                self._set(target, None)
            finally:
                self._leaving.discard(uid)
        return Ledger(target)

    async def _read(self, target: Target) -> None:
        """Bring the newest object into the cache; raises `LedgerInvalid`, lest it be overwritten."""
        try:
            raw = await self._client.get(_RESOURCE, object_name(target), self._namespace)
        except KubeError as error:
            if not error.is_not_found:
                raise
            self._set(target, None)
        else:
            from_object(raw)
            self.observed(raw, deleted=False)

    def _lost(self, ledger: Ledger) -> frozenset[str]:
        """Tell of a ledger that went without our asking."""
        _log.warning(
            "somebody deleted PolicyLedger %s/%s: what it held on %s is taken for somebody else's now",
            self._namespace,
            object_name(ledger.target),
            ledger.target.full_name,
        )
        return ledger.owner_keys

    def _is_known(self, metadata: Object) -> bool:
        """Whether this was seen before, or something newer: most events only echo our own writes."""
        return int(metadata["resourceVersion"]) <= self._versions.get(metadata["name"], 0)

    def _set(self, target: Target, stored: _Stored | None) -> None:
        old = self.ledger(target)
        if stored is None:
            self._stored.pop(target, None)
            self._forget_but_the_last_gone(target)
        else:
            self._stored[target] = stored
        new = self.ledger(target)
        if new == old:
            return
        self._index.change(old, new)
        for on_change in self._subscribers:
            on_change(old, new)

    def _forget_but_the_last_gone(self, target: Target) -> None:
        """Keep the version of a ledger that went for as long as watches may still bring older news of it."""
        self._gone.append(target)
        while len(self._gone) > GONE_KEPT:
            forgotten = self._gone.popleft()
            if forgotten not in self._stored and forgotten not in self._gone:
                self._versions.pop(object_name(forgotten), None)

    def _new_metadata(self, target: Target) -> Object:
        return {"name": object_name(target), "namespace": self._namespace}


def _essence(ledger: Ledger) -> Ledger:
    """Leave out what is stored only together with something else."""
    return replace(ledger, unmanaged_members=0, last_write_time=None)


def _without_managed_fields(metadata: Object) -> Object:
    return {key: value for key, value in metadata.items() if key != "managedFields"}
