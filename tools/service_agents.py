"""Convert a description of Google Cloud's service agents into the table that the operator ships.

    python tools/service_agents.py --described FILE --date DATE --source URL

`FILE` is the YAML list `modules/project/service-agents.yaml` of the Cloud Foundation Fabric, which Google
generates from its documentation. The output is reproducible. The script prints the rows that are new or
removed since the last table.

`docs/dev/service-agents.md` documents the source of the table and how to update it.
"""

import argparse
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

TABLE = Path(__file__).parents[1] / "operator/cloudrun_identity/iam/service_agents.tsv"
OF_GOOGLE = {
    "@gae-api-prod.iam.": "@gae-api-prod.google.com.iam.",
    "@cloud-ml.iam.": "@cloud-ml.google.com.iam.",
}
"""Domains that the description shortens. Both projects belong to the organization google.com."""


def main() -> None:
    """Write the table and print what changed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--described", type=Path, required=True, help="YAML list of the service agents")
    parser.add_argument("--date", required=True, help="date of the description, such as 2026-04-22")
    parser.add_argument("--source", required=True, help="address of the description at that date")
    arguments = parser.parse_args()
    after = text(yaml.safe_load(arguments.described.read_text()), arguments.date, arguments.source)
    before = TABLE.read_text() if TABLE.exists() else ""
    TABLE.write_text(after)
    for sign, some, others in (("-", before, after), ("+", after, before)):
        for row in sorted(set(rows(some)) - set(rows(others))):
            print(sign, row)


def text(described: Iterable[Mapping[str, Any]], date: str, source: str) -> str:
    """Return the table: two lines about its origin, and a row for each service agent of a project."""
    found = sorted(_rows(described))
    return "\n".join((f"# date: {date}", f"# source: {source}", *found, ""))


def rows(table: str) -> Iterator[str]:
    """Yield the rows of a table."""
    return (line for line in table.splitlines() if not line.startswith("#"))


def _rows(described: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for agent in described:
        if agent["api"] is None:  # the agent of all Google APIs belongs to no service
            continue
        email = agent["identity"].replace("${universe_domain}", "").replace("${project_number}", "NUMBER")
        for shown, whole in OF_GOOGLE.items():
            email = email.replace(shown, whole)
        yield f"{agent['api']}\t{email}\t{'primary' if agent['is_primary'] else '-'}"


if __name__ == "__main__":
    main()
