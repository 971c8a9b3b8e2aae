import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.iam.patterns import matches, matches_any

texts = st.text(alphabet="ab.?[*", max_size=8)


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("roles/run.invoker", "roles/run.invoker"),
        ("roles/run.invoker", "roles/run.*"),
        ("roles/run.invoker", "*.invoker"),
        ("roles/run.invoker", "r*.*r"),
        ("roles/run.invoker", "*"),
        ("", "*"),
        ("", ""),
        ("checkout-", "checkout-*"),
        ("abab", "*ab"),
        ("a\nb", "a*b"),
    ],
)
def test_pattern_matches_the_whole_text(text: str, pattern: str) -> None:
    assert matches(text, pattern)


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("roles/run.invoker", "run.invoker"),
        ("roles/run.invoker", "roles/run"),
        ("roles/runXinvoker", "roles/run.invoker"),
        ("roles/run.invoker", "roles/run.invoke?"),
        ("roles/run.invoker", "roles/run.[a-z]*"),
        ("Roles/run.invoker", "roles/*"),
        ("aba", "ab*ba"),
        ("ab", "a*ab"),
        ("anything", ""),
    ],
)
def test_only_the_asterisk_is_special(text: str, pattern: str) -> None:
    assert not matches(text, pattern)


def test_no_patterns_match_nothing() -> None:
    assert not matches_any("anything", [])
    assert matches_any("anything", ["nothing", "any*"])


@given(st.lists(texts, min_size=1, max_size=5), st.lists(texts, min_size=5, max_size=5))
def test_any_text_in_place_of_an_asterisk_matches(parts: list[str], fillings: list[str]) -> None:
    literal = [part.replace("*", "") for part in parts]
    filled = literal[0] + "".join(a + b for a, b in zip(fillings, literal[1:], strict=False))
    assert matches(filled, "*".join(literal))


@given(texts, texts)
def test_pattern_without_asterisk_matches_only_itself(text: str, pattern: str) -> None:
    literal = pattern.replace("*", "")
    assert matches(text, literal) == (text == literal)


@given(texts, texts, st.integers(min_value=0, max_value=8))
def test_additional_asterisk_never_matches_less(text: str, pattern: str, at: int) -> None:
    if matches(text, pattern):
        assert matches(text, f"{pattern[:at]}*{pattern[at:]}")
