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
def test_a_pattern_covers_the_whole_text(text: str, pattern: str) -> None:
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
def test_nothing_but_the_asterisk_is_special(text: str, pattern: str) -> None:
    assert not matches(text, pattern)


def test_no_patterns_cover_nothing() -> None:
    assert not matches_any("anything", [])
    assert matches_any("anything", ["nothing", "any*"])


@given(st.lists(texts, min_size=1, max_size=5), st.lists(texts, min_size=5, max_size=5))
def test_whatever_fills_the_asterisks_is_covered(parts: list[str], fillings: list[str]) -> None:
    literal = [part.replace("*", "") for part in parts]
    filled = literal[0] + "".join(a + b for a, b in zip(fillings, literal[1:], strict=False))
    assert matches(filled, "*".join(literal))


@given(texts, texts)
def test_a_pattern_without_asterisk_covers_itself_alone(text: str, pattern: str) -> None:
    literal = pattern.replace("*", "")
    assert matches(text, literal) == (text == literal)


@given(texts, texts, st.integers(min_value=0, max_value=8))
def test_one_more_asterisk_never_covers_less(text: str, pattern: str, at: int) -> None:
    if matches(text, pattern):
        assert matches(text, f"{pattern[:at]}*{pattern[at:]}")
