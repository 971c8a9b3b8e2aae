"""Test hooks: crash points and the adjustable clock for keys."""

import os
import signal
from datetime import timedelta
from pathlib import Path

import pytest

from cloudrun_identity.manager.hooks import DIE_AT, KEY_CLOCK, checkpoints, key_clock, now


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    kills: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: kills.append((pid, number)))
    return kills


def steps_until_killed(killed: list[tuple[int, int]], *steps: str) -> int:
    """Return the number of steps before the first kill, or all of them without a kill."""
    checkpoint = checkpoints()
    for number, step in enumerate(steps, 1):
        checkpoint(step)
        if killed:
            return number
    return len(steps)


@pytest.mark.parametrize("value", [None, ""])
def test_checkpoints_are_ignored_without_the_variable(
    monkeypatch: pytest.MonkeyPatch, killed: list[tuple[int, int]], value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv(DIE_AT, raising=False)
    else:
        monkeypatch.setenv(DIE_AT, value)
    steps_until_killed(killed, "policy read", "policy written", "")
    assert killed == []


@pytest.mark.parametrize(
    ("value", "survived"),
    [
        ("policy read", 1),
        ("policy written", 2),
        ("policy read#1", 1),
        ("policy read#2", 3),
        ("policy read#3", 5),
    ],
)
def test_process_is_killed_at_the_named_step(
    monkeypatch: pytest.MonkeyPatch, killed: list[tuple[int, int]], value: str, survived: int
) -> None:
    monkeypatch.setenv(DIE_AT, value)
    steps = ("policy read", "policy written") * 3
    assert steps_until_killed(killed, *steps) == survived
    assert killed == [(os.getpid(), signal.SIGKILL)]


def test_other_steps_do_not_kill_the_process(
    monkeypatch: pytest.MonkeyPatch, killed: list[tuple[int, int]]
) -> None:
    monkeypatch.setenv(DIE_AT, "no such step")
    steps_until_killed(killed, "policy read", "policy written")
    assert killed == []


def test_key_clock_is_the_wall_clock_without_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_CLOCK, raising=False)
    assert key_clock() is now


def test_key_clock_runs_ahead_by_the_seconds_in_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "ahead"
    monkeypatch.setenv(KEY_CLOCK, str(file))
    clock = key_clock()
    for days in (0, 30):
        file.write_text(str(days * 86400))
        assert (
            timedelta(0)
            <= clock() - now() - timedelta(days=days) + timedelta(seconds=5)
            < timedelta(seconds=6)
        )
