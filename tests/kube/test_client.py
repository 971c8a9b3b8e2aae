"""The Kubernetes client on API servers: requests and authentication."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudrun_identity.api import KINDS
from cloudrun_identity.kube import client as client_module
from cloudrun_identity.kube.client import KubeClient, connect
from cloudrun_identity.kube.crds import check_compatible, served_kinds
from cloudrun_identity.kube.errors import ClusterUnreachable, KubeError
from cloudrun_identity.kube.objects import resource
from cloudrun_identity.kube.resources import NAMESPACES, PatchType
from tests.kube.objects import binding
from tests.servers.kube_apis import KubeApi

BINDINGS = resource("IAMBinding")


def kubeconfig_of(server: KubeApi, directory: Path, user: dict[str, Any]) -> str:
    config = yaml.safe_load(server.kubeconfig.read_text())
    config["users"] = [{"name": config["users"][0]["name"], "user": user}]
    path = directory / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def exec_plugin(directory: Path, tokens: list[str]) -> dict[str, Any]:
    """Create an exec plugin that returns one token after the other, each with an expiry in the far future."""
    left = directory / "tokens.json"
    left.write_text(json.dumps(tokens))
    script = directory / "plugin"
    script.write_text(
        f"#!{sys.executable}\n"
        "import json, pathlib\n"
        f"left = pathlib.Path({str(left)!r})\n"
        "token, *rest = json.loads(left.read_text())\n"
        "left.write_text(json.dumps(rest or [token]))\n"
        "print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1', 'kind': 'ExecCredential',\n"
        "    'status': {'token': token, 'expirationTimestamp': '2090-01-01T00:00:00Z'}}))\n"
    )
    script.chmod(0o755)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(script)}}


async def test_served_kinds_are_those_of_the_crds(client: KubeClient) -> None:
    assert await served_kinds(client) == await check_compatible(client) == list(KINDS)
    assert await client.kinds("cloudrun-identity.dev", "v0") == frozenset()


async def test_object_is_created_replaced_patched_and_deleted(client: KubeClient, namespace: str) -> None:
    created = await client.create(BINDINGS, binding(namespace))
    assert await client.get(BINDINGS, "web", namespace) == created
    created["spec"]["role"] = "roles/editor"
    replaced = await client.replace(BINDINGS, created)
    patched = await client.patch(BINDINGS, "web", namespace, {"metadata": {"labels": {"a": "b"}}})
    assert (patched["spec"]["role"], patched["metadata"]["labels"]) == ("roles/editor", {"a": "b"})
    with pytest.raises(KubeError) as stale:
        await client.replace(BINDINGS, replaced)
    assert stale.value.is_conflict
    await client.delete(BINDINGS, "web", namespace)
    with pytest.raises(KubeError) as gone:
        await client.get(BINDINGS, "web", namespace)
    assert gone.value.is_not_found


async def test_json_patch_and_apply_change_the_object(client: KubeClient, namespace: str) -> None:
    await client.create(BINDINGS, binding(namespace))
    operations = [{"op": "replace", "path": "/spec/role", "value": "roles/browser"}]
    patched = await client.patch(BINDINGS, "web", namespace, operations, PatchType.JSON)
    assert patched["spec"]["role"] == "roles/browser"
    applied = await client.patch(BINDINGS, "web", namespace, binding(namespace), PatchType.APPLY)
    assert applied["spec"]["role"] == "roles/viewer"


async def test_second_create_is_a_conflict(client: KubeClient, namespace: str) -> None:
    await client.create(BINDINGS, binding(namespace))
    with pytest.raises(KubeError) as raised:
        await client.create(BINDINGS, binding(namespace))
    assert raised.value.is_conflict
    assert raised.value.reason == "AlreadyExists"


async def test_invalid_object_error_names_the_field(client: KubeClient, namespace: str) -> None:
    broken = binding(namespace)
    del broken["spec"]["members"]
    with pytest.raises(KubeError, match=r"spec\.members") as raised:
        await client.create(BINDINGS, broken)
    assert raised.value.is_invalid


@pytest.mark.parametrize("precondition", [{"uid": "another"}, {"resource_version": "1"}])
async def test_delete_with_failed_precondition_is_a_conflict(
    client: KubeClient, namespace: str, precondition: dict[str, str]
) -> None:
    await client.create(BINDINGS, binding(namespace))
    with pytest.raises(KubeError) as raised:
        await client.delete(BINDINGS, "web", namespace, **precondition)
    assert raised.value.is_conflict
    assert await client.get(BINDINGS, "web", namespace)


async def test_list_of_several_pages_is_complete(
    client: KubeClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "PAGE_SIZE", 2)
    names = [f"b{number}" for number in range(5)]
    for name in names:
        await client.create(BINDINGS, binding(namespace, name, labels={"odd": str(int(name[1:]) % 2)}))
    listed = await client.list(BINDINGS, namespace)
    odd = await client.list(BINDINGS, namespace, label_selector="odd=1")
    assert [obj["metadata"]["name"] for obj in listed] == names
    assert [obj["metadata"]["name"] for obj in odd] == ["b1", "b3"]
    assert {obj["metadata"]["namespace"] for obj in await client.list(BINDINGS)} >= {namespace}


async def test_exec_plugin_authenticates(server: KubeApi, tmp_path: Path, namespace: str) -> None:
    client = await connect(kubeconfig_of(server, tmp_path, exec_plugin(tmp_path, [server.token])))
    try:
        assert (await client.get(NAMESPACES, namespace))["metadata"]["name"] == namespace
    finally:
        await client.close()


async def test_exec_plugin_runs_again_after_its_token_is_rejected(
    server: KubeApi, tmp_path: Path, namespace: str
) -> None:
    user = exec_plugin(tmp_path, ["expired", server.token])
    client = await connect(kubeconfig_of(server, tmp_path, user))
    try:
        assert (await client.get(NAMESPACES, namespace))["metadata"]["name"] == namespace
    finally:
        await client.close()


async def test_rejected_token_error_omits_the_token(server: KubeApi, tmp_path: Path) -> None:
    with pytest.raises(ClusterUnreachable, match="rejects the credentials") as raised:
        await connect(kubeconfig_of(server, tmp_path, {"token": "nonsense"}))
    assert "nonsense" not in str(raised.value)
