"""`cloudrun-identity role explain` for roles that are read over gRPC from an emulator."""

import asyncio
import json
import sys
from typing import Any

from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.seed import CustomRole, Project, Seed

ROLE = "projects/shop-1234/roles/deployer"
SEED = Seed(
    projects=(
        Project(
            project_id="shop-1234",
            roles=(
                CustomRole(role_id="deployer", permissions=("run.services.update", "run.services.sshRoot")),
            ),
        ),
    ),
)


async def explain(*arguments: str) -> tuple[int, str, str]:
    """Run the command against an emulator; return exit code, standard output and standard error."""
    async with Emulator(seed=SEED) as emulator:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cloudrun_identity", "role", "explain", *arguments),
            *("--google-endpoint", emulator.grpc_address),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        return process.returncode or 0, output.decode(), errors.decode()


async def test_custom_role_is_read_and_explained() -> None:
    code, output, _ = await explain(ROLE, "-o", "json")
    explanation: Any = json.loads(output)

    assert code == 0
    assert explanation["source"] == "Google Cloud"
    assert [finding["permissions"] for finding in explanation["findings"]] == [["run.services.sshRoot"]]


async def test_predefined_role_is_read_with_live() -> None:
    code, output, _ = await explain("roles/run.invoker", "--live")

    assert code == 0
    assert output.startswith("roles/run.invoker does not escalate privileges")
    assert "permissions from Google Cloud" in output


async def test_missing_role_is_reported_in_one_line() -> None:
    code, output, errors = await explain("projects/shop-1234/roles/missing")

    assert (code, output, errors.count("\n")) == (1, "", 1)
    assert "missing" in errors
