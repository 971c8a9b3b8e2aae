"""Google's libraries for Go and Node.js get the answers from the emulator that they expect of Google Cloud.

Each program prints what the libraries return over gRPC and over REST.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cloudrun_identity_playground.emulator import Emulator, Seed

pytestmark = [pytest.mark.slow, pytest.mark.package_index]

PROGRAMS = Path(__file__).with_name("languages")
EMAIL = "checkout@shop.iam.gserviceaccount.com"
ANN = ["user:ann@example.com"]
SECRET = "projects/123456789012/secrets/stripe-key"
SEED = {
    "projects": [
        {
            "projectID": "shop",
            "projectNumber": "123456789012",
            "serviceAccounts": [{"accountID": "checkout"}],
            "secrets": [{"name": "stripe-key"}],
            "resources": [{"kind": "StorageBucket", "name": "shop-receipts"}],
        }
    ]
}


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(seed=Seed.model_validate(SEED), rest_port=0) as running:
        yield running


async def run(*command: str, directory: Path) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=directory, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def prepared(language: str, tool: str, directory: Path, *fetch: str) -> Path:
    """Return a copy of a program with its packages; skip the test without the tool or the packages."""
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    program = directory / language
    shutil.copytree(PROGRAMS / language, program)
    code, _, errors = await run(tool, *fetch, directory=program)
    if code:
        pytest.skip(f"the packages for {language} cannot be fetched: {errors.strip().splitlines()[-1]}")
    return program


async def results(emulator: Emulator, program: Path, *command: str) -> Mapping[str, Any]:
    addresses = (emulator.grpc_address, emulator.rest_url)
    code, output, errors = await run(*command, *addresses, directory=program)
    assert code == 0, errors
    found: Mapping[str, Any] = json.loads(output)
    return found


def of_project(refused: str) -> list[Any]:
    return ["projects/123456789012", "shop", "ACTIVE", 1, "roles/run.viewer", refused, ["run.services.get"]]


async def test_go_libraries_get_the_answers_of_google(emulator: Emulator, tmp_path: Path) -> None:
    program = await prepared("go", "go", tmp_path, "mod", "download")
    shopper = "shopper@shop.iam.gserviceaccount.com"
    service = [EMAIL, "CONDITION_SUCCEEDED", 1, ANN]
    assert await results(emulator, program, "go", "run", ".") == {
        "missing account": "NotFound ",
        "account": [shopper, "Shopper"],
        "account again": "AlreadyExists ",
        "accounts": 2,
        "keys": [1, True, True],
        "role": ["projects/shop/roles/deployer", "Deploys", ["run.services.update"]],
        "account policy": ANN,
        "stale account policy": "Aborted ",
        "service over grpc": [*service, "PermissionDenied ", "NotFound "],
        "service over rest": [*service, "403 ", "404 "],
        "project over grpc": of_project("InvalidArgument "),
        "project over rest": of_project("400 "),
        "secret over grpc": [SECRET, True, "NotFound ", "Unimplemented "],
        "secret over rest": [SECRET, True, "404 ", "405 "],
        "bucket": ["shop-receipts", 123456789012, True, ANN, True],
    }


async def test_node_libraries_get_the_answers_of_google(emulator: Emulator, tmp_path: Path) -> None:
    program = await prepared(
        "node", "npm", tmp_path, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"
    )
    found = await results(emulator, program, "node", "main.mjs")
    codes = {"grpc": ("7 ", "5 ", "3 ", "10 "), "rest": ("403 ", "404 ", "400 ", "409 ")}
    for transport, (denied, missing, invalid, stale) in codes.items():
        service = [EMAIL, "CONDITION_SUCCEEDED", ANN, denied, missing]
        assert found[f"service over {transport}"] == service
        assert found[f"job over {transport}"] == [EMAIL, True]
        assert found[f"project over {transport}"] == ["projects/123456789012", "shop", 1, invalid, stale]
        assert found[f"secret over {transport}"] == [SECRET, ANN, missing]
    assert found["bucket"] == ["projects/_/buckets/shop-receipts", ANN, True, "404 "]
