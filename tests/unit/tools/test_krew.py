"""The plugin for krew: its archive, its manifest, and the script in it."""

import hashlib
import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

from cloudrun_identity import __version__
from tests.time_budget import HUNG_AFTER
from tools import krew


@pytest.fixture
def script(tmp_path: Path) -> Path:
    packed = tmp_path / krew.ARCHIVE
    packed.write_bytes(krew.archive())
    with tarfile.open(packed) as tar:
        assert tar.getnames() == ["kubectl-cloudrun-identity", "LICENSE"]
        tar.extractall(tmp_path, filter="data")
    return tmp_path / "kubectl-cloudrun-identity"


def run(script: Path, *commands: str) -> subprocess.CompletedProcess[str]:
    """Run the script with a PATH that has only these commands. Each prints its name and its arguments."""
    path = script.parent / "bin"
    path.mkdir()
    for name in commands:
        (path / name).write_text(f'#!/bin/sh\necho "{name} $*"\n')
        (path / name).chmod(0o755)
    return subprocess.run(
        [script, "status", "-n", "shop"],
        env={"PATH": str(path)},
        capture_output=True,
        text=True,
        timeout=HUNG_AFTER,
        check=False,
    )


def test_archive_is_reproducible_and_named_by_its_digest() -> None:
    packed = krew.archive()
    assert packed == krew.archive()
    (platform,) = krew.manifest(packed)["spec"]["platforms"]
    assert platform["sha256"] == hashlib.sha256(packed).hexdigest()
    assert platform["uri"].endswith(f"/v{__version__}/{krew.ARCHIVE}")


def test_manifest_has_what_krew_requires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["krew", str(tmp_path)])
    krew.main()
    manifest = yaml.safe_load((tmp_path / "cloudrun-identity.yaml").read_text())
    assert manifest["metadata"]["name"] == "cloudrun-identity"
    assert re.fullmatch(r"v\d+\.\d+\.\d+(-(alpha|beta|rc)\.\d+)?", manifest["spec"]["version"])
    assert len(manifest["spec"]["shortDescription"]) <= 50
    assert (tmp_path / krew.ARCHIVE).read_bytes() == krew.archive()


@pytest.mark.skipif(os.name != "posix", reason="the plugin is a shell script")
@pytest.mark.parametrize(
    ("commands", "output"),
    [
        (("cloudrun-identity", "pipx"), "cloudrun-identity status -n shop\n"),
        (("pipx", "uvx"), f"pipx run --quiet cloudrun-identity=={__version__} status -n shop\n"),
        (("uvx",), f"uvx --quiet cloudrun-identity@{__version__} status -n shop\n"),
    ],
)
def test_script_runs_the_installed_command_or_a_runner(
    script: Path, commands: tuple[str, ...], output: str
) -> None:
    result = run(script, *commands)
    assert (result.returncode, result.stdout) == (0, output)


def test_script_without_the_command_prints_how_to_install_it(script: Path) -> None:
    result = run(script)
    assert result.returncode == 127
    assert result.stderr == (
        f"cloudrun-identity is not installed: pipx install cloudrun-identity=={__version__}\n"
    )
