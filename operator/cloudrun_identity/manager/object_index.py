"""Index of all objects: valid ones by name, kind, reference and declared resource; invalid ones by name."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from cloudrun_identity.api import IAMBinding, IdentityAttachment, ReconciledResource, Resource
from cloudrun_identity.kube.resources import Object
from cloudrun_identity.kube.sharing import SharedParts
from cloudrun_identity.reconcile.cluster_state import ObjectKey, StoredObject
from cloudrun_identity.reconcile.reconciler import AnyKindReconciler

from .object_counts import ObjectState, invalid_state, state_of

Kind = TypeVar("Kind", bound=Resource)


@dataclass(frozen=True, slots=True)
class Entry(StoredObject):
    """A valid object, parsed once."""

    obj: ReconciledResource
    """The parsed object."""
    references: frozenset[ObjectKey]
    """The objects that it refers to."""
    declares: tuple[str, str]
    """The kind, and the Google Cloud resource that only one object may declare; "" if several may."""


class ObjectIndex:
    """Every object as last seen.

    An object is invalid if its last version does not fit its kind. Its last valid version, if the operator
    has seen one, stays in the index until the object is deleted or valid again.
    """

    def __init__(self, kinds: Mapping[str, AnyKindReconciler]) -> None:
        self._kinds = kinds
        self._entries: dict[ObjectKey, Entry] = {}
        self._by_kind: defaultdict[str, dict[ObjectKey, Entry]] = defaultdict(dict)
        self._referrers: defaultdict[ObjectKey, set[ObjectKey]] = defaultdict(set)
        self._declarers: defaultdict[tuple[str, str], set[ObjectKey]] = defaultdict(set)
        self._locations: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self._states: Counter[ObjectState] = Counter()
        self._invalid: dict[ObjectKey, Object] = {}
        self._sets: SharedParts[frozenset[ObjectKey]] = SharedParts()

    def put(self, key: ObjectKey, raw: Object, obj: ReconciledResource, *, is_removed: bool = False) -> None:
        """Add or replace an object with a valid version."""
        known = self._entries.get(key)
        if known is not None and obj.spec is known.obj.spec:  # what the indexes hold depends on name and spec
            self._invalid.pop(key, None)
            entry = Entry(raw, obj, known.references, known.declares, is_removed=is_removed)
            self._entries[key] = self._by_kind[key.kind][key] = entry
            self._count(known.obj, -1)
            self._count(obj, 1)
            return
        self.remove(key)
        kind = self._kinds[key.kind]
        references, declares = kind.references(obj), (key.kind, kind.declares(obj))
        entry = Entry(raw, obj, self._sets.one_of(references, references), declares, is_removed=is_removed)
        self._entries[key] = self._by_kind[key.kind][key] = entry
        for reference in entry.references:
            self._referrers[reference].add(key)
        self._declarers[entry.declares].add(key)
        if (place := _place_of(obj)) is not None:
            self._locations[place[:2]][place[2]] += 1
        self._count(obj, 1)

    def put_invalid(self, key: ObjectKey, raw: Object) -> None:
        """Add or replace an object with a version that does not fit its kind."""
        self._invalid[key] = raw

    def remove(self, key: ObjectKey) -> None:
        """Remove an object if it is known."""
        self._invalid.pop(key, None)
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        del self._by_kind[key.kind][key]
        self._count(entry.obj, -1)
        for reference in entry.references:
            _discard(self._referrers, reference, key)
        _discard(self._declarers, entry.declares, key)
        if (place := _place_of(entry.obj)) is not None:
            counts = self._locations[place[:2]]
            counts[place[2]] -= 1
            if not counts[place[2]]:
                del counts[place[2]]

    def get(self, key: ObjectKey) -> Entry | None:
        """Return the last valid version of an object."""
        return self._entries.get(key)

    def stored(self, key: ObjectKey) -> StoredObject | None:
        """Return the last version of an object, valid or not."""
        if key in self._invalid:
            return StoredObject(self._invalid[key], None)
        return self._entries.get(key)

    def keys(self) -> Iterable[ObjectKey]:
        """Return the keys of all objects, valid or not."""
        return [*self._entries, *filter(self.was_never_valid, self._invalid)]

    def __contains__(self, key: ObjectKey) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[ObjectKey]:
        return iter(self._entries)

    def entries(self) -> Iterable[tuple[ObjectKey, Entry]]:
        """Return every object with a valid version."""
        return self._entries.items()

    def one(self, kind: type[Kind], key: ObjectKey) -> Kind | None:
        """Return the object with this key, typed by its kind."""
        entry = self._entries.get(key)
        return entry.obj if entry and isinstance(entry.obj, kind) else None

    def all(self, kind: type[Kind]) -> list[Kind]:
        """Return all objects of one kind."""
        return [entry.obj for entry in self._by_kind[kind.__name__].values() if isinstance(entry.obj, kind)]

    def valid(self, kind: type[Kind]) -> list[Kind]:
        """Return all objects of one kind whose last version is valid."""
        entries = self._by_kind[kind.__name__].items()
        return [
            entry.obj for key, entry in entries if key not in self._invalid and isinstance(entry.obj, kind)
        ]

    def raws(self, kind: type[Resource]) -> list[Object]:
        """Return the last valid versions of all objects of one kind, as the API server sent them."""
        return [entry.raw for entry in self._by_kind[kind.__name__].values()]

    def states(self) -> Mapping[ObjectState, int]:
        """Return the number of objects in each state, without looking at each object."""
        states = self._states.copy()
        for key in self._invalid:
            states[invalid_state(key.kind)] += 1
            if entry := self._entries.get(key):
                states[state_of(entry.obj)] -= 1
        return +states

    def _count(self, obj: ReconciledResource, number: int) -> None:
        state = state_of(obj)
        self._states[state] += number
        if not self._states[state]:
            del self._states[state]

    def invalid(self) -> Iterable[tuple[ObjectKey, Object]]:
        """Return every object whose last version is invalid."""
        return self._invalid.items()

    def was_never_valid(self, key: ObjectKey) -> bool:
        """Return whether the object exists, and the operator has seen no valid version of it."""
        return key in self._invalid and key not in self._entries

    def referrers(self, key: ObjectKey) -> Collection[ObjectKey]:
        """Return the valid objects that refer to this one, which need not exist."""
        return self._referrers.get(key, ())

    def locations(self, namespace: str, project: str) -> frozenset[str]:
        """Return the locations that attachments and bindings of a namespace name in a ManagedProject."""
        return frozenset(self._locations.get((namespace, project), ()))

    def declarers(self, declares: tuple[str, str]) -> Collection[ObjectKey]:
        """Return the objects that declare a Google Cloud resource, as in `Entry.declares`."""
        return self._declarers.get(declares, ()) if declares[1] else ()


def _place_of(obj: ReconciledResource) -> tuple[str, str, str] | None:
    """Return the namespace, the ManagedProject and the location that an object names; None without one."""
    match obj:
        case IdentityAttachment():
            location: str | None = obj.spec.workload.location
        case IAMBinding():
            location = obj.spec.target.workload_location
        case _:
            return None
    return (obj.metadata.namespace, obj.spec.project_ref.name, location) if location else None


def _discard(index: "defaultdict[Any, set[ObjectKey]]", at: object, key: ObjectKey) -> None:
    index[at].discard(key)
    if not index[at]:
        del index[at]
