from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cloudrun_identity.api import Duration, parse_duration
from cloudrun_identity.api.schema import ApiModel


class Pause(ApiModel):
    length: Duration = Duration("5m")


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("0s", timedelta()),
        ("90s", timedelta(seconds=90)),
        ("5m", timedelta(minutes=5)),
        ("24h", timedelta(hours=24)),
        ("1h30m", timedelta(minutes=90)),
        ("1.5h", timedelta(minutes=90)),
        ("1h2m3s4ms", timedelta(hours=1, minutes=2, seconds=3, milliseconds=4)),
        ("250ms", timedelta(milliseconds=250)),
    ],
)
def test_duration_uses_the_notation_of_go(text: str, length: timedelta) -> None:
    assert parse_duration(text) == length


@pytest.mark.parametrize("text", ["", "5", "m", "-5m", "5 m", "5d", "m5", "1m1h", "5m\n", "1e3s", "100000h"])
def test_other_text_is_refused_with_the_text(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration such as 90s, 5m or 1h30m"):
        parse_duration(text)


@given(
    st.integers(0, 99_999),
    st.integers(0, 9_999_999),
    st.integers(0, 999_999_999),
    st.integers(0, 999_999_999),
)
def test_longest_durations_fit_64_bits_of_nanoseconds(
    hours: int, minutes: int, seconds: int, ms: int
) -> None:
    length = parse_duration(f"{hours}h{minutes}m{seconds}s{ms}ms")

    assert length == timedelta(hours=hours, minutes=minutes, seconds=seconds, milliseconds=ms)
    assert length // timedelta(microseconds=1) * 1000 < 2**63


def test_duration_field_keeps_its_text() -> None:
    pause = Pause.model_validate({"length": "90m"})

    assert pause.length.timedelta == timedelta(minutes=90)
    assert pause.to_dict() == {"length": "90m"}


def test_duration_field_refuses_other_text() -> None:
    with pytest.raises(ValidationError, match='"soon" is not a duration'):
        Pause.model_validate({"length": "soon"})


def test_default_of_a_duration_field_is_a_duration() -> None:
    assert Pause().length.timedelta == timedelta(minutes=5)
