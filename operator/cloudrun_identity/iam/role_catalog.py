"""Catalog of Google Cloud's predefined roles, as they were at one date.

The operator reads roles from Google. The catalog is for what needs all of them, or needs them without Google:
the judgment of permissions that the escalation table does not name, `cloudrun-identity role explain`, the
emulator, and tests. `tools/role_catalog.py` writes the file; `docs/dev/role-catalog.md` names its source.
"""

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from itertools import accumulate

_FILE = "predefined_roles.txt.gz"


@dataclass(frozen=True, slots=True)
class PredefinedRole:
    """A role that Google maintains."""

    name: str
    """Full name, such as `roles/run.admin`."""
    title: str
    """Title that the Google Cloud console shows."""
    stage: str
    """Launch stage: ALPHA, BETA, GA or DEPRECATED."""
    permissions: tuple[str, ...]
    """Permissions in the role, sorted."""


class RoleCatalog(Mapping[str, PredefinedRole]):
    """Predefined roles by name. A role is decoded when it is first read."""

    def __init__(self, text: str) -> None:
        head, _, rows = text.partition("\n\n")
        described, _, permissions = head.partition("\n")
        metadata: Mapping[str, str] = json.loads(described)
        self.date = metadata["date"]
        """Date at which Google described the roles, such as `2026-08-22`."""
        self.source = metadata["source"]
        """Address of the descriptions."""
        self.permissions = tuple(permissions.split("\n"))
        """All permissions in the roles, sorted."""
        self._rows = {row.partition("\t")[0]: row for row in rows.splitlines()}
        self._decoded: dict[str, PredefinedRole] = {}

    def __getitem__(self, name: str) -> PredefinedRole:
        role = self._decoded.get(name)
        if role is None:
            role = self._decoded[name] = self._decode(self._rows[name])
        return role

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def _decode(self, row: str) -> PredefinedRole:
        name, stage, title, differences = row.split("\t")
        numbers = accumulate(map(int, differences.split(","))) if differences else ()
        return PredefinedRole(name, title, stage, tuple(self.permissions[number] for number in numbers))


@lru_cache(maxsize=1)
def role_catalog() -> RoleCatalog:
    """Return the catalog that the operator ships. It takes some milliseconds once, and 2 MB of memory."""
    packed = resources.files(__package__).joinpath(_FILE).read_bytes()
    return RoleCatalog(gzip.decompress(packed).decode())


@lru_cache(maxsize=1)
def known_permissions() -> frozenset[str]:
    """Return all permissions of the catalog."""
    return frozenset(role_catalog().permissions)
