"""PolicyLedgers in other namespaces: those of differently configured operators, which this one never uses."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from cloudrun_identity.kube.resources import Object

from .model import Ledger
from .objects import owner_keys_named_by


@dataclass(frozen=True, slots=True)
class _Copy:
    """The parts of a PolicyLedger in another namespace that decide about a takeover."""

    project_id: str
    """ID of the project of the target."""
    digest: str
    """Digest of its records; empty if the object is invalid."""
    owner_keys: frozenset[str]
    """The objects that it names, each as KIND/NAMESPACE/NAME."""


@dataclass(frozen=True, slots=True)
class LedgersOfProject:
    """The PolicyLedgers of one project in the cluster."""

    own: Mapping[str, Callable[[], str]]
    """Ledgers in the namespace of this operator: by name, a function that returns the digest."""
    elsewhere: Mapping[str, Mapping[str, str]]
    """Ledgers in other namespaces, by namespace: the digest of each by its name."""

    def not_imported(self, namespace: str) -> tuple[str, ...]:
        """Return the ledgers of another namespace of which this operator has no equal copy."""
        ledgers = self.elsewhere.get(namespace, {})
        return tuple(sorted(name for name, digest in ledgers.items() if not self._has_copy(name, digest)))

    def _has_copy(self, name: str, digest: str) -> bool:
        own = self.own.get(name)
        return own is not None and digest != "" and own() == digest


class LedgersElsewhere:
    """Index of the PolicyLedgers outside the namespace of this operator."""

    def __init__(self) -> None:
        self._copies: dict[tuple[str, str], _Copy] = {}  # by namespace and name
        self._by_project: defaultdict[str, dict[tuple[str, str], str]] = defaultdict(dict)
        self._owner_keys: Counter[str] = Counter()

    def observe(self, raw: Object, *, deleted: bool) -> None:
        """Add a PolicyLedger of another namespace, or remove a deleted one."""
        place = (raw["metadata"]["namespace"], raw["metadata"]["name"])
        if known := self._copies.pop(place, None):
            self._by_project[known.project_id].pop(place, None)
            for owner_key in known.owner_keys:
                self._owner_keys[owner_key] -= 1
                if not self._owner_keys[owner_key]:
                    del self._owner_keys[owner_key]
        if not deleted:
            copy = _Copy(_project_id(raw), digest_of(raw), owner_keys_named_by(raw))
            self._copies[place] = copy
            self._by_project[copy.project_id][place] = copy.digest
            self._owner_keys.update(copy.owner_keys)

    def recording(self, project_id: str) -> Mapping[str, Mapping[str, str]]:
        """Return by namespace the ledgers of a project: the digest of each by its name."""
        found: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for (namespace, name), digest in self._by_project.get(project_id, {}).items():
            found[namespace][name] = digest
        return found

    def name(self, owner_key: str) -> bool:
        """Return whether a ledger names an object."""
        return owner_key in self._owner_keys


def digest_of(raw: Object) -> str:
    """Return the digest of the records in a PolicyLedger; empty if the object is invalid.

    A copy in another namespace has the same digest: the fields that describe the last write do not count.
    """
    try:
        return ledger_digest(Ledger.parse(raw["spec"]))
    except (ValidationError, KeyError):
        return ""


def ledger_digest(ledger: Ledger) -> str:
    """Return the digest of the records in a ledger."""
    records = ledger.replace(
        written_generation=None,
        written_uid="",
        restored=False,
        unmanaged_members=0,
        last_write_time=None,
        usage=None,
    )
    text = json.dumps(records.to_dict(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _project_id(raw: Object) -> str:
    spec = raw.get("spec")
    target = spec.get("target") if isinstance(spec, dict) else None
    project_id = target.get("projectID") if isinstance(target, dict) else None
    return project_id if isinstance(project_id, str) else ""
