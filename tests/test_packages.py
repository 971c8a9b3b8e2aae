"""The two distributions, built from the checkout and installed as a user installs them."""

import email
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from cloudrun_identity import __version__
from tests.distributions import ROOT, SOURCES, build
from tests.time_budget import HUNG_AFTER

Python = Callable[..., str]
Install = Callable[[str], Path]


def run(*arguments: str, cwd: Path, **environment: str) -> str:
    """Run this interpreter with arguments and return its output."""
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=HUNG_AFTER,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the sdist and the wheel of both packages."""
    directory = tmp_path_factory.mktemp("dist")
    build(directory)
    return directory


@pytest.fixture(scope="module")
def install(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Install:
    """Install both packages from the files of one type, without their dependencies; return the directory."""

    @cache
    def installed(pattern: str) -> Path:
        site = tmp_path_factory.mktemp("site")
        files = sorted(map(str, dist.glob(pattern)))
        assert len(files) == len(SOURCES)
        options = ("--no-index", "--no-deps", "--no-build-isolation", "--no-compile", "--quiet")
        run("-m", "pip", "install", *options, "--target", str(site), *files, cwd=site)
        return site

    return installed


@pytest.fixture(scope="module")
def python(install: Install, tmp_path_factory: pytest.TempPathFactory) -> Python:
    """Python with both wheels installed; their dependencies are those of the checkout."""
    site, elsewhere = install("*.whl"), tmp_path_factory.mktemp("elsewhere")
    return lambda *arguments: run(*arguments, cwd=elsewhere, PYTHONPATH=str(site), PACKAGES_SITE=str(site))


@pytest.mark.slow
def test_sdists_install_the_same_files_as_the_wheels(install: Install) -> None:
    for name in SOURCES:
        from_wheel = contents(install("*.whl") / name)
        assert from_wheel
        assert contents(install("*.tar.gz") / name) == from_wheel


def contents(directory: Path) -> dict[str, bytes]:
    """Return the files in a directory, without compiled modules."""
    files = (each for each in directory.rglob("*") if each.is_file() and each.suffix != ".pyc")
    return {str(each.relative_to(directory)): each.read_bytes() for each in files}


def test_packages_are_imported_from_the_installed_files(python: Python) -> None:
    python(
        "-c",
        "import os, pathlib, cloudrun_identity as operator, cloudrun_identity_playground as playground\n"
        "site = pathlib.Path(os.environ['PACKAGES_SITE'])\n"
        "assert all(pathlib.Path(each.__file__).is_relative_to(site) for each in (operator, playground))",
    )


def test_catalog_of_predefined_roles_is_installed(python: Python) -> None:
    printed = python("-m", "cloudrun_identity", "role", "explain", "roles/run.developer")
    assert printed.startswith("roles/run.developer escalates privileges")


def test_examples_of_the_demo_are_installed_as_regular_files(python: Python) -> None:
    installed = python(
        "-c",
        "from cloudrun_identity_playground.demo import manifests\n"
        "assert not manifests.DIRECTORY.is_symlink()\n"
        "files = (each for each in manifests.DIRECTORY.rglob('*') if each.is_file())\n"
        "print(*sorted(str(each.relative_to(manifests.DIRECTORY)) for each in files), sep='\\n')",
    )
    examples = ROOT / "examples"
    assert installed.split() == sorted(
        str(each.relative_to(examples)) for each in examples.rglob("*") if each.is_file()
    )


@pytest.mark.parametrize("command", ["demo", "emulator", "kubeapi"])
def test_playground_commands_are_found_by_the_command_line(python: Python, command: str) -> None:
    assert f"Usage: cloudrun-identity {command}" in python("-m", "cloudrun_identity", command, "--help")


def test_the_extra_names_the_playground_of_the_same_version(dist: Path) -> None:
    requirements = {
        name: [
            line.removeprefix("Requires-Dist: ") for line in metadata(dist, name) if "-Dist: cloud" in line
        ]
        for name in SOURCES
    }
    assert requirements == {
        "cloudrun_identity": [f"cloudrun-identity-playground=={__version__}; extra == 'playground'"],
        "cloudrun_identity_playground": [f"cloudrun-identity=={__version__}"],
    }


def test_each_distribution_has_its_own_package_and_the_license(dist: Path) -> None:
    for name in SOURCES:
        with zipfile.ZipFile(wheel(dist, name)) as archive:
            roots = {file.partition("/")[0] for file in archive.namelist()}
            [license_file] = [file for file in archive.namelist() if file.endswith("/LICENSE")]
            assert archive.read(license_file) == (ROOT / "LICENSE").read_bytes()
        assert roots == {name, f"{name}-{__version__}.dist-info"}
        with tarfile.open(dist / f"{name}-{__version__}.tar.gz") as archive:
            assert not [each.name for each in archive if each.issym()]


def test_each_distribution_is_typed(dist: Path) -> None:
    for name in SOURCES:
        with zipfile.ZipFile(wheel(dist, name)) as archive:
            assert f"{name}/py.typed" in archive.namelist()


def test_operator_has_all_files_of_the_web_page(dist: Path) -> None:
    folder = ROOT / "operator" / "cloudrun_identity" / "ui" / "static"
    with zipfile.ZipFile(wheel(dist, "cloudrun_identity")) as archive:
        packed = {file.partition("/ui/static/")[2] for file in archive.namelist() if "/ui/static/" in file}
    assert packed == {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", SOURCES)
def test_metadata_is_complete(dist: Path, name: str) -> None:
    read = email.message_from_string("\n".join(metadata(dist, name)))
    assert read["Author"] == "The cloudrun-identity authors"
    assert read["License-Expression"] == "Apache-2.0"
    assert read["Requires-Python"] == ">=3.11"
    assert read["Description-Content-Type"] == "text/markdown"
    urls = {each.partition(",")[0] for each in read.get_all("Project-URL", [])}
    assert urls == {"Homepage", "Documentation", "Source", "Changelog", "Issues"}
    versions = {each.rpartition(" ")[2] for each in read.get_all("Classifier", []) if "Python :: 3." in each}
    assert versions == {"3.11", "3.12", "3.13", "3.14"}


@pytest.mark.parametrize("name", SOURCES)
def test_links_on_the_package_index_are_absolute_and_exist(dist: Path, name: str) -> None:
    """The package index resolves no relative link, and renders no Mermaid diagram."""
    description = email.message_from_string("\n".join(metadata(dist, name))).get_payload()
    assert isinstance(description, str)
    assert description.startswith("# cloudrun-identity")
    assert "```mermaid" not in description
    links = re.findall(r"\]\(([^)]+)\)", description)
    assert links
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    base = f"https://github.com/cloudrun-identity/cloudrun-identity/blob/v{__version__}/"
    files = {link.removeprefix(base).partition("#")[0] for link in links if link.startswith(base)}
    assert files
    assert [file for file in files if not (ROOT / file).exists()] == []


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("cloudrun_identity", {"operator/cloudrun_identity", "README.md", "CHANGELOG.md", "constraints.txt"}),
        ("cloudrun_identity_playground", {"cloudrun_identity_playground", "README.md"}),
    ],
)
def test_sdist_contains_what_a_build_needs(dist: Path, name: str, more: set[str]) -> None:
    with tarfile.open(dist / f"{name}-{__version__}.tar.gz") as archive:
        files = {each.name.partition("/")[2] for each in archive}
    contents = {file for file in files if not any(file.startswith(f"{each}/") for each in more)}
    added = {each for each in more if any(file == each or file.startswith(f"{each}/") for file in files)}
    assert contents - added == {"LICENSE", "pyproject.toml", "PKG-INFO", ".gitignore"}
    assert added == more
    assert [file for file in files if "__pycache__" in file] == []


def wheel(dist: Path, name: str) -> Path:
    return dist / f"{name}-{__version__}-py3-none-any.whl"


def metadata(dist: Path, name: str) -> list[str]:
    with zipfile.ZipFile(wheel(dist, name)) as archive:
        return archive.read(f"{name}-{__version__}.dist-info/METADATA").decode().splitlines()
