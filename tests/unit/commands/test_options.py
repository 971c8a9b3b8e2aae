"""Options that several commands share."""

import sys

import pytest

from cloudrun_identity.commands.options import use_colors


@pytest.mark.parametrize(
    ("terminal", "variable", "option", "colors"),
    [
        (True, "", False, True),
        (True, "1", False, False),
        (True, "", True, False),
        (False, "", False, False),
    ],
)
def test_colors_are_for_terminals_only_and_can_be_switched_off(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, variable: str, option: bool, colors: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", variable)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert use_colors(no_color=option) is colors
