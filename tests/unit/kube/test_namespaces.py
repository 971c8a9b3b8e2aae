"""The operator's namespace is there when it is needed."""

from pathlib import Path

import pytest

from cloudrun_identity.kube import namespaces
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.namespaces import ensure_namespace, pod_namespace
from cloudrun_identity.kube.resources import NAMESPACES, Object
from tests.unit.kube.fake_api import FakeApi

OURS: Object = {"metadata": {"name": "cloudrun-identity"}}


async def test_an_absent_namespace_is_created(api: FakeApi) -> None:
    await ensure_namespace(api, "cloudrun-identity")
    assert [name for _, _, name in api.objects] == ["cloudrun-identity"]


async def test_a_present_namespace_is_left_alone(api: FakeApi) -> None:
    api.put(NAMESPACES, OURS)
    await ensure_namespace(api, "cloudrun-identity")
    assert api.writes == []


async def test_a_namespace_that_another_creates_meanwhile_is_no_error(api: FakeApi) -> None:
    def create_meanwhile() -> None:
        api.put(NAMESPACES, OURS)

    api.interferences = [create_meanwhile]
    await ensure_namespace(api, "cloudrun-identity")
    assert len(api.objects) == 1


async def test_missing_rights_are_passed_on(api: FakeApi) -> None:
    api.outage = KubeError(403, "Forbidden", "cannot get namespaces")
    with pytest.raises(KubeError, match="cannot get namespaces"):
        await ensure_namespace(api, "cloudrun-identity")


def test_the_pod_tells_its_namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "namespace"
    file.write_text("platform\n")
    monkeypatch.setattr(namespaces, "POD_NAMESPACE_FILE", file)
    assert pod_namespace() == "platform"


def test_outside_of_a_cluster_there_is_no_pod_namespace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(namespaces, "POD_NAMESPACE_FILE", tmp_path / "absent")
    assert pod_namespace() is None
