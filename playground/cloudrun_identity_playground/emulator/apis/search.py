"""Queries of Resource Manager's search methods."""

from __future__ import annotations

import re
from collections.abc import Mapping

from cloudrun_identity_playground.emulator.errors import invalid

_TERM = re.compile(r'(?:"[^"]*"|[^\s"])+')


def terms(query: str) -> Mapping[str, str]:
    """Parse `id:shop-* parent:organizations/1` to fields and their patterns.

    A value with blanks is in quotation marks, such as `displayName="Test String"`:
    https://cloud.google.com/resource-manager/reference/rest/v3/folders/search.

    Raises GoogleError: INVALID_ARGUMENT, a term is not `FIELD:VALUE` or `FIELD=VALUE`.
    """
    found = {}
    for term in _TERM.findall(query):
        if term == "AND":
            continue
        match = re.fullmatch(r"([A-Za-z.]+)[:=](.+)", term)
        if match is None:
            raise invalid(f"Invalid search term '{term}'; expected FIELD:VALUE.")
        found[match[1]] = match[2].strip('"')
    return found


def matches(fields: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Return whether all queried `fields` match their patterns; `*` matches anything, case is ignored."""
    return all(
        re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), fields.get(name, ""), re.IGNORECASE)
        for name, pattern in wanted.items()
    )
