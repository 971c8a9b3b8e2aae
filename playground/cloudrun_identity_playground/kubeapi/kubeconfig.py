"""The kubeconfig that lets a client in. It never takes the place of a file that is not its own."""

import base64
from pathlib import Path

import yaml

from . import files

_HEADER = "# Written by cloudrun-identity kubeapi; it is overwritten at the next start.\n"
_NAME = "cloudrun-identity-kubeapi"


class ForeignFileError(Exception):
    """There is a file at the path that this server did not write."""


def render(url: str, authority: bytes, token: str) -> str:
    """Make a kubeconfig of the server's URL, its authority (PEM) and the bearer token."""
    cluster = {"server": url, "certificate-authority-data": base64.b64encode(authority).decode()}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": _NAME, "cluster": cluster}],
        "users": [{"name": _NAME, "user": {"token": token}}],
        "contexts": [{"name": _NAME, "context": {"cluster": _NAME, "user": _NAME, "namespace": "default"}}],
        "current-context": _NAME,
    }
    return _HEADER + yaml.safe_dump(config, sort_keys=False)


def check(path: Path) -> None:
    """Make sure that a kubeconfig may be written there.

    Raises:
        ForeignFileError: the file is there and carries no header of ours.
        OSError: it cannot be read.

    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            ours = file.readline() == _HEADER
    except FileNotFoundError:
        return
    if not ours:
        raise ForeignFileError(f"{path} was not written by this command and is left as it is")


def write(path: Path, text: str) -> None:
    """Write it at once or not at all, readable by its owner alone.

    Raises:
        ForeignFileError: see `check`.
        OSError: the directory is missing or cannot be written.

    """
    check(path)
    files.replace(path, text.encode())
