"""References of a spec: each resolves to a value, or to the reason why it does not."""

from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from .outcomes import Outcome


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A reference that does not resolve."""

    text: str
    """The reference as statuses show it."""
    outcome: Outcome
    """Outcome for the object: the reason why the reference does not resolve."""
    name: str = ""
    """Full name of what it refers to, where that is known although it does not resolve."""

    def __str__(self) -> str:
        return self.text


T = TypeVar("T")

Resolved: TypeAlias = T | Unresolved
"""Value that a reference resolves to (a target, a role or a member), or `Unresolved`."""
