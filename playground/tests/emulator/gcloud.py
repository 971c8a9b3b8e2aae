"""Unmodified gcloud that reaches an emulator as `*.googleapis.com`."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

from cloudrun_identity_playground.emulator import Emulator

_FOUND = shutil.which("gcloud")
_SDK = Path(_FOUND).resolve().parents[1] if _FOUND else Path("/none")
_BUNDLED = _SDK / "platform" / "bundledpythonunix" / "bin" / "python3"
_FORKS = Path(__file__).with_name("gcloud_forks.py")

needs_gcloud = pytest.mark.skipif(_FOUND is None, reason="gcloud is not installed")
needs_gcloud_sources = pytest.mark.skipif(
    not (_SDK / "lib" / "gcloud.py").exists(), reason="gcloud is not installed with its Python sources"
)


def environment(emulator: Emulator, directory: Path) -> Mapping[str, str]:
    """Return the settings of a gcloud that keeps its configuration in `directory`."""
    certificate, token = directory / "ca.pem", directory / "token"
    certificate.write_bytes(emulator.proxy_ca)
    token.write_text("admin")
    _, host, port = re.split(r"://|:(?=\d+$)", emulator.proxy_url)
    return {
        "CLOUDSDK_CONFIG": str(directory / "gcloud"),
        "CLOUDSDK_PROXY_TYPE": "http",
        "CLOUDSDK_PROXY_ADDRESS": host,
        "CLOUDSDK_PROXY_PORT": port,
        "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE": str(certificate),
        "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(token),
        "CLOUDSDK_CORE_PROJECT": "shop",
        "CLOUDSDK_RUN_REGION": "europe-west1",
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
    }


@dataclass(frozen=True)
class Result:
    """The end of a command."""

    code: int
    output: str
    errors: str


class Gclouds:
    """Runs commands one after the other, without the second that each start of gcloud takes.

    A command may end with `> FILE`, which receives its output, and have arguments with `@FILE`: the last
    segment of the first line of a file.
    """

    def __init__(self, process: asyncio.subprocess.Process, directory: Path) -> None:
        self._process = process
        self._directory = directory

    @classmethod
    @asynccontextmanager
    async def started(cls, emulator: Emulator, directory: Path) -> AsyncIterator[Self]:
        """Yield a running gcloud, which ends with the block."""
        python = str(_BUNDLED) if _BUNDLED.exists() else os.environ.get("CLOUDSDK_PYTHON", sys.executable)
        process = await asyncio.create_subprocess_exec(
            *(python, str(_FORKS), str(_SDK)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=directory,
            env=os.environ | environment(emulator, directory) | {"CLOUDSDK_PYTHON_SITEPACKAGES": "1"},
            limit=1 << 26,
        )
        try:
            yield cls(process, directory)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def __call__(self, command: str) -> Result:
        """Run a command."""
        written, _, file = command.partition(" > ")
        arguments = [self._filled(argument) for argument in written.split()]
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(arguments).encode() + b"\n")
        result = Result(**json.loads(await stdout.readline()))
        if file:
            (self._directory / file).write_text(result.output)
        return result

    def _filled(self, argument: str) -> str:
        match = re.fullmatch(r"((?:--[a-z-]+=)?)@(\w+)", argument)
        if match is None:
            return argument
        return match[1] + (self._directory / match[2]).read_text().splitlines()[0].rpartition("/")[2]
