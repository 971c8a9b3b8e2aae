"""Sources of the connection data, and errors if there is none."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudrun_identity.kube import connection
from cloudrun_identity.kube.connection import access, load, pod_namespace, session
from cloudrun_identity.kube.errors import KubeconfigInvalid

SERVER = "http://api.example.com"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Hide the kubeconfig of this machine, and any pod environment."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def write(path: Path, user: dict[str, Any], server: str = SERVER) -> Path:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(config))
    return path


def exec_plugin(directory: Path, body: str) -> dict[str, Any]:
    script = directory / "plugin"
    script.write_text(f"#!{sys.executable}\n{body}")
    script.chmod(0o755)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(script)}}


async def authorization(kubeconfig: str | None) -> str:
    return (await access(await load(kubeconfig))).authorization


async def test_given_file_has_precedence_over_the_environment(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(write(home / "other", {"token": "other"})))
    assert await authorization(str(write(home / "named", {"token": "named"}))) == "Bearer named"


async def test_environment_has_precedence_over_the_default_file(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home / ".kube" / "config", {"token": "default"})
    monkeypatch.setenv("KUBECONFIG", str(write(home / "other", {"token": "other"})))
    assert await authorization(None) == "Bearer other"


async def test_default_file_is_used(home: Path) -> None:
    write(home / ".kube" / "config", {"token": "default"})
    assert await authorization(None) == "Bearer default"


async def test_named_context_is_used_instead_of_the_current_one(home: Path) -> None:
    path = write(home / "config", {"token": "current"})
    config = yaml.safe_load(path.read_text())
    config["users"].append({"name": "other", "user": {"token": "other"}})
    config["contexts"].append({"name": "other", "context": {"cluster": "test", "user": "other"}})
    path.write_text(yaml.safe_dump(config))
    assert (await access(await load(str(path), "other"))).authorization == "Bearer other"
    with pytest.raises(KubeconfigInvalid, match="absent"):
        await load(str(path), "absent")


async def test_context_without_a_kubeconfig_is_an_error() -> None:
    with pytest.raises(KubeconfigInvalid, match=r"^context prod: .*name a file with --kubeconfig$"):
        await load(None, "prod")


async def test_missing_kubeconfig_error_names_the_remedy() -> None:
    with pytest.raises(KubeconfigInvalid, match=r"^no kubeconfig found.*name a file with --kubeconfig$"):
        await load(None)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file is not a kubeconfig"),
        (b"[]", "the file is not a kubeconfig"),
        (b"{", "the file is not valid YAML"),
        (b"\xff\x00", "the file is not UTF-8 text"),
        (b"kind: Config", ""),
        (b"current-context: x\ncontexts: []\nclusters: 3", ""),
    ],
)
async def test_unusable_file_error_is_one_line_with_the_path(home: Path, content: bytes, why: str) -> None:
    path = home / "kubeconfig"
    path.write_bytes(content)
    with pytest.raises(KubeconfigInvalid) as raised:
        await load(str(path))
    assert str(raised.value).startswith(f"kubeconfig {path}: {why}")
    assert "\n" not in str(raised.value)


async def test_missing_file_error_names_the_path(home: Path) -> None:
    with pytest.raises(KubeconfigInvalid, match=r"absent: no such file$"):
        await load(str(home / "absent"))


async def test_exec_plugin_provides_the_token(home: Path) -> None:
    reply = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "from-plugin", "expirationTimestamp": "2090-01-01T00:00:00Z"},
    }
    user = exec_plugin(home, f"print({json.dumps(reply)!r})")
    assert await authorization(str(write(home / "kubeconfig", user))) == "Bearer from-plugin"


@pytest.mark.parametrize("body", ["raise SystemExit('not logged in')", "print('no JSON')", "print('{}')"])
async def test_failing_exec_plugin_is_named(home: Path, body: str) -> None:
    path = write(home / "kubeconfig", exec_plugin(home, body))
    with pytest.raises(KubeconfigInvalid, match=rf"the exec plugin {home}/plugin returned no credentials"):
        await load(str(path))


async def test_missing_exec_plugin_is_named(home: Path) -> None:
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "gke-gcloud-auth-plugin-x"}}
    path = write(home / "kubeconfig", user)
    with pytest.raises(KubeconfigInvalid, match="the exec plugin gke-gcloud-auth-plugin-x returned"):
        await load(str(path))


@pytest.mark.parametrize(
    ("environment", "trusted"),
    [
        ({}, False),
        ({"http_proxy": "http://proxy.example.com:3128"}, True),
        ({"https_proxy": "http://proxy.example.com:3128"}, False),
        ({"http_proxy": "http://proxy.example.com:3128", "no_proxy": "api.example.com"}, False),
    ],
    ids=["no proxy", "proxy", "proxy of another scheme", "excepted host"],
)
async def test_environment_is_read_per_request_only_behind_a_proxy(
    home: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], trusted: bool
) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    configuration = await load(str(write(home / "config", {"token": "secret"})))
    async with session(configuration, "test") as opened:
        assert opened.trust_env is trusted


async def test_repr_of_cluster_access_omits_the_token(home: Path) -> None:
    found = await access(await load(str(write(home / "kubeconfig", {"token": "secret"}))))
    assert found.server == SERVER
    assert "secret" not in repr(found)


def test_pod_namespace_is_read_from_the_mounted_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "namespace"
    file.write_text("platform\n")
    monkeypatch.setattr(connection, "POD_NAMESPACE_FILE", file)
    assert pod_namespace() == "platform"


def test_pod_namespace_is_none_outside_of_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "POD_NAMESPACE_FILE", tmp_path / "absent")
    assert pod_namespace() is None
