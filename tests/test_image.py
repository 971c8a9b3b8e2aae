"""The container image, built from the steps of the Dockerfile without a Docker engine."""

import base64
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from packaging.utils import canonicalize_name

from cloudrun_identity import __version__
from tests.e2e.conftest import OPEN_PROJECT
from tests.e2e.processes import Command
from tests.e2e.scene import Scene
from tests.e2e.stage import OPERATOR_NAMESPACE, set_stage, with_operator
from tests.package_index import require_package_index
from tests.requirements import hashed
from tests.servers.kube_apis import EMBEDDED, KubeApi
from tests.time_budget import HUNG_AFTER
from tools import image_layout

pytestmark = pytest.mark.package_index

ROOT = Path(__file__).parents[1]
TOOL = (sys.executable, str(ROOT / "tools" / "image_layout.py"))
VOLUME = "/run"
"""Directory of the container where it finds the files of a pod, and those of the test."""

BUILD_ARGUMENTS = {
    "BASE_DIGEST": "sha256:" + "0" * 64,
    "VERSION": __version__,
    "REVISION": "0" * 40,
    "CREATED": "2000-01-01T00:00:00Z",
}


@dataclass(frozen=True)
class Image:
    """A built image."""

    directory: Path

    @property
    def config(self) -> dict[str, Any]:
        """Configuration of the image."""
        read: dict[str, Any] = json.loads((self.directory / "config.json").read_text(encoding="utf-8"))
        return read

    def command(
        self, run_dir: Path, *, entrypoint: str = "", environment: Mapping[str, str] | None = None
    ) -> list[str]:
        """Return the command that starts a container with `run_dir` as a volume; arguments may follow."""
        variables = [f"--env={name}={value}" for name, value in (environment or {}).items()]
        return [
            *(*TOOL, "run", str(self.directory), f"--volume={run_dir}:{VOLUME}", *variables),
            *(f"--entrypoint={entrypoint}", "--"),
        ]

    def output(self, run_dir: Path, command: Sequence[str], **environment: str) -> str:
        """Return what a command prints in a container."""
        started = self.command(run_dir, entrypoint=command[0], environment=environment)
        return _output([*started, *command[1:]])


def _output(command: Sequence[str]) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, timeout=HUNG_AFTER, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image of the checkout."""
    if reason := image_layout.obstacle():
        pytest.skip(f"the image cannot be built: {reason}")
    require_package_index()
    directory = tmp_path_factory.mktemp("image") / "layout"
    arguments = [f"--build-arg={name}={value}" for name, value in BUILD_ARGUMENTS.items()]
    _output([*TOOL, "build", str(directory), *arguments])
    return Image(directory)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A directory that the user of the image may read."""
    tmp_path.chmod(0o755)
    return tmp_path


@pytest.fixture
def scene(run_dir: Path) -> Iterator[Scene]:
    """A namespace and a project on servers without an operator."""
    with set_stage(EMBEDDED, run_dir, with_operator({"projects": []})) as stage:
        yield Scene(stage, "image-test")


def pod(run_dir: Path, kube_api: KubeApi) -> dict[str, str]:
    """Write the files that the kubelet mounts into a pod; return the variables that it sets."""
    kubeconfig = yaml.safe_load(kube_api.operator_kubeconfig.read_text(encoding="utf-8"))
    authority = kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"]
    account = run_dir / "secrets" / "kubernetes.io" / "serviceaccount"
    account.mkdir(parents=True)
    (account / "ca.crt").write_bytes(base64.b64decode(authority))
    (account / "token").write_text(kube_api.token, encoding="utf-8")
    (account / "namespace").write_text(OPERATOR_NAMESPACE, encoding="utf-8")
    server = urlsplit(kube_api.url)
    return {"KUBERNETES_SERVICE_HOST": server.hostname or "", "KUBERNETES_SERVICE_PORT": str(server.port)}


def test_operator_runs_from_the_image_as_in_a_pod(image: Image, run_dir: Path, scene: Scene) -> None:
    stage = scene.stage
    (run_dir / "token").chmod(0o644)
    arguments = [
        *("run", f"--google-endpoint={stage.google.grpc_address}", f"--google-token-file={VOLUME}/token"),
        "--http-port=0",
    ]
    started = image.command(run_dir, environment=pod(run_dir, stage.kube_api))
    operator = Command(arguments, run_dir / "operator.log", program=started)
    try:
        port = operator.wait_for_line(r"http port (\d+)")[1]
        operator.wait_for_line("became the leader")
        scene.apply(OPEN_PROJECT)
        scene.apply("{kind: CloudRunIdentity, metadata: {name: checkout}, spec: {}}")
        scene.ready("CloudRunIdentity/checkout")
        assert "checkout" in scene.cloud.accounts(scene.name)
        check = image.config["Healthcheck"]["Test"][1:]
        image.output(run_dir, check, CLOUDRUN_IDENTITY_RUN_HTTP_PORT=port)
        operator.signal(signal.SIGTERM)
        assert operator.wait_for_exit().code == 0
    finally:
        operator.stop()


def test_health_check_fails_without_an_operator(image: Image, run_dir: Path) -> None:
    check = image.config["Healthcheck"]["Test"][1:]
    command = image.command(
        run_dir, entrypoint=check[0], environment={"CLOUDRUN_IDENTITY_RUN_HTTP_PORT": "1"}
    )
    ended = subprocess.run(
        [*command, *check[1:]], capture_output=True, text=True, timeout=HUNG_AFTER, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        "http://127.0.0.1:1/healthz: <urlopen error [Errno 111] Connection refused>"
    ]


def test_container_is_not_root_and_cannot_write(image: Image, run_dir: Path) -> None:
    printed = image.output(
        run_dir,
        [
            "python",
            "-c",
            "import os, errno\n"
            "print(os.getuid(), os.getgid(), os.getgroups())\n"
            "for path in ('/tmp', '/opt/cloudrun-identity', '/usr/local'):\n"
            "    try:\n"
            "        open(f'{path}/{os.getpid()}.written', 'w')\n"
            "    except OSError as error:\n"
            "        print(errno.errorcode[error.errno])",
        ],
    )
    assert printed.splitlines() == ["65532 65532 []", "EROFS", "EROFS", "EROFS"]


def test_image_contains_the_locked_packages_and_no_installer(image: Image, run_dir: Path) -> None:
    listing = (
        "import importlib.metadata as metadata\n"
        "for each in metadata.distributions():\n"
        "    print(each.name, each.version)"
    )
    installed = dict(line.split() for line in image.output(run_dir, ["python", "-c", listing]).splitlines())
    assert {canonicalize_name(name): version for name, version in installed.items()} == {
        **locked(),
        "cloudrun-identity": __version__,
    }
    base = image.output(run_dir, ["python3.11", "-c", listing])
    assert {"pip", "setuptools", "wheel"}.isdisjoint(line.split()[0] for line in base.splitlines())


def test_image_adds_one_directory_and_one_user_to_its_base(image: Image) -> None:
    rootfs = image.directory / "rootfs"
    added = {path.relative_to(rootfs).as_posix() for path in rootfs.glob("*/*")}
    assert {path for path in added if not path.startswith("etc/")} == {"opt/cloudrun-identity"}
    accounts = {
        f"etc/{name}{backup}" for name in ("passwd", "group", "shadow", "gshadow") for backup in ("", "-")
    }
    assert {path for path in added if path.startswith("etc/")} <= {*accounts, "etc/.pwd.lock"}


def test_every_build_argument_is_in_a_label(image: Image) -> None:
    labels = image.config["Labels"]
    assert set(BUILD_ARGUMENTS.values()) <= set(labels.values())
    assert all(labels.values())
    assert labels["org.opencontainers.image.base.name"].startswith("docker.io/library/python:3.11-slim")


def test_sbom_lists_the_packages_of_the_image(image: Image, tmp_path: Path) -> None:
    tools, file = tmp_path / "tools", tmp_path / "sbom.json"
    _output([sys.executable, "-m", "venv", str(tools)])
    python = str(tools / "bin" / "python")
    hashes = ["--require-hashes", "--requirement", str(ROOT / "requirements" / "release.txt")]
    _output(
        [python, "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check", *hashes]
    )
    [site] = image.directory.glob("rootfs/opt/cloudrun-identity/lib/python3.*/site-packages")
    _output([python, str(ROOT / "tools" / "sbom.py"), str(site), f"--output={file}"])
    sbom = json.loads(file.read_text(encoding="utf-8"))
    operator = sbom["metadata"]["component"]
    assert (operator["name"], operator["version"]) == ("cloudrun-identity", __version__)
    listed = {canonicalize_name(each["name"]): each["version"] for each in sbom["components"]}
    assert listed == locked()


def locked() -> dict[str, str]:
    """Return the versions of the packages in the image."""
    return {name: version for name, (version, _) in hashed(ROOT / "requirements" / "image.txt").items()}
