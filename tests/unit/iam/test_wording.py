"""Lists in messages."""

import pytest

from cloudrun_identity.iam.wording import some


@pytest.mark.parametrize(
    ("names", "text"), [("", ""), ("a", "a"), ("abc", "a, b, c"), ("abcde", "a, b, c and 2 more")]
)
def test_long_lists_show_the_first_names_and_count_the_others(names: str, text: str) -> None:
    assert some(names) == text
