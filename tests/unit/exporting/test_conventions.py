"""Patterns of naming conventions."""

from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.exporting.conventions import combined
from cloudrun_identity.iam.patterns import matches_any

WORDS = st.sampled_from(("a", "b", "runner", "team"))
NAMES = st.sets(st.lists(WORDS, min_size=1, max_size=3).map("-".join))


def patterns(names: list[str], others: tuple[str, ...] = ()) -> list[str]:
    return combined(names, {*names, *others}, "names").patterns


def test_names_with_a_common_prefix_become_a_pattern() -> None:
    names = [f"team-a-{each}" for each in ("web", "api", "jobs")]

    assert patterns([*names, "checkout"]) == ["checkout", "team-*"]
    assert patterns([*names, "checkout"], ("team-b-web",)) == ["checkout", "team-a-*"]


def test_names_with_a_common_suffix_become_a_pattern() -> None:
    assert patterns(["web-runner", "api-runner", "jobs-runner"]) == ["*-runner"]


def test_pattern_matches_no_other_name_that_exists() -> None:
    names = ["team-a-web", "team-a-api", "team-a-jobs"]

    assert patterns(names, ("team-a-operator",)) == sorted(names)


def test_few_names_become_no_pattern() -> None:
    assert patterns(["team-a-web", "team-a-api"]) == ["team-a-api", "team-a-web"]


def test_all_names_after_a_fixed_part_become_a_pattern() -> None:
    names = [f"identity:shop/{each}" for each in ("web", "api", "jobs")]

    found = combined(names, {*names, "identity:shop2/web"}, "identities", "identity:shop/")

    assert found.patterns == ["identity:shop/*"]


@given(NAMES, NAMES)
def test_patterns_match_only_the_given_names_that_exist(names: set[str], others: set[str]) -> None:
    found = combined(names, names | others, "names").patterns

    assert {name for name in names | others if matches_any(name, found)} == names
