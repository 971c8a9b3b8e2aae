"""What `cloudrun-identity tree` says of what it cannot draw."""

from http import HTTPStatus

import pytest
from click.testing import CliRunner, Result

from cloudrun_identity.cli import cli
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.resources import Object, Objects, Resource


def drawn_of(monkeypatch: pytest.MonkeyPatch, *arguments: str, error: Exception | None = None) -> Result:
    async def read(*_: object) -> tuple[()]:
        if error:
            raise error
        return ()

    monkeypatch.setattr("cloudrun_identity.commands.tree._read", read)
    return CliRunner().invoke(cli, ["tree", *arguments])


def test_no_identities_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drawn_of(monkeypatch).output == "there is no CloudRunIdentity in the cluster\n"
    assert drawn_of(monkeypatch, "-n", "shop").output == "there is no CloudRunIdentity in namespace shop\n"


def test_a_cluster_without_our_kinds_is_told_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = KubeError(HTTPStatus.NOT_FOUND, "NotFound", "the server could not find the requested resource")
    result = drawn_of(monkeypatch, error=missing)
    assert result.exit_code == 1
    assert result.output == (
        "Error: the cluster does not have our kinds: "
        "run `cloudrun-identity crds | kubectl apply --server-side -f -`\n"
    )


def test_what_the_cluster_refuses_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = KubeError(HTTPStatus.FORBIDDEN, "Forbidden", "iambindings is forbidden")
    result = drawn_of(monkeypatch, error=refused)
    assert (result.exit_code, result.output) == (1, "Error: Forbidden (403): iambindings is forbidden\n")


def test_what_cannot_be_read_is_named_and_the_rest_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    def raw(name: str, **spec: object) -> Object:
        return {
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"projectRef": {"name": "p"}, **spec},
        }

    class Client:
        async def list(self, resource: Resource, namespace: str) -> Objects:
            return [raw("spoilt", whenDeleted="Perhaps"), raw("web")] if "identit" in resource.plural else []

        async def close(self) -> None:
            pass

    async def connect(kubeconfig: str | None) -> Client:
        return Client()

    monkeypatch.setattr("cloudrun_identity.kube.client.connect", connect)
    result = CliRunner().invoke(cli, ["tree"])
    assert result.exit_code == 0
    assert result.stdout == "shop\n└── web  no account yet  (Unknown)\n"
    assert result.stderr.startswith(
        "left out: CloudRunIdentity shop/spoilt cannot be read: spec.whenDeleted: "
    )
    assert len(result.stderr.splitlines()) == 1
