"""`cloudrun-identity tree`: errors, and objects that it leaves out."""

from http import HTTPStatus

import pytest
from click.testing import CliRunner, Result

from cloudrun_identity.cli import cli
from cloudrun_identity.commands.tree import UNMANAGED
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.resources import Object, Objects, Resource


def tree(monkeypatch: pytest.MonkeyPatch, *arguments: str, error: Exception | None = None) -> Result:
    async def read(*_: object) -> tuple[()]:
        if error:
            raise error
        return ()

    monkeypatch.setattr("cloudrun_identity.commands.tree._read", read)
    return CliRunner().invoke(cli, ["tree", *arguments])


def test_absence_of_identities_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tree(monkeypatch).output == "no CloudRunIdentity in the cluster\n"
    assert tree(monkeypatch, "-n", "shop").output == "no CloudRunIdentity in namespace shop\n"


def test_missing_crds_are_an_error_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = KubeError(HTTPStatus.NOT_FOUND, "NotFound", "the server could not find the requested resource")
    result = tree(monkeypatch, error=missing)
    assert result.exit_code == 1
    assert result.output == (
        "Error: the CRDs are not installed: run `cloudrun-identity crds | kubectl apply --server-side -f -`\n"
    )


def test_refused_request_is_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = KubeError(HTTPStatus.FORBIDDEN, "Forbidden", "iambindings is forbidden")
    result = tree(monkeypatch, error=refused)
    assert (result.exit_code, result.output) == (1, "Error: Forbidden (403): iambindings is forbidden\n")


def test_invalid_object_is_named_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def raw(name: str, **spec: object) -> Object:
        return {
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"projectRef": {"name": "p"}, **spec},
        }

    class Client:
        async def list(self, resource: Resource, namespace: str = "") -> Objects:
            return [raw("invalid", whenDeleted="Perhaps"), raw("web")] if "identit" in resource.plural else []

        async def close(self) -> None:
            pass

    async def connect(kubeconfig: str | None, context: str | None) -> Client:
        return Client()

    monkeypatch.setattr("cloudrun_identity.kube.client.connect", connect)
    result = CliRunner().invoke(cli, ["tree"])
    assert result.exit_code == 0
    assert result.stdout == "shop\n└── web  no account yet  (Unknown)\n"
    assert result.stderr.startswith("left out: CloudRunIdentity shop/invalid is invalid: spec.whenDeleted: ")
    assert result.stderr.splitlines()[1:] == [UNMANAGED]
