"""Rules for the repository as a whole."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import cloudrun_identity
from cloudrun_identity.api import Reason
from tests.requirements import hashed
from tools import third_party

ROOT = Path(__file__).parents[1]


def project(directory: Path) -> dict[str, Any]:
    """Return the table `project` of the pyproject.toml in a directory."""
    read: dict[str, Any] = tomllib.loads((directory / "pyproject.toml").read_text(encoding="utf-8"))
    return read["project"]


OPERATOR, PLAYGROUND = project(ROOT), project(ROOT / "playground")
REQUIREMENTS = [
    requirement
    for requirement in map(
        Requirement,
        (
            *OPERATOR["dependencies"],
            *OPERATOR["optional-dependencies"]["dev"],
            *OPERATOR["optional-dependencies"]["docs"],
            *PLAYGROUND["dependencies"],
        ),
    )
    if requirement.name != OPERATOR["name"]
]


@pytest.fixture(scope="module")
def constraints() -> dict[str, str]:
    """The version of each package in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pinned}


def test_the_operator_directory_does_not_shadow_the_standard_library() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_import_contracts_hold() -> None:
    # In another process, because import-linter changes the configuration of logging.
    lint_imports = Path(sys.executable).with_name("lint-imports")
    checked = subprocess.run(
        [lint_imports, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda requirement: requirement.name)
def test_a_dependency_is_bounded_and_pinned_within_its_bounds(
    requirement: Requirement, constraints: dict[str, str]
) -> None:
    assert any(bound.operator == "<" for bound in requirement.specifier)
    assert requirement.specifier.contains(constraints[canonicalize_name(requirement.name)])


def needed(roots: Iterable[str]) -> set[str]:
    """Return the names of the installed packages that packages need, with those that these need."""
    found: set[str] = set()
    pending = [canonicalize_name(name) for name in roots]
    while pending:
        name = pending.pop()
        if name in found:
            continue
        found.add(name)
        for text in metadata.requires(name) or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                pending.append(canonicalize_name(requirement.name))
    return found


@pytest.mark.parametrize(
    ("file", "roots"),
    [
        ("image.txt", [Requirement(each).name for each in OPERATOR["dependencies"]]),
        ("image-build.txt", ["hatchling", "hatch-fancy-pypi-readme"]),
    ],
)
def test_packages_of_the_image_have_the_tested_version_and_hashes(
    file: str, roots: list[str], constraints: dict[str, str]
) -> None:
    listed = hashed(ROOT / "requirements" / file)
    assert needed(roots) <= listed.keys()
    assert {name: version for name, (version, _) in listed.items()} == {
        name: constraints[name] for name in listed
    }
    assert all(count > 0 for _, count in listed.values())


def test_tools_of_the_release_are_pinned_with_hashes() -> None:
    wanted = (ROOT / "requirements" / "release.in").read_text(encoding="utf-8").splitlines()
    tools = [Requirement(line) for line in wanted if not line.startswith("#")]
    listed = hashed(ROOT / "requirements" / "release.txt")
    for tool in tools:
        assert any(bound.operator == "<" for bound in tool.specifier)
        assert tool.specifier.contains(listed[canonicalize_name(tool.name)][0])
    assert all(count > 0 for _, count in listed.values())


def test_the_page_of_third_party_licenses_is_current() -> None:
    written = (ROOT / "docs" / "reference" / "third-party.md").read_text(encoding="utf-8")
    assert written == third_party.page(), "run make generate"


def test_the_image_installs_nothing_without_a_hash() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    installs = [
        line for line in dockerfile.splitlines() if re.match(r"RUN python -m pip .*\b(install|wheel) ", line)
    ]
    assert len(installs) == 4
    for command in installs:
        assert "--require-hashes" in command or {"--no-deps", "--no-index"} <= set(command.split())


@pytest.mark.parametrize("name", ["ci.yaml", "release.yaml"])
def test_workflows_pin_actions_and_may_only_read_by_default(name: str) -> None:
    text = (ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8")
    used = re.findall(r"^\s+(?:- )?uses: (.*)$", text, re.MULTILINE)
    assert used
    assert [each for each in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)] == []
    assert len({each.partition("@")[0] for each in used}) == len(set(used)), "one version of each action"
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}


def test_ci_tests_every_python_in_the_metadata() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yaml").read_text(encoding="utf-8"))
    tested = set(workflow["jobs"]["test"]["strategy"]["matrix"]["python"])
    for classifiers in (OPERATOR["classifiers"], PLAYGROUND["classifiers"]):
        assert {each.rpartition(" ")[2] for each in classifiers if "Python :: 3." in each} == tested


def test_the_version_is_the_same_everywhere() -> None:
    chart = yaml.safe_load((ROOT / "charts" / "cloudrun-identity" / "Chart.yaml").read_text(encoding="utf-8"))
    versions = {OPERATOR["version"], PLAYGROUND["version"], chart["appVersion"]}
    assert versions == {cloudrun_identity.__version__}
    for page in (ROOT / "README.md", ROOT / "docs" / "how-to" / "installation.md"):
        commands = page.read_text(encoding="utf-8")
        assert set(re.findall(r"/cloudrun-identity:(\S+)", commands)) == {cloudrun_identity.__version__}
    # Helm needs a semantic version, such as 0.1.0-alpha.1 for 0.1.0a1.
    assert Version(chart["version"]) == Version(cloudrun_identity.__version__)
    assert OPERATOR["optional-dependencies"]["playground"] == [
        f"{PLAYGROUND['name']}=={PLAYGROUND['version']}"
    ]
    assert f"{OPERATOR['name']}=={OPERATOR['version']}" in PLAYGROUND["dependencies"]


def test_every_reason_of_a_status_is_used() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "operator").rglob("*.py"))
    given = set(re.findall(r"\bReason\.([A-Z_]+)\b", code))
    assert {reason.name for reason in Reason} <= given


def test_every_documented_account_has_an_id_that_google_accepts() -> None:
    """The ID has 6 to 30 characters: https://cloud.google.com/iam/docs/service-accounts-create."""
    paths = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.yaml")]
    paths += [*ROOT.glob("crds/*.yaml"), *ROOT.glob("charts/**/*.yaml")]
    text = "".join(path.read_text(encoding="utf-8") for path in paths)
    named = set(re.findall(r"([\w.-]+)@[\w-]+\.iam\.gserviceaccount\.com", text))
    lower = {name for name in named if name.islower()}  # upper case is for the reader to replace
    assert not {name for name in lower if not re.fullmatch(r"[a-z][a-z0-9-]{4,28}[a-z0-9]", name)}


TESTS = sorted(path for tests in ("tests", "playground/tests") for path in (ROOT / tests).rglob("*.py"))
REAL_TIME = [path for path in TESTS if not path.is_relative_to(ROOT / "tests" / "unit")]


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_test_names_no_path_outside_its_directory(path: Path) -> None:
    outside = re.compile(r"/(?:tmp|var|home|root|usr|opt|mnt|srv)(?:/|$)")
    named = [
        f"line {node.lineno}: {node.value}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and outside.match(node.value)
    ]
    assert named == [], "use tmp_path"


@pytest.mark.parametrize("path", REAL_TIME, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_test_waits_as_long_as_a_busy_machine_needs(path: Path) -> None:
    fixed = [
        f"line {call.lineno}"
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        for limit in (
            *(keyword.value for keyword in call.keywords if keyword.arg == "timeout"),
            *(call.args if ast.unparse(call.func) in ("asyncio.timeout", "asyncio.wait_for") else ()),
        )
        if isinstance(limit, ast.Constant) and isinstance(limit.value, int | float) and limit.value >= 1
    ]
    assert fixed == [], "use tests.time_budget"


def test_no_page_has_a_marker_of_an_unresolved_merge() -> None:
    pages = (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests").glob("*.md"))
    marker = re.compile(r"^(<{7}|={7}|>{7})( |$)", re.MULTILINE)

    assert [page.name for page in pages if marker.search(page.read_text(encoding="utf-8"))] == []
