import sys
from pathlib import Path

import pytest

from cloudrun_identity_playground.demo import processes
from cloudrun_identity_playground.demo.failure import DemoError
from cloudrun_identity_playground.demo.processes import Parts, environment, free_ports


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A replacement of `python -m cloudrun_identity` that runs its first argument as a shell script."""
    path = tmp_path / "python"
    path.write_text('#!/bin/sh\nshift 2\nexec sh -c "$1"\n')
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))
    return path


@pytest.fixture
def parts(tmp_path: Path, script: Path) -> Parts:
    return Parts(tmp_path)


async def answers() -> bool:
    return True


async def never_answers() -> bool:
    return False


async def test_part_starts_and_stops(parts: Parts) -> None:
    await parts.start("Google Cloud", ("exec sleep 60",), answers)

    assert len(parts.pids) == 1
    parts.check()
    await parts.stop_all()
    assert not parts.pids


async def test_part_that_ends_during_its_start_fails(parts: Parts) -> None:
    with pytest.raises(DemoError, match="the operator ended unexpectedly with exit code 3"):
        await parts.start("operator", ("echo no such cluster; exit 3",), never_answers)

    assert parts.last_log_lines() == ["operator: no such cluster"]


async def test_part_that_does_not_answer_fails(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "START_TIMEOUT", 0.0)

    with pytest.raises(DemoError, match="the operator does not answer"):
        await parts.start("operator", ("exec sleep 60",), never_answers)
    await parts.stop_all()


async def test_part_that_ignores_sigterm_is_killed(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STOP_TIMEOUT", 0.2)
    ready = parts.directory / "ready"

    async def is_deaf() -> bool:
        return ready.exists()

    await parts.start("operator", (f"trap '' TERM; touch {ready}; while :; do sleep 0.1; done",), is_deaf)
    await parts.stop("operator")

    assert not parts.pids


async def test_ended_part_can_be_stopped(parts: Parts) -> None:
    with pytest.raises(DemoError):
        await parts.start("operator", ("exit 0",), never_answers)

    await parts.stop_all()
    assert not parts.pids


async def test_last_log_line_is_truncated(parts: Parts) -> None:
    with pytest.raises(DemoError):
        await parts.start("operator", (f"echo first; echo {'x' * 400}; echo; exit 1",), never_answers)

    (line,) = parts.last_log_lines()
    assert line == f"operator: {'x' * 299}…"


def test_environment_omits_settings_of_another_operator() -> None:
    inherited = {"CLOUDRUN_IDENTITY_RUN_HTTP_PORT": "1", "KUBECONFIG": "/mine", "PATH": "/bin"}

    assert environment(inherited) == {
        "PATH": "/bin",
        "no_proxy": "127.0.0.1,localhost",
        "NO_PROXY": "127.0.0.1,localhost",
    }


def test_loopback_is_added_to_no_proxy() -> None:
    assert environment({"no_proxy": "example.com"})["no_proxy"] == "example.com,127.0.0.1,localhost"


def test_free_ports_are_different() -> None:
    assert len(set(free_ports(8))) == 8
