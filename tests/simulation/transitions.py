"""Field transitions: an object that was edited from one valid spec to another ends like a new object.

The method is that of Acto: https://doi.org/10.1145/3600006.3613161.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from . import runner
from .declarations import ObjectName, Spec
from .pool import POOL, Declared
from .steps import Apply, History, Step

_APART = 60.0
"""Seconds between the two specs: the operator has finished the first one."""


def transitions(prefixes: Sequence[str] = ()) -> Iterator[tuple[str, list[str]]]:
    """Yield each transition, with its violations and the differences of its end from that of a new object.

    `prefixes` selects objects by the beginning of KIND/NAMESPACE/NAME.
    """
    for declared in POOL.values():
        if prefixes and not str(declared.name).startswith(tuple(prefixes)):
            continue
        ends: dict[int, dict[str, Any]] = {}
        for first, last in itertools.permutations(range(len(declared.specs)), 2):
            if last not in ends:
                ends[last] = _end(declared, declared.specs[last])
            end = _end(declared, declared.specs[first], declared.specs[last])
            violations = [*ends[last].pop("violations", ()), *end.pop("violations", ())]
            yield f"{declared.name} from {first} to {last}", [*violations, *differences(ends[last], end)]


def differences(expected: dict[str, Any], found: dict[str, Any], path: str = "") -> list[str]:
    """Return the differences of two nested dictionaries, one a line."""
    lines: list[str] = []
    for key in sorted(expected.keys() | found.keys()):
        one, other = expected.get(key), found.get(key)
        place = f"{path}/{key}"
        if isinstance(one, dict) and isinstance(other, dict):
            lines += differences(one, other, place)
        elif one != other:
            lines.append(f"{place}: {other} in place of {one}")
    return lines


def _end(declared: Declared, *specs: Spec) -> dict[str, Any]:
    others = [
        Step(0.0, Apply(each.name, each.specs[0])) for each in POOL.values() if each.name != declared.name
    ]
    edits = [Step(_APART, Apply(declared.name, spec)) for spec in specs]
    if declared.name.kind == "ManagedProject":
        # A tightened project keeps what exists, so that only its own status is the same.
        result = runner.run(History(0, (*others, *edits)), opens_projects=False)
        conditions = result.end.get("conditions", {}).get(str(declared.name), [])
        if not conditions:
            return {"violations": [f"{declared.name} has no conditions", *result.violations]}
        # A suspended project keeps the other conditions as they were.
        is_suspended = specs[-1].get("suspend", False)
        return {"conditions": [each for each in conditions if not is_suspended or each[0] == "Ready"]}
    result = runner.run(History(0, (*others, *edits)))
    end = result.end | {"violations": result.violations}
    if specs[-1].get("disabled"):
        # A workload keeps the identity that was disabled later, and is not given a disabled one.
        end.pop("runsAs", None)
        end.get("conditions", {}).pop("IdentityAttachment/team-a/checkout", None)
    if "displayName" not in specs[-1]:
        _forget_texts(end, declared.name)
    return end


def _forget_texts(end: dict[str, Any], name: ObjectName) -> None:
    """Forget the texts of accounts: the operator leaves a text that is not declared any more."""
    if name.kind == "CloudRunIdentity":
        for account in end.get("accounts", {}).values():
            account.pop("displayName", None)
