"""Tests of the embedded server only: history, kubeconfig, command."""

import asyncio
import base64
import signal
import socket
import ssl
import stat
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from click.testing import CliRunner

from cloudrun_identity_playground.kubeapi import KubeApi
from cloudrun_identity_playground.kubeapi.command import kubeapi
from playground.tests.kubeapi.commands import running
from playground.tests.kubeapi.http import Api, connect
from playground.tests.kubeapi.widgets import DEFINITION, DEFINITIONS, Widgets
from tests.time_budget import HUNG_AFTER, time_budget


@pytest.fixture
async def forgetful(tmp_path: Path) -> AsyncIterator[Widgets]:
    """Widgets on a server with a history of three changes."""
    path = tmp_path / "kubeconfig"
    async with KubeApi(path, history=3), connect(path) as api:
        await api.post(DEFINITIONS, yaml.safe_load(DEFINITION.read_text(encoding="utf-8")))
        yield Widgets(api, "default")


async def test_watch_of_an_expired_version_is_refused(forgetful: Widgets) -> None:
    await forgetful.create()
    version = (await forgetful.api.get(forgetful.path)).version
    for size in (2, 4, 5, 2):
        await forgetful.api.merge(forgetful.at("a"), {"spec": {"size": size}})

    async with forgetful.api.watch(forgetful.path, resourceVersion=version) as watched:
        event, end = await watched.next(), await watched.next()

    assert event is not None
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    assert end is None


async def test_current_watch_does_not_expire(forgetful: Widgets) -> None:
    created = await forgetful.create()
    version = created["metadata"]["resourceVersion"]

    async with forgetful.api.watch(forgetful.path, resourceVersion=version) as watched:
        for size in (2, 4, 5, 2, 1, 4):
            await forgetful.api.merge(forgetful.at("a"), {"spec": {"size": size}})

        assert await watched.take(6) == [("MODIFIED", "a")] * 6


async def test_unknown_continue_token_is_expired(forgetful: Widgets) -> None:
    refused = await forgetful.api.get(forgetful.path, **{"continue": "unknown:1"})

    assert (refused.code, refused.reason) == (410, "Expired")


async def test_watch_of_a_future_version_is_refused(forgetful: Widgets) -> None:
    refused = await forgetful.api.get(forgetful.path, watch="true", resourceVersion="99999999")

    assert (refused.code, refused.reason) == (504, "Timeout")


async def test_streaming_list_is_refused(forgetful: Widgets) -> None:
    refused = await forgetful.api.get(
        forgetful.path, watch="true", sendInitialEvents="true", resourceVersionMatch="NotOlderThan"
    )

    assert refused.causes[0][0] == "sendInitialEvents"


@pytest.mark.parametrize(
    "resource", ["rbac.authorization.k8s.io/v1/roles", "apps/v1/deployments", "batch/v1/jobs"]
)
async def test_unsupported_resource_is_not_found(forgetful: Widgets, resource: str) -> None:
    assert (await forgetful.api.get(f"/apis/{resource}")).reason == "NotFound"


async def test_unknown_protobuf_kind_is_refused(forgetful: Widgets) -> None:
    body = b"k8s\x00\x0a\x0b\x0a\x02v1\x12\x05Thing\x12\x00"

    refused = await forgetful.api.call(
        "POST", "/api/v1/namespaces", body, content_type="application/vnd.kubernetes.protobuf"
    )

    assert (refused.code, refused.reason) == (415, "UnsupportedMediaType")


async def test_request_that_is_too_large_is_refused(forgetful: Widgets) -> None:
    refused = await forgetful.api.post("/api/v1/namespaces/default/configmaps", b"x" * (4 * 1024 * 1024))

    assert (refused.code, refused.reason) == (413, "RequestEntityTooLarge")


async def test_in_process_server_stops_after_its_block() -> None:
    async with KubeApi() as api:
        port = int(api.url.rpartition(":")[2])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()

    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_open_watch_does_not_delay_the_stop(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    server = KubeApi(path)
    async with time_budget():
        async with server:
            client = connect(path)
            api: Api = await client.__aenter__()
            watch = api.watch("/api/v1/namespaces", resourceVersion="2")
            await watch.__aenter__()
        await watch.__aexit__(None, None, None)
        await client.__aexit__(None, None, None)


def test_kubeconfig_is_private_and_replaced_at_each_start(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"

    first, second = asyncio.run(token_of(path)), asyncio.run(token_of(path))

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert second in path.read_text()
    assert first not in path.read_text()
    assert list(tmp_path.iterdir()) == [path]


def test_kubeconfig_of_another_program_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("apiVersion: v1\n")

    result = CliRunner().invoke(kubeapi, ["--kubeconfig", str(path)])

    assert result.exit_code == 2
    assert result.output == (
        f"kubeapi: --kubeconfig: {path} is another file and was not changed; use another file\n"
    )
    assert path.read_text() == "apiVersion: v1\n"


def test_port_in_use_is_reported_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(kubeapi, ["--port", str(port), "--kubeconfig", str(path)])

    assert result.exit_code == 2
    assert len(result.output.splitlines()) == 1
    assert f"port {port} of 127.0.0.1 is in use" in result.output
    assert not path.exists()


def test_unwritable_kubeconfig_is_reported_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "none" / "kubeconfig"

    result = CliRunner().invoke(kubeapi, ["--kubeconfig", str(path)])

    assert result.exit_code == 2
    assert result.output == f"kubeapi: --kubeconfig: cannot write {path}: No such file or directory\n"


@pytest.mark.parametrize("option", ["--port=x", "--port=65536", "--prot=1"])
def test_invalid_option_is_reported_in_one_line(tmp_path: Path, option: str) -> None:
    path = tmp_path / "kubeconfig"
    with running("--kubeconfig", str(path), option) as process:
        _, said = process.communicate(timeout=HUNG_AFTER)

    assert process.returncode == 2
    assert said.startswith("Error: ")
    assert len(said.splitlines()) == 1
    assert option.partition("=")[0] in said
    assert not path.exists()


def test_command_prints_when_it_is_ready_and_stops_cleanly(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    with running(CLOUDRUN_IDENTITY_KUBEAPI_KUBECONFIG=str(path)) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        server = yaml.safe_load(path.read_text())["clusters"][0]["cluster"]["server"]
        process.send_signal(signal.SIGTERM)

        assert process.wait(20) == 0
    assert line == f"kubeapi: ready at {server}; export KUBECONFIG={path}\n"


async def test_disconnect_during_a_watch_is_handled(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    with running("--kubeconfig", str(path)) as process:
        assert process.stdout is not None
        assert "ready at" in process.stdout.readline()
        for _ in range(5):
            async with connect(path) as api, api.watch("/api/v1/configmaps") as watched:
                await api.post("/api/v1/namespaces/default/configmaps", {"metadata": {"generateName": "c"}})
                assert await watched.next() is not None
                await api.post("/api/v1/namespaces/default/configmaps", {"metadata": {"generateName": "c"}})
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=HUNG_AFTER)

    assert (process.returncode, said) == (0, "")


async def test_disconnect_before_a_watch_starts_is_handled(tmp_path: Path) -> None:
    """A killed client disconnects so; several try, because few do it at that moment."""
    path = tmp_path / "kubeconfig"
    with running("--kubeconfig", str(path)) as process:
        assert process.stdout is not None
        assert "ready at" in process.stdout.readline()
        kubeconfig = yaml.safe_load(path.read_text())
        for _ in range(25):
            await ask_and_leave(kubeconfig, "/api/v1/configmaps?watch=true")
        async with connect(path) as api:
            assert (await api.get("/api/v1/configmaps")).code == 200
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=HUNG_AFTER)

    assert (process.returncode, said) == (0, "")


async def ask_and_leave(kubeconfig: dict[str, Any], request: str) -> None:
    """Send a request and close the connection immediately."""
    cluster, token = kubeconfig["clusters"][0]["cluster"], kubeconfig["users"][0]["user"]["token"]
    server = urlsplit(cluster["server"])
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    trusting = ssl.create_default_context(cadata=authority)
    _, writer = await asyncio.open_connection(server.hostname, server.port, ssl=trusting)
    writer.write(f"GET {request} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    at_once = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    writer.transport.abort()


async def token_of(path: Path) -> str:
    async with KubeApi(path) as api:
        return api.token


async def owned(widgets: Widgets, name: str, owner: str, **metadata: Any) -> None:
    """Create a widget that another one owns."""
    uid = (await widgets.read(owner))["metadata"]["uid"]
    reference = {"apiVersion": "contract.test/v1", "kind": "Widget", "name": owner, "uid": uid}
    await widgets.create(name, metadata={"ownerReferences": [reference], **metadata})


async def test_foreground_deletion_removes_dependents_before_their_owner(forgetful: Widgets) -> None:
    await forgetful.create("owner")
    await owned(forgetful, "a", "owner")
    await owned(forgetful, "b", "a", finalizers=["contract.test/held"])

    await forgetful.api.delete(forgetful.at("owner"), {"propagationPolicy": "Foreground"})
    assert await forgetful.names() == ["a", "b", "owner"]
    await forgetful.api.merge(forgetful.at("b"), {"metadata": {"finalizers": []}})
    assert await forgetful.names() == []


async def test_orphaning_deletion_releases_dependents(forgetful: Widgets) -> None:
    await forgetful.create("owner")
    await owned(forgetful, "a", "owner")

    await forgetful.api.delete(forgetful.at("owner"), {"propagationPolicy": "Orphan"})
    assert await forgetful.names() == ["a"]
    assert "ownerReferences" not in (await forgetful.read("a"))["metadata"]


async def test_roll_back_restores_objects_and_ends_watches(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    async with KubeApi(path) as server, connect(path) as api:
        await api.post(DEFINITIONS, yaml.safe_load(DEFINITION.read_text(encoding="utf-8")))
        widgets = Widgets(api, "default")
        before = await widgets.create("a", size=2)
        store = server.operations.store
        backup = store.backup()
        await widgets.api.merge(widgets.at("a"), {"spec": {"size": 4}})
        await widgets.create("b")

        store.roll_back(backup, store.version + 1_000)

        assert (await api.get(widgets.at("a"))).body == before
        assert (await api.get(widgets.at("b"))).code == 404
        assert int((await widgets.create("c"))["metadata"]["resourceVersion"]) > 1_000
        late = before["metadata"]["resourceVersion"]
        async with api.watch(widgets.path, resourceVersion=late) as watched:
            assert (await watched.next())["type"] == "ERROR"


async def test_server_in_memory_makes_a_protocol_for_each_connection() -> None:
    async with KubeApi().in_memory("http://in.memory") as connection:
        assert isinstance(connection(), asyncio.Protocol)
