"""Guardrails that admit the exported grants."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.api import MAX_PATTERNS, TargetKind
from cloudrun_identity.exporting.entries import Entry, cover, split

Single = tuple[str, str, str]


def single(role: str, name: str, member: str) -> Entry:
    return Entry(
        "shop",
        TargetKind.SERVICE,
        "europe-west1",
        "",
        False,
        frozenset({role}),
        frozenset({name}),
        frozenset({member}),
    )


def admitted(entries: list[Entry]) -> set[Single]:
    return {each for entry in entries for each in product(entry.roles, entry.names, entry.members)}


LETTERS = st.sampled_from("abcd")


@given(st.sets(st.tuples(LETTERS, LETTERS, LETTERS)))
def test_merged_entries_admit_exactly_the_same_grants(grants: set[Single]) -> None:
    entries = cover(single(*grant) for grant in grants)

    assert admitted(entries) == grants
    assert len(entries) <= len(grants)


@given(st.sets(st.tuples(LETTERS, LETTERS, LETTERS)))
def test_merge_does_not_depend_on_order(grants: set[Single]) -> None:
    forth, back = sorted(grants), sorted(grants, reverse=True)

    assert cover(single(*grant) for grant in forth) == cover(single(*grant) for grant in back)


def test_long_list_of_members_is_split_into_entries() -> None:
    members = [f"user:u{number}@example.com" for number in range(MAX_PATTERNS + 1)]

    (entry,) = cover(single("roles/run.invoker", "web", member) for member in members)
    entries = list(split(entry))

    assert [len(entry.members) for entry in entries] == [MAX_PATTERNS, 1]


def test_roles_with_the_same_members_share_an_entry() -> None:
    entries = cover(single(role, "web", member) for role in "ab" for member in "xyz")

    assert [(sorted(entry.roles), sorted(entry.members)) for entry in entries] == [
        (["a", "b"], ["x", "y", "z"])
    ]
