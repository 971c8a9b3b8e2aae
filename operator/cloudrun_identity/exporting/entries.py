"""Entries of `guardrails.grants` that admit exactly given grants, in as few entries as possible."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from cloudrun_identity.api import MAX_PATTERNS, TARGET_KINDS, NamedBy, TargetKind


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of `guardrails.grants`. It admits each of the roles on each of the targets for each member."""

    namespace: str
    """The namespace of the objects that declare the grants."""
    kind: TargetKind
    """The kind of the targets."""
    location: str
    """The location of the targets; empty for a kind without locations."""
    condition: str
    """The expression of the condition of the grants; empty for unconditional grants."""
    escalates: bool
    """True if the roles allow privilege escalation."""
    roles: frozenset[str]
    """The admitted roles."""
    names: frozenset[str]
    """The names of the targets."""
    members: frozenset[str]
    """The admitted members."""
    service: str = ""
    """The API of the targets of the generic kind; empty for other kinds."""

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as in a manifest, where a project needs no name."""
        names = {} if TARGET_KINDS[self.kind].named_by is NamedBy.PROJECT else {"names": sorted(self.names)}
        return {
            "roles": sorted(self.roles),
            "targetKinds": [self.kind.value],
            **({"services": [self.service]} if self.service else {}),
            **names,
            **({"locations": [self.location]} if self.location else {}),
            "members": sorted(self.members),
            "namespaces": [self.namespace],
            **({"conditions": [self.condition]} if self.condition else {}),
            **({"allowEscalation": True} if self.escalates else {}),
            "claim": True,  # the exported objects set existingGrants: Claim
        }


def cover(single: Iterable[Entry]) -> list[Entry]:
    """Merge entries into fewer ones that admit exactly the same grants.

    Entries merge if they differ in one list only. The result is the shorter one of two orders: members first
    or roles first.
    """
    single = list(single)
    merged: list[list[Entry]] = [
        _merged(single, order) for order in (("members", "names", "roles"), ("roles", "names", "members"))
    ]
    fewest = min(merged, key=len)
    return sorted(fewest, key=_order)


def split(entry: Entry) -> Iterator[Entry]:
    """Split an entry into entries with no list that is too long."""
    lists = [parts(sorted(getattr(entry, field))) for field in _LISTS]
    for roles, names, members in product(*lists):
        yield replace(entry, roles=frozenset(roles), names=frozenset(names), members=frozenset(members))


def parts(items: list[str]) -> list[list[str]]:
    """Split a list into lists that an entry may have."""
    return [items[start : start + MAX_PATTERNS] for start in range(0, len(items), MAX_PATTERNS)]


def _merged(single: list[Entry], order: Sequence[str]) -> list[Entry]:
    entries = single
    for field in order:
        alike: defaultdict[tuple[object, ...], set[str]] = defaultdict(set)
        for entry in entries:
            alike[_without(entry, field)] |= getattr(entry, field)
        entries = [_with(key, field, frozenset(values)) for key, values in alike.items()]
    return entries


def _without(entry: Entry, field: str) -> tuple[object, ...]:
    fixed = (entry.namespace, entry.kind, entry.location, entry.condition, entry.escalates, entry.service)
    return *fixed, *(getattr(entry, each) for each in _LISTS if each != field)


def _with(key: tuple[Any, ...], field: str, values: frozenset[str]) -> Entry:
    namespace, kind, location, condition, escalates, service, *others = key
    lists = dict(zip((each for each in _LISTS if each != field), others, strict=True))
    return Entry(namespace, kind, location, condition, escalates, service=service, **lists, **{field: values})


def _order(entry: Entry) -> tuple[str, int, str, str, str, bool, list[str], list[str], list[str]]:
    return (
        entry.namespace,
        list(TargetKind).index(entry.kind),
        entry.service,
        entry.location,
        entry.condition,
        entry.escalates,
        sorted(entry.roles),
        sorted(entry.names),
        sorted(entry.members),
    )


_LISTS = ("roles", "names", "members")
