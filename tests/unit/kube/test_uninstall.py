"""Objects whose kinds are being deleted, without an operator that serves them."""

from typing import Any

from cloudrun_identity.api import FINALIZER
from cloudrun_identity.kube.objects import resource
from cloudrun_identity.kube.uninstall import remove_finalizers
from tests.unit.kube.fake_api import FakeApi
from tests.unit.kube.test_crds import install

OTHERS = "example.com/backup"


def put(api: FakeApi, kind: str, name: str, **metadata: Any) -> None:
    metadata |= {"name": name, "namespace": "payments", "finalizers": [OTHERS, FINALIZER]}
    api.put(resource(kind), {"kind": kind, "metadata": metadata, "spec": {}})


def finalizers(api: FakeApi, kind: str, name: str) -> list[str]:
    found: list[str] = api.objects[resource(kind).plural, "payments", name]["metadata"]["finalizers"]
    return found


async def test_what_goes_with_its_kind_is_let_go_and_nothing_else(api: FakeApi) -> None:
    install(api, "IAMBinding", deletionTimestamp="2030-01-01T00:00:00Z")
    install(api, "CloudRunIdentity")
    put(api, "IAMBinding", "web")
    put(api, "IAMBinding", "ops", deletionTimestamp="2030-01-01T00:00:00Z")
    put(api, "CloudRunIdentity", "checkout", deletionTimestamp="2030-01-01T00:00:00Z")

    assert await remove_finalizers(api) == 2

    assert finalizers(api, "IAMBinding", "web") == finalizers(api, "IAMBinding", "ops") == [OTHERS]
    assert finalizers(api, "CloudRunIdentity", "checkout") == [OTHERS, FINALIZER]
