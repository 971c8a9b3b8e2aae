"""The hook by which tests end the process between two steps."""

import os
import signal

import pytest

from cloudrun_identity.manager.hooks import DIE_AT, checkpoints


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    kills: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: kills.append((pid, number)))
    return kills


def passed_until_killed(killed: list[tuple[int, int]], *steps: str) -> int:
    """How many steps were passed when the process was first killed; all of them if it never was."""
    checkpoint = checkpoints()
    for number, step in enumerate(steps, 1):
        checkpoint(step)
        if killed:
            return number
    return len(steps)


@pytest.mark.parametrize("value", [None, ""])
def test_without_the_variable_every_step_is_passed(
    monkeypatch: pytest.MonkeyPatch, killed: list[tuple[int, int]], value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv(DIE_AT, raising=False)
    else:
        monkeypatch.setenv(DIE_AT, value)
    passed_until_killed(killed, "policy read", "policy written", "")
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
def test_the_process_is_killed_as_by_sigkill_at_the_named_step(
    monkeypatch: pytest.MonkeyPatch, killed: list[tuple[int, int]], value: str, survived: int
) -> None:
    monkeypatch.setenv(DIE_AT, value)
    steps = ("policy read", "policy written") * 3
    assert passed_until_killed(killed, *steps) == survived
    assert killed == [(os.getpid(), signal.SIGKILL)]


def test_a_step_that_is_never_passed_kills_nobody(
    monkeypatch: pytest.MonkeyPatch, killed: list[tuple[int, int]]
) -> None:
    monkeypatch.setenv(DIE_AT, "no such step")
    passed_until_killed(killed, "policy read", "policy written")
    assert killed == []
