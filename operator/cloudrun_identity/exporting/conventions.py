"""Naming conventions: patterns that match many names of an export, and no other name that exists."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from cloudrun_identity.iam.patterns import matches

MIN_NAMES = 3
"""Minimum number of names that a pattern replaces."""


@dataclass(frozen=True, slots=True, order=True)
class Convention:
    """A pattern that replaces several names of the export. It also matches later names of its form."""

    subject: str
    """Kind of the names."""
    pattern: str
    """The pattern."""
    count: int
    """Number of exported names that the pattern replaces."""

    def __str__(self) -> str:
        return f"{self.pattern} replaces {self.count} {self.subject}"


@dataclass(frozen=True, slots=True)
class Names:
    """Names for a guardrail entry: patterns, and the names that no pattern replaces."""

    conventions: tuple[Convention, ...]
    """The patterns."""
    others: tuple[str, ...]
    """All other names, sorted."""

    @property
    def patterns(self) -> list[str]:
        """Patterns and other names, sorted."""
        return sorted((*(each.pattern for each in self.conventions), *self.others))


def combined(names: Iterable[str], existing: Collection[str], subject: str, fixed: str = "") -> Names:
    """Return patterns for the names that match none of the other existing names.

    A pattern ends or starts at a separator, such as `team-a-*` and `*-runner`. Each name begins with `fixed`,
    and so does each pattern. The widest patterns are chosen first.
    """
    left = set(names)
    exported = Counter(pattern for name in left for pattern in _candidates(name, fixed))
    all_names = Counter(pattern for name in {*existing, *left} for pattern in _candidates(name, fixed))
    widest = sorted(exported, key=lambda pattern: (-exported[pattern], len(pattern), pattern))
    found: list[Convention] = []
    for pattern in widest:
        if exported[pattern] < MIN_NAMES:
            break
        if exported[pattern] != all_names[pattern]:
            continue
        replaced = {name for name in left if matches(name, pattern)}
        if len(replaced) >= MIN_NAMES:
            found.append(Convention(subject, pattern, len(replaced)))
            left -= replaced
    return Names(tuple(found), tuple(sorted(left)))


def _candidates(name: str, fixed: str) -> Iterator[str]:
    """Yield the patterns of naming conventions that match a name."""
    if not name.startswith(fixed):
        return
    rest = name[len(fixed) :]
    if fixed:
        yield f"{fixed}*"
    for position, letter in enumerate(rest[:-1]):
        if letter in _SEPARATORS and position > 0:
            yield f"{fixed}{rest[: position + 1]}*"
            yield f"{fixed}*{rest[position:]}"


_SEPARATORS = "-_./"
