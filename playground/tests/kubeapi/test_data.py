"""The data file: restored objects, and refusal of unsuitable files before they are overwritten."""

import json
import signal
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from cloudrun_identity_playground.kubeapi import KubeApi
from cloudrun_identity_playground.kubeapi.command import kubeapi
from playground.tests.kubeapi.commands import running
from playground.tests.kubeapi.http import connect
from playground.tests.kubeapi.widgets import DEFINITION, DEFINITIONS, Widgets

HEAD = {"format": "cloudrun-identity kubeapi 1", "version": 9}
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "s", "namespace": "default", "uid": "u", "resourceVersion": "5"},
}


@asynccontextmanager
async def run(data: Path) -> AsyncIterator[Widgets]:
    """Run a server with this data file."""
    path = data.with_name("kubeconfig")
    async with KubeApi(path, data=data) as server, connect(path) as api:
        assert server.kubeconfig == path
        yield Widgets(api, "default")


async def test_objects_are_restored_in_the_next_run(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with run(data) as before:
        await before.api.post(DEFINITIONS, yaml.safe_load(DEFINITION.read_text(encoding="utf-8")))
        await before.api.post("/api/v1/namespaces", {"metadata": {"name": "other"}})
        await before.create("kept", metadata={"finalizers": ["x.test/y"]})
        await before.create("gone")
        await before.api.merge(before.at("kept", "/status"), {"status": {"ready": True}})
        await before.api.delete(before.at("gone"))
        await before.api.delete(before.at("kept"))
        left = (await before.api.get(before.path)).body

    async with run(data) as after:
        found = (await after.api.get(after.path)).body
        assert found["items"] == left["items"]
        assert found["metadata"]["resourceVersion"] >= left["metadata"]["resourceVersion"]
        assert (await after.api.get("/api/v1/namespaces/other")).code == 200
        await after.api.merge(after.at("kept"), {"metadata": {"finalizers": None}})
        assert (await after.api.get(after.at("kept"))).code == 404
        assert (await after.try_create(size=3)).code == 422, "the rules of the definition are there again"


async def test_watch_of_an_earlier_run_expires(tmp_path: Path) -> None:
    async with run(tmp_path / "data") as before:
        version = (await before.api.get("/api/v1/namespaces")).version
        await before.api.post("/api/v1/namespaces", {"metadata": {"name": "other"}})

    async with (
        run(tmp_path / "data") as after,
        after.api.watch("/api/v1/namespaces", resourceVersion=version) as watched,
    ):
        event = await watched.next()
        assert event is not None
        assert event["object"]["code"] == 410


async def test_response_follows_the_write_to_disk(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with run(data) as widgets:
        await widgets.api.post("/api/v1/namespaces", {"metadata": {"name": "other"}})

        names = [json.loads(line)["object"]["metadata"]["name"] for line in data.read_text().splitlines()[1:]]

    assert "other" in names
    assert stat.S_IMODE(data.stat().st_mode) == 0o600, "it holds secrets"


async def test_failed_write_to_disk_is_reported(tmp_path: Path) -> None:
    directory = tmp_path / "full"
    directory.mkdir()
    data = directory / "data"
    async with run(data) as widgets:
        before = data.read_bytes()
        data.unlink()
        # A directory in its place cannot be overwritten even by the superuser.
        data.mkdir()
        told = await widgets.api.post("/api/v1/namespaces", {"metadata": {"name": "other"}})
        data.rmdir()
        data.write_bytes(before)
        kept = await widgets.api.post("/api/v1/namespaces", {"metadata": {"name": "third"}})

    assert (told.code, told.reason) == (500, "InternalError")
    assert f"the change is made, but not kept: cannot write {data}" in told.message
    assert kept.code == 201
    assert '"name":"other"' in data.read_text()


async def test_answered_writes_survive_sigkill(tmp_path: Path) -> None:
    data, path = tmp_path / "data", tmp_path / "kubeconfig"
    with running("--kubeconfig", str(path), "--data", str(data)) as process:
        assert process.stdout is not None
        assert "ready at" in process.stdout.readline()
        async with connect(path) as api:
            await api.post("/api/v1/namespaces", {"metadata": {"name": "other"}})
        process.send_signal(signal.SIGKILL)
        process.wait(20)

    async with run(data) as widgets:
        assert (await widgets.api.get("/api/v1/namespaces/other")).code == 200


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([""], "line 1: column 1: Expecting value"),
        (["apiVersion: v1"], "line 1: column 1: Expecting value"),
        ([{"apiVersion": "v1"}], "line 1: this command did not write it"),
        ([HEAD, '{"resource":'], "line 2: column 13: Expecting value"),
        ([HEAD, {"resource": "secrets"}], "line 2: 'object' is missing"),
        ([HEAD, {"resource": "secrets", "object": {"metadata": {"name": "s"}}}], "line 2: 'uid' is missing"),
        (
            [HEAD, {"resource": "widgets.contract.test", "object": SECRET}],
            "line 2: widgets.contract.test is not defined above",
        ),
        (
            [HEAD, {"resource": "secrets", "object": SECRET | {"data": {"k": "%"}}}],
            'line 2: secrets s: data.k: Invalid value: "%": data.k in body must be of type byte: "%"',
        ),
        (
            [HEAD | {"version": 4}, {"resource": "secrets", "object": SECRET}],
            "line 2: the resourceVersion 5 is newer than the version of the file",
        ),
    ],
)
def test_invalid_file_is_reported_and_not_changed(tmp_path: Path, lines: list[object], why: str) -> None:
    data, path = tmp_path / "data", tmp_path / "kubeconfig"
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    data.write_text(text)

    result = CliRunner().invoke(kubeapi, ["--kubeconfig", str(path), "--data", str(data)])

    assert (result.exit_code, result.output) == (2, f"kubeapi: --data: {data}, {why}\n")
    assert data.read_text() == text
    assert not path.exists()


async def test_file_in_use_is_reported_in_one_line(tmp_path: Path) -> None:
    data, other = tmp_path / "data", tmp_path / "other"
    async with run(data):
        with running("--kubeconfig", str(other), "--data", str(data)) as process:
            assert process.wait(60) == 2
            assert process.stderr is not None
            assert process.stderr.read() == f"kubeapi: --data: another server is using {data}\n"
    assert not other.exists()


def test_missing_directory_is_reported_in_one_line(tmp_path: Path) -> None:
    data, path = tmp_path / "none" / "data", tmp_path / "kubeconfig"

    result = CliRunner().invoke(kubeapi, ["--kubeconfig", str(path), "--data", str(data)])

    assert result.exit_code == 2
    assert result.output == f"kubeapi: --data: cannot use {data}: No such file or directory\n"
    assert not path.exists()


async def test_client_is_connected_again_after_a_restart(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with KubeApi(data=data) as first:
        known = (first.token, first.authority)
    async with KubeApi(data=data) as second:
        assert (second.token, second.authority) == known
    assert (tmp_path / "data.credentials").stat().st_mode & 0o077 == 0
