"""Naming conventions: patterns that stand for many names, and match no other name that exists."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from cloudrun_identity.iam.patterns import matches

FEWEST = 3
"""Minimum number of names that a pattern stands for."""


@dataclass(frozen=True, slots=True, order=True)
class Convention:
    """A pattern that stands for several names of the export. It also matches later names of its form."""

    subject: str
    """Kind of the names."""
    pattern: str
    """The pattern."""
    count: int
    """Number of exported names that the pattern stands for."""

    def __str__(self) -> str:
        return f"{self.pattern} stands for {self.count} {self.subject}"


@dataclass(frozen=True, slots=True)
class Names:
    """Names for a guardrail entry: patterns, and the names that no pattern stands for."""

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
    ours = Counter(pattern for name in left for pattern in _candidates(name, fixed))
    all_names = Counter(pattern for name in {*existing, *left} for pattern in _candidates(name, fixed))
    widest = sorted(ours, key=lambda pattern: (-ours[pattern], len(pattern), pattern))
    found: list[Convention] = []
    for pattern in widest:
        if ours[pattern] < FEWEST:
            break
        if ours[pattern] != all_names[pattern]:
            continue
        standing = {name for name in left if matches(name, pattern)}
        if len(standing) >= FEWEST:
            found.append(Convention(subject, pattern, len(standing)))
            left -= standing
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
