"""The command removes its resources: at the end, after an interruption, and those of a crashed run."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from cloudrun_identity.api import WorkloadKind
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.faults import Fault
from tests.time_budget import POLL_EVERY, time_budget
from tools.verify.checks.accounts import MISSING_ACCOUNT
from tools.verify.cleanup import clean_up, cleaned
from tools.verify.runner import check
from tools.verify.sandbox import Sandbox
from tools.verify.workloads import workload

from .conftest import LOCATION, PROJECT, SECRET, state

ROOT = Path(__file__).parents[3]
CREATE_ACCOUNT = "google.iam.admin.v1.IAM/CreateServiceAccount"
CREATE_SERVICE = "google.cloud.run.v2.Services/CreateService"

INTERRUPTIBLE = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("tools.verify", run_name="__main__", alter_sys=True)
"""
"""`python -m tools.verify`, which ends on SIGINT even if a shell started the tests in the background.

Such a shell lets its commands and their children ignore SIGINT. A `preexec_fn` would run Python in a copy of
this process, which the threads of gRPC abort now and then.
"""


async def leave_everything(sandbox: Sandbox) -> None:
    """Leave a workload, an account and grants, as a crash does."""
    await workload(sandbox, WorkloadKind.WORKER_POOL)
    runner = await sandbox.account("runner")
    await sandbox.add(sandbox.grant_on_project(runner))
    on_secret = Grant(Target.secret(PROJECT, SECRET), "roles/secretmanager.viewer", "")
    await sandbox.add(on_secret.of(sandbox.grant_on_project(runner).member))
    deleted = await sandbox.account("deleted")
    await sandbox.add(sandbox.grant_on_project(deleted))
    await sandbox.delete_account(deleted)


async def test_resources_of_a_crashed_run_are_removed(emulator: Emulator, sandbox: Sandbox) -> None:
    before = state(emulator)
    await leave_everything(sandbox)
    assert state(emulator) != before
    assert await clean_up(Sandbox(sandbox.settings, sandbox.clients)) == []
    assert state(emulator) == before


async def test_a_failure_of_the_run_does_not_prevent_clean_up(emulator: Emulator, sandbox: Sandbox) -> None:
    async def fail() -> None:
        async with cleaned(sandbox, []):
            await leave_everything(sandbox)
            raise ZeroDivisionError

    before = state(emulator)
    with pytest.raises(ZeroDivisionError):
        await fail()
    assert state(emulator) == before


async def test_a_write_in_progress_is_awaited_before_clean_up(emulator: Emulator, sandbox: Sandbox) -> None:
    before = state(emulator)
    emulator.faults.delay(CREATE_ACCOUNT, 0.2)
    creating = asyncio.create_task(sandbox.create_account("late"))
    await until(lambda: bool(sandbox.pending))
    creating.cancel()
    with suppress(asyncio.CancelledError):
        await creating
    assert await clean_up(sandbox) == []
    assert emulator.calls[CREATE_ACCOUNT] == 1
    assert state(emulator) == before


async def test_a_resource_that_is_not_removed_is_reported(emulator: Emulator, sandbox: Sandbox) -> None:
    sandbox.settings = replace(sandbox.settings, max_wait=0.05)
    account = await sandbox.create_account("anchor")
    method = "google.iam.admin.v1.IAM/DeleteServiceAccount"
    emulator.faults.add(Fault(method=method, code="PERMISSION_DENIED", message="no access", times=999))
    [left] = await clean_up(sandbox)
    assert account.email in left
    assert "no access" in left


async def test_the_lag_of_new_accounts_delays_clean_up_only(emulator: Emulator, sandbox: Sandbox) -> None:
    before = state(emulator)
    emulator.switches.update({"lag": "0.2s"})
    async with cleaned(sandbox, []):
        await check(MISSING_ACCOUNT, sandbox)
    assert state(emulator) == before


@pytest.mark.parametrize("interrupt", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupted_command_cleans_up(emulator: Emulator, interrupt: signal.Signals) -> None:
    before = state(emulator)
    emulator.faults.delay(CREATE_SERVICE, 1.0)
    command = await start(emulator)
    await until(lambda: emulator.calls[CREATE_SERVICE] > 0)
    command.send_signal(interrupt)
    async with time_budget():
        await command.communicate()
    assert command.returncode == 130
    assert state(emulator) == before


async def test_the_command_prints_and_writes_a_redacted_report(emulator: Emulator, tmp_path: Path) -> None:
    before = state(emulator)
    json_file = tmp_path / "verify.json"
    command = await start(
        emulator, "--only", "missing-account", "--redact", "--secret", SECRET, "--json", str(json_file)
    )
    async with time_budget():
        text, _ = await command.communicate()
    assert command.returncode == 0
    assert text.decode().endswith("\n1 holds\n")
    report = json.loads(json_file.read_text(encoding="utf-8"))
    assert [each["id"] for each in report["beliefs"]] == ["missing-account"]
    assert report["passed"]
    assert PROJECT not in text.decode() + json.dumps(report)
    assert state(emulator) == before


async def test_the_command_removes_what_an_earlier_run_left(emulator: Emulator, sandbox: Sandbox) -> None:
    before = state(emulator)
    await leave_everything(sandbox)
    command = await start(emulator, "--clean-up", "--secret", SECRET)
    async with time_budget():
        text, _ = await command.communicate()
    assert text.decode() == f"nothing of an earlier run is left in project {PROJECT}\n"
    assert state(emulator) == before


async def test_missing_permissions_end_the_command_before_it_creates_anything(
    emulator: Emulator, tmp_path: Path
) -> None:
    emulator.switches.update({"withoutToken": "user:ann@example.com"})
    command = await start(emulator)
    async with time_budget():
        await command.communicate()
    assert command.returncode == 1
    assert emulator.calls[CREATE_ACCOUNT] == 0


async def start(emulator: Emulator, *arguments: str) -> asyncio.subprocess.Process:
    """Start the command against the emulator."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", INTERRUPTIBLE),
        *("--project", PROJECT, "--location", LOCATION, "--google-endpoint", emulator.grpc_address),
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )


async def until(holds: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    async with time_budget():
        while not holds():  # noqa: ASYNC110 - a change in the emulator sets no event
            await asyncio.sleep(POLL_EVERY / 10)
