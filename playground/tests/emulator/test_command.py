from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner
from google.iam.v1 import iam_policy_pb2, policy_pb2

from cloudrun_identity_playground.emulator.command import emulator
from tests.time_budget import HUNG_AFTER

READY = re.compile(r"emulator ready: gRPC (127\.0\.0\.1:\d+)(?:, REST (http://127\.0\.0\.1:\d+))?\n")
COMMAND = (
    sys.executable,
    "-c",
    "from cloudrun_identity_playground.emulator.command import emulator; emulator()",
)


@contextmanager
def running(*options: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the command as a process; yield it with its first line."""
    process = subprocess.Popen(
        [*COMMAND, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline()
    finally:
        process.kill()
        process.communicate()


def run(options: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *options], capture_output=True, text=True, env=os.environ | environment, timeout=HUNG_AFTER
    )


def get_policy(address: str) -> policy_pb2.Policy:
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(
            "/google.cloud.resourcemanager.v3.Projects/GetIamPolicy",
            request_serializer=iam_policy_pb2.GetIamPolicyRequest.SerializeToString,
            response_deserializer=policy_pb2.Policy.FromString,
        )
        return call(iam_policy_pb2.GetIamPolicyRequest(resource="projects/shop"), timeout=HUNG_AFTER)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_command_prints_addresses_and_stops_on_a_signal(stop: signal.Signals) -> None:
    with running("--port", "0", "--rest-port", "0") as (process, line):
        ready = READY.fullmatch(line)
        assert ready is not None, line
        assert ready[2]
        assert not get_policy(ready[1]).bindings
        process.send_signal(stop)
        _, errors = process.communicate(timeout=HUNG_AFTER)

    assert process.returncode == 0
    assert errors == ""


def test_options_are_read_from_the_environment(tmp_path: Path) -> None:
    seed = tmp_path / "seed.yaml"
    seed.write_text(
        "projects: [{projectID: shop, policy: [{role: roles/viewer, members: ['user:ann@example.com']}]}]"
    )
    prefix = "CLOUDRUN_IDENTITY_EMULATOR"
    options = {"PORT": "0", "REST_PORT": "0", "SEED": str(seed), "LATENCY": "none", "LAG": "1s"}
    with running(**{f"{prefix}_{name}": value for name, value in options.items()}) as (_, line):
        ready = READY.fullmatch(line)
        assert ready is not None, line
        assert ready[2]
        assert get_policy(ready[1]).bindings[0].role == "roles/viewer"


def test_port_in_use_is_one_line_and_exit_code_2() -> None:
    with running("--port", "0") as (_, line):
        port = line.strip().rpartition(":")[2]
        second = run(["--port", port])

    assert second.returncode == 2
    assert second.stderr == f"Error: cannot listen on 127.0.0.1:{port}: Address already in use\n"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--port", "0", "--lag", "soon"], "--lag"),
        (["--port", "0", "--latency", "slow"], "--latency"),
        (["--port", "99999"], "--port"),
        (["--port", "0", "--requests-per-minute", "nonsense: {reads: 1}"], "--requests-per-minute: nonsense"),
        (["--port", "0", "--requests-per-minute", "many"], "'many' is not a YAML mapping"),
        (["--port", "0", "--fault", "{method: a, code: BAD}"], "--fault: 0.code"),
        ([], "--port"),
    ],
)
def test_invalid_option_is_named(options: list[str], named: str) -> None:
    result = CliRunner().invoke(emulator, options)
    assert result.exit_code == 2
    assert named in result.output


def test_invalid_seed_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    seed = tmp_path / "seed.yaml"
    seed.write_text("nonsense: 1")
    result = CliRunner().invoke(emulator, ["--port", "0", "--seed", str(seed)])
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert f"{seed}:1: nonsense: " in result.output


def test_seed_that_google_refuses_names_file_and_line(tmp_path: Path) -> None:
    seed = tmp_path / "seed.yaml"
    seed.write_text(
        "projects:\n- projectID: shop\n  serviceAccounts:\n  - accountID: checkout\n  - accountID: x\n"
    )
    result = CliRunner().invoke(emulator, ["--port", "0", "--seed", str(seed)])
    assert result.exit_code == 2
    assert result.output.startswith(f"Error: {seed}:5: project shop: service account x: Invalid")
