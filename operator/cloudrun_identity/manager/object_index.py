"""Objects that could be read: found by name and by kind, by what they refer to and by what they declare."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from cloudrun_identity.api import ReconciledResource, Resource
from cloudrun_identity.kube.resources import Object
from cloudrun_identity.reconcile.cluster_state import ObjectKey, StoredObject
from cloudrun_identity.reconcile.reconciler import AnyKindReconciler

Kind = TypeVar("Kind", bound=Resource)


@dataclass(frozen=True, slots=True)
class Entry(StoredObject):
    """An object as it was sent and as it was read, and what its kind says of it.

    `declares` is the kind with what of Google Cloud only one object of it may declare, empty if several may.
    """

    obj: ReconciledResource
    references: frozenset[ObjectKey]
    declares: tuple[str, str]


class ObjectIndex:
    """Every object that could be read, as it was read last."""

    def __init__(self, kinds: Mapping[str, AnyKindReconciler]) -> None:
        self._kinds = kinds
        self._entries: dict[ObjectKey, Entry] = {}
        self._of_kind: defaultdict[str, dict[ObjectKey, Entry]] = defaultdict(dict)
        self._referrers: defaultdict[ObjectKey, set[ObjectKey]] = defaultdict(set)
        self._declarers: defaultdict[tuple[str, str], set[ObjectKey]] = defaultdict(set)

    def put(self, key: ObjectKey, raw: Object, obj: ReconciledResource) -> None:
        """Take in an object, in the place of what was known of it."""
        self.remove(key)
        kind = self._kinds[key.kind]
        entry = Entry(raw, obj, kind.references(obj), (key.kind, kind.declares(obj)))
        self._entries[key] = self._of_kind[key.kind][key] = entry
        for reference in entry.references:
            self._referrers[reference].add(key)
        self._declarers[entry.declares].add(key)

    def remove(self, key: ObjectKey) -> None:
        """Forget an object, if it is known."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        del self._of_kind[key.kind][key]
        for reference in entry.references:
            _discard(self._referrers, reference, key)
        _discard(self._declarers, entry.declares, key)

    def get(self, key: ObjectKey) -> Entry | None:
        """What is known of an object."""
        return self._entries.get(key)

    def __contains__(self, key: ObjectKey) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[ObjectKey]:
        return iter(self._entries)

    def entries(self) -> Iterable[tuple[ObjectKey, Entry]]:
        """Every object."""
        return self._entries.items()

    def one(self, kind: type[Kind], key: ObjectKey) -> Kind | None:
        """The object of this name, as its kind."""
        entry = self._entries.get(key)
        return entry.obj if entry and isinstance(entry.obj, kind) else None

    def all(self, kind: type[Kind]) -> list[Kind]:
        """All objects of one kind."""
        return [entry.obj for entry in self._of_kind[kind.__name__].values() if isinstance(entry.obj, kind)]

    def raws(self, kind: type[Resource]) -> list[Object]:
        """The same as they were sent."""
        return [entry.raw for entry in self._of_kind[kind.__name__].values()]

    def referrers(self, key: ObjectKey) -> Collection[ObjectKey]:
        """The objects that refer to this one, whether it is known or not."""
        return self._referrers.get(key, ())

    def declarers(self, declares: tuple[str, str]) -> Collection[ObjectKey]:
        """The objects that declare this, as `Entry.declares` has it; none of what several may declare."""
        return self._declarers.get(declares, ()) if declares[1] else ()


def _discard(index: "defaultdict[Any, set[ObjectKey]]", at: object, key: ObjectKey) -> None:
    index[at].discard(key)
    if not index[at]:
        del index[at]
