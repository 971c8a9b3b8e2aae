"""Convert a crawl of Google Cloud's predefined roles into the catalog that the operator ships.

    python tools/role_catalog.py --roles DIR --listed FILE --date DATE --source URL

`DIR` contains one JSON file per role, as `roles.get` of the IAM API returns it. `FILE` is the JSON array that
`gcloud iam roles list` prints. It excludes retired roles from the catalog. The output is reproducible. The
script prints the roles and permissions that are new or removed since the last catalog.

`docs/dev/role-catalog.md` documents the source of the catalog and how to update it.
"""

import argparse
import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

CATALOG = Path(__file__).parents[1] / "operator/cloudrun_identity/iam/predefined_roles.txt.gz"
SUCCESSORS = {"roles/admin": "roles/owner", "roles/writer": "roles/editor", "roles/reader": "roles/viewer"}
"""Basic roles that the crawls do not contain, with the legacy role that they succeed.

The catalog uses the permissions of the legacy role.
"""


def main() -> None:
    """Write the catalog and print what changed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--roles", type=Path, required=True, help="folder with one JSON file per role")
    parser.add_argument("--listed", type=Path, required=True, help="JSON array of the current roles")
    parser.add_argument("--date", required=True, help="date of the crawl, such as 2026-08-22")
    parser.add_argument("--source", required=True, help="address of the crawl at that date")
    arguments = parser.parse_args()
    found = roles(arguments.roles, arguments.listed)
    before = gzip.decompress(CATALOG.read_bytes()).decode() if CATALOG.exists() else ""
    after = text(found, arguments.date, arguments.source)
    CATALOG.write_bytes(gzip.compress(after.encode(), compresslevel=9, mtime=0))
    for sign, some, others in (("-", before, after), ("+", after, before)):
        for name in sorted(set(names(some)) - set(names(others))):
            print(sign, name)


def roles(folder: Path, listed: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return the current roles by name, as the API describes them."""
    described = {role["name"]: role for role in map(_read, folder.glob("*.json"))}
    current = {role["name"]: role for role in _read(listed) if not role.get("deleted")}
    for name, predecessor in SUCCESSORS.items():
        if name in current and name not in described:
            permissions = described[predecessor]["includedPermissions"]
            described[name] = {**current[name], "includedPermissions": permissions}
    return {name: described[name] for name in sorted(current)}


def text(found: Mapping[str, Mapping[str, Any]], date: str, source: str) -> str:
    """Return the catalog: metadata, a line per permission, an empty line, and a line per role.

    The line of a role contains its name, stage, title and permissions. The permissions are increasing line
    numbers. Each is stored as the difference from the previous one, because small numbers compress well.
    """
    permissions = sorted({each for role in found.values() for each in role.get("includedPermissions", ())})
    numbers = {permission: number for number, permission in enumerate(permissions)}
    rows = (
        "\t".join((name, role.get("stage", "GA"), role["title"].strip(), _differences(role, numbers)))
        for name, role in found.items()
    )
    return "\n".join((json.dumps({"date": date, "source": source}), *permissions, "", *rows, ""))


def names(catalog: str) -> Iterable[str]:
    """Return the permissions and the roles of a catalog."""
    return (line.partition("\t")[0] for line in catalog.splitlines()[1:] if line)


def _differences(role: Mapping[str, Any], numbers: Mapping[str, int]) -> str:
    chosen = sorted(numbers[each] for each in role.get("includedPermissions", ()))
    return ",".join(str(number - before) for before, number in zip((0, *chosen), chosen, strict=False))


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
