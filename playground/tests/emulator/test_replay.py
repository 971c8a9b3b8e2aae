"""Recordings of the real Google Cloud: the documentation lists every difference."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.time_budget import HUNG_AFTER

from .replay import RecordingError, Report, replay
from .replay.comparison import differences

REPOSITORY = Path(__file__).parents[3]
RECORDINGS = Path(os.environ.get("RECORDINGS") or REPOSITORY.parent / "shared" / "recordings")
"""A folder outside the project; the environment variable names another one."""


def recordings() -> Sequence[Path]:
    return sorted([*RECORDINGS.glob("*.http.log"), *RECORDINGS.glob("*.vcr.yaml")])


needs_recordings = pytest.mark.skipif(not recordings(), reason="there are no recordings in RECORDINGS")


@cache
def replayed(file: Path) -> Report:
    return asyncio.run(replay(file))


def found(file: Path) -> frozenset[str]:
    return frozenset(replayed(file).differences)


def listed() -> set[str]:
    """Return the first column of the table of differences."""
    page = (REPOSITORY / "docs" / "reference" / "emulator.md").read_text(encoding="utf-8")
    table = page.partition("| difference | why |\n")[2].partition("\n\n")[0]
    return set(re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE))


@needs_recordings
@pytest.mark.parametrize("file", recordings(), ids=lambda file: file.name)
def test_differences_from_recordings_are_documented(file: Path) -> None:
    assert found(file) <= listed()


@needs_recordings
def test_documented_differences_exist() -> None:
    assert listed() == {difference for file in recordings() for difference in found(file)}


@needs_recordings
def test_recorded_answers_are_equal_in_status_error_and_fields() -> None:
    reports = [replayed(file) for file in recordings()]
    equal, compared = sum(each.equal for each in reports), sum(each.compared for each in reports)
    assert equal / compared >= 0.95, f"{equal} of {compared} answers are equal"


LOG = """GET https://iam.googleapis.com/v1/projects/${projectId}/serviceAccounts/${name}@x.iam.gserviceaccount.com
User-Agent: other

%d Something
Content-Type: application/json

%s
"""
UNKNOWN = {
    "error": {
        "code": 404,
        "message": "Unknown service account",
        "status": "NOT_FOUND",
        "errors": [{"domain": "global", "message": "Unknown service account", "reason": "notFound"}],
    }
}


def write(directory: Path, status: int, answer: Any) -> Path:
    file = directory / "one.http.log"
    file.write_text(LOG % (status, json.dumps(answer)))
    return file


def run(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "playground.tests.emulator.replay", *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=HUNG_AFTER)


def test_replay_prints_no_line_for_equal_answers(tmp_path: Path) -> None:
    result = run(write(tmp_path, 404, UNKNOWN))
    assert (result.returncode, result.stdout) == (0, "one.http.log: 1 of 1 answers equal\n")


def test_replay_prints_differences_with_their_place(tmp_path: Path) -> None:
    result = run(write(tmp_path, 404, {"error": {"code": 404, "status": "UNKNOWN", "hint": "x"}}))
    assert result.returncode == 1
    assert re.search(r"serviceAccounts error\.hint: missing .*one\.http\.log:1", result.stdout)
    assert "serviceAccounts error.status: 'UNKNOWN' → 'NOT_FOUND'" in result.stdout
    assert "serviceAccounts error.errors: not Google's" in result.stdout


def test_different_status_is_a_difference(tmp_path: Path) -> None:
    report = asyncio.run(replay(write(tmp_path, 200, {})))
    assert list(report.differences) == ["iam.googleapis.com serviceAccounts status: 200 → 404"]


def test_policy_of_a_topic_is_replayed_without_its_creation(tmp_path: Path) -> None:
    topic = "https://pubsub.googleapis.com/v1/projects/${projectId}/topics/orders"
    created = f'PUT {topic}\n\n{{}}\n\n200 OK\n\n{{"name": "orders"}}\n'
    read = f'GET {topic}:getIamPolicy\n\n200 OK\n\n{{"etag": "ACAB"}}\n'
    other = "GRPC /google.pubsub.v1.Publisher/GetTopic\n\n{}\n"
    file = tmp_path / "one.http.log"
    file.write_text("\n---\n".join((created, read, other)))
    report = asyncio.run(replay(file))
    assert (report.equal, report.compared) == (1, 1)
    assert list(report.differences) == ["pubsub.googleapis.com: not served"]


def exchange(call: str, status: int, answer: Any, sent: Any = None) -> str:
    body = f"{json.dumps(sent)}\n\n" if sent is not None else ""
    headers = "Content-Type: application/json\n\n"
    return f"{call}\n{headers}{body}{status} Something\n{headers}{json.dumps(answer)}\n"


def test_projects_and_folders_that_a_recording_creates_do_not_count(tmp_path: Path) -> None:
    v1 = "https://cloudresourcemanager.googleapis.com/v1"
    v3 = "https://cloudresourcemanager.googleapis.com/v3"
    shown = {"projectId": "new-shop", "name": "Shop", "projectNumber": "7"}
    file = tmp_path / "one.http.log"
    file.write_text(
        "\n---\n".join(
            (
                exchange(f"GET {v1}/projects/new-shop", 403, {"error": {"code": 403}}),
                exchange(f"POST {v1}/projects", 200, {"name": "operations/cp.1"}, {"projectId": "new-shop"}),
                exchange(f"GET {v1}/operations/cp.1", 200, {"done": True}),
                exchange(f"GET {v1}/projects/new-shop", 200, shown),
                exchange(f"POST {v3}/folders", 200, {"name": "operations/cf.1"}, {"displayName": "KCC"}),
                exchange(f"GET {v3}/operations/cf.1", 200, {"response": {"name": "folders/12"}}),
                exchange(f"GET {v3}/folders/12", 200, {"name": "folders/12", "displayName": "KCC"}),
            )
        )
    )
    report = asyncio.run(replay(file))
    assert (report.equal, report.compared) == (0, 0)
    assert all(difference.endswith("not served") for difference in report.differences)


def test_project_has_the_name_labels_and_parent_that_its_first_read_shows(tmp_path: Path) -> None:
    project = {
        "createTime": "2024-04-01T12:34:56.123456Z",
        "labels": {"team": "shop"},
        "lifecycleState": "ACTIVE",
        "parent": {"id": "42", "type": "folder"},
        "projectId": "shop-1234",
        "projectNumber": "${projectNumber}",
    }
    file = tmp_path / "one.http.log"
    url = "https://cloudresourcemanager.googleapis.com/v1/projects/shop-1234"
    file.write_text(exchange(f"GET {url}", 200, project))
    report = asyncio.run(replay(file))
    assert report.compared == 1
    assert not {each for each in report.differences if re.search(r" (labels|parent|name)\b", each)}


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.http.log", "nonsense"), ("a.http.log", ""), ("a.vcr.yaml", "{"), ("a.vcr.yaml", "interactions: 5")],
)
def test_invalid_recording_is_one_line_and_exit_code_2(tmp_path: Path, name: str, content: str) -> None:
    file = tmp_path / name
    file.write_text(content)
    with pytest.raises(RecordingError, match=re.escape(str(file))):
        asyncio.run(replay(file))


def test_missing_recording_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    result = run(tmp_path / "none.http.log")
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith(f"error: {tmp_path / 'none.http.log'}: cannot be read")


@pytest.mark.parametrize(
    ("recorded", "shown", "expected"),
    [
        ({"etag": "a", "name": "x"}, {"etag": "b", "name": "x"}, []),
        ({"etag": "a"}, {}, ["etag: missing"]),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, ["a[].b: 1 → 2"]),
        ({"a": [1]}, {"a": [1, 2]}, ["a: other items"]),
        ({"a": "1"}, {"a": 1}, ["a: '1' → 1"]),
        ({}, {"a": {}}, ["a: not Google's"]),
    ],
)
def test_differences_have_a_path(recorded: Any, shown: Any, expected: list[str]) -> None:
    assert list(differences(recorded, shown)) == expected
