"""Both distributions, installed into clean environments, one for each version of Python on this machine."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from cloudrun_identity import __version__
from tests.distributions import ROOT, build
from tests.e2e.conftest import OPEN_PROJECT
from tests.e2e.processes import Command
from tests.e2e.scene import Scene
from tests.e2e.stage import OPERATOR_NAMESPACE, set_stage, with_operator
from tests.package_index import require_package_index
from tests.servers.kube_apis import EMBEDDED
from tests.time_budget import HUNG_AFTER

pytestmark = pytest.mark.package_index

VERSIONS = ("3.11", "3.12", "3.13", "3.14")
"""Versions of Python in the metadata of both distributions."""


def _output(command: Sequence[str | Path], cwd: Path) -> str:
    ended = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=HUNG_AFTER, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The wheels of both distributions."""
    directory = tmp_path_factory.mktemp("dist")
    build(directory)
    return sorted(directory.glob("*.whl"))


@pytest.fixture(scope="module", params=VERSIONS)
def installed(
    request: pytest.FixtureRequest, wheels: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The directory of the programs in an environment with one version of Python."""
    interpreter = _interpreter(request.param)
    if not interpreter:
        pytest.skip(f"no Python {request.param}: neither on the PATH nor installed by pyenv")
    require_package_index()
    directory = tmp_path_factory.mktemp("installed")
    _output([interpreter, "-m", "venv", directory / "environment"], directory)
    programs = directory / "environment" / "bin"
    pip = [programs / "python", "-m", "pip", "--disable-pip-version-check"]
    _output(
        [*pip, "install", "--quiet", "--no-compile", "--constraint", ROOT / "constraints.txt", *wheels],
        directory,
    )
    _output([*pip, "check"], directory)
    return programs


def _interpreter(version: str) -> str:
    """Return the path of a Python of this version, or an empty string."""
    if sys.version.startswith(f"{version}."):
        return sys.executable
    candidates = [shutil.which(f"python{version}")]
    if pyenv := shutil.which("pyenv"):
        latest = subprocess.run(
            [pyenv, "latest", version], capture_output=True, text=True, timeout=HUNG_AFTER, check=False
        ).stdout.strip()
        prefix = subprocess.run(
            [pyenv, "prefix", latest], capture_output=True, text=True, timeout=HUNG_AFTER, check=False
        ).stdout.strip()
        candidates.append(f"{prefix}/bin/python" if latest and prefix else None)
    return next(filter(_works, filter(None, candidates)), "")


def _works(interpreter: str) -> bool:
    """Return whether a program starts; a shim of pyenv fails for a version that is not selected."""
    tried = subprocess.run(
        [interpreter, "-c", "import venv, ensurepip"], capture_output=True, timeout=HUNG_AFTER, check=False
    )
    return tried.returncode == 0


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A namespace and a project on servers without an operator."""
    with set_stage(EMBEDDED, tmp_path, with_operator({"projects": []})) as stage:
        yield Scene(stage, "installed")


def test_operator_runs_from_a_clean_environment(installed: Path, tmp_path: Path, scene: Scene) -> None:
    program = str(installed / "cloudrun-identity")
    assert __version__ in _output([program, "--version"], tmp_path)
    stage = scene.stage
    arguments = [
        *(
            "run",
            f"--kubeconfig={stage.kube_api.operator_kubeconfig}",
            f"--google-token-file={tmp_path}/token",
        ),
        *(f"--google-endpoint={stage.google.grpc_address}", f"--operator-namespace={OPERATOR_NAMESPACE}"),
        "--http-port=0",
    ]
    operator = Command(arguments, tmp_path / "operator.log", program=[program])
    try:
        operator.wait_for_line("became the leader")
        scene.apply(OPEN_PROJECT)
        scene.apply("{kind: CloudRunIdentity, metadata: {name: checkout}, spec: {}}")
        scene.ready("CloudRunIdentity/checkout")
        operator.signal(signal.SIGTERM)
        assert operator.wait_for_exit().code == 0
    finally:
        operator.stop()


def test_playground_runs_from_a_clean_environment(installed: Path, tmp_path: Path) -> None:
    program = [str(installed / "cloudrun-identity")]
    servers = {
        "emulator": (["--port=0", "--rest-port=0"], r"gRPC 127\.0\.0\.1:\d+"),
        "kubeapi": ([f"--kubeconfig={tmp_path}/kubeconfig", "--port=0"], r"127\.0\.0\.1:\d+"),
    }
    for name, (options, started) in servers.items():
        server = Command([name, *options], tmp_path / f"{name}.log", program=program)
        try:
            server.wait_for_line(started)
        finally:
            server.stop()
