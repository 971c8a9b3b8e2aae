"""Changes of policies in a history: who made which grant, and when."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .cloud import resource_of
from .declarations import Grant

_HOUR = 3600.0
_READ_BEFORE = 60.0
"""Seconds in which the operator has read a policy before it writes it."""
_READ_AFTER = 300.0
"""Seconds in which an operator reads a policy after the crash of another one that wrote it."""


class Changes:
    """Changes of policies by operators and by other clients."""

    def __init__(self) -> None:
        self._made: dict[Grant, float] = {}
        self._edits: list[tuple[float, str]] = []
        self._removals: dict[str, list[float]] = {}

    def note_edited(self, resource: str) -> None:
        """Note that another client changed a policy."""
        self._edits.append((_now(), resource))

    def note_made(self, grants: Iterable[Grant]) -> None:
        """Note that an operator made grants."""
        self._made.update(dict.fromkeys(grants, _now()))

    def is_certainly_made(self, grant: Grant) -> bool:
        """Return whether an operator made a grant last, and the next operator can prove it.

        After a crash or a lost reply, it cannot if another client changed the policy before it reads it.
        """
        at = self._made.get(grant)
        return at is not None and not any(
            resource == grant.resource and at - _READ_BEFORE < edited < at + _READ_AFTER
            for edited, resource in self._edits
        )

    def note_removals(self, process: str, count: int) -> None:
        """Note that an operator removed unmanaged members from an Exclusive binding."""
        self._removals.setdefault(process, []).extend([_now()] * count)

    def recent_removals(self, process: str) -> int:
        """Return the number of unmanaged members that an operator removed in the last hour."""
        return sum(at > _now() - _HOUR for at in self._removals.get(process, ()))


def recorded_grants(ledgers: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Grant, Mapping[str, Any]]]:
    """Yield the unconditional grants that ledgers record as present, each with its entry."""
    for ledger in ledgers:
        resource = resource_of(ledger["spec"]["target"]["fullName"])
        for binding in ledger["spec"].get("bindings", ()):
            for entry in binding["members"] if "condition" not in binding else ():
                if entry["state"] == "Granted" and entry.get("owners"):
                    yield Grant(resource, binding["role"], entry["member"]), entry


def _now() -> float:
    return asyncio.get_running_loop().time()
