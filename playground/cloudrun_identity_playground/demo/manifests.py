"""The manifests that the demo applies: the examples with a change feed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

EXAMPLES = ("prefect", "checkout")
"""Examples that are applied at the start, in this order."""

DIRECTORY = Path(__file__).parent / "examples"
"""Directory of the examples: a symbolic link in a checkout, a copy in the distributions."""

SEED = DIRECTORY / "seed.yaml"
"""State of Google Cloud at the start of the demo."""


@dataclass(frozen=True, slots=True)
class Example:
    """The objects of one example, in the order of its files."""

    name: str
    objects: tuple[dict[str, Any], ...]


def load(name: str, subscription: str) -> Example:
    """Read an example, and set this subscription as the change feed of its ManagedProjects."""
    return Example(name, _read(DIRECTORY / name, subscription))


def projects(*names: str) -> tuple[str, ...]:
    """Return the IDs of the Google Cloud projects of these examples."""
    objects = [obj for name in names for obj in _read(DIRECTORY / name, "")]
    declared = [obj for obj in objects if obj["kind"] == "ManagedProject"]
    return tuple(dict.fromkeys(obj["spec"].get("projectID", obj["metadata"]["name"]) for obj in declared))


def amount(kind: str, count: int) -> str:
    """Return a number of objects in words: `1 CustomRole`, `2 CloudRunIdentities`."""
    if count == 1:
        return f"1 {kind}"
    return f"{count} {kind[:-1]}ies" if kind.endswith("ty") else f"{count} {kind}s"


def _read(place: Path, subscription: str) -> tuple[dict[str, Any], ...]:
    objects = [obj for file in sorted(place.glob("*.yaml")) for obj in yaml.safe_load_all(file.read_text())]
    for obj in objects:
        if obj["kind"] == "ManagedProject":
            obj["spec"]["changeFeed"] = {"subscription": subscription, "reportActors": True}
    return tuple(objects)
