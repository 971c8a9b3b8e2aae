"""Ledgers in memory, as the API server has them: by target, by object name and by project."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from cloudrun_identity.iam.grants import Target
from cloudrun_identity.kube.resources import Object

from .elsewhere import ledger_digest
from .model import Ledger


@dataclass(frozen=True)
class StoredLedger:
    """A ledger as the API server has it, with the metadata for the next write."""

    ledger: Ledger
    metadata: Object

    @property
    def name(self) -> str:
        """Name of the object."""
        return str(self.metadata["name"])

    def digest(self) -> str:
        """Return the digest of the records, which is computed once."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        return ledger_digest(self.ledger)


class StoredLedgers:
    """The ledgers of all targets."""

    def __init__(self) -> None:
        self._by_target: dict[Target, StoredLedger] = {}
        self._by_name: dict[str, StoredLedger] = {}
        self._by_project: defaultdict[str, dict[str, StoredLedger]] = defaultdict(dict)

    def get(self, target: Target) -> StoredLedger | None:
        """Return the ledger of a target; None if there is none."""
        return self._by_target.get(target)

    def named(self, name: str) -> StoredLedger | None:
        """Return the ledger in the object of this name; None if there is none."""
        return self._by_name.get(name)

    def all(self) -> Iterator[Ledger]:
        """Iterate over a copy of the list of ledgers."""
        return iter([stored.ledger for stored in self._by_target.values()])

    def digests(self, project_id: str) -> Mapping[str, Callable[[], str]]:
        """Return by name the functions that return the digests of the ledgers of a project."""
        return {name: stored.digest for name, stored in self._by_project.get(project_id, {}).items()}

    def put(self, stored: StoredLedger) -> None:
        """Add a ledger, or replace that of the same target."""
        target = stored.ledger.target
        self.remove(target)
        self._by_target[target] = self._by_name[stored.name] = stored
        self._by_project[target.project_id][stored.name] = stored

    def remove(self, target: Target) -> None:
        """Remove the ledger of a target, if there is one."""
        if stored := self._by_target.pop(target, None):
            del self._by_name[stored.name]
            of_project = self._by_project[target.project_id]
            del of_project[stored.name]
            if not of_project:
                del self._by_project[target.project_id]
