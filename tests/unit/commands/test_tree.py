"""What `cloudrun-identity tree` says when there is nothing to draw."""

from http import HTTPStatus

import pytest
from click.testing import CliRunner, Result

from cloudrun_identity.cli import cli
from cloudrun_identity.kube.errors import KubeError


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
