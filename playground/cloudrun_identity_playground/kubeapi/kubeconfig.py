"""The kubeconfig of this server. It never replaces a file that this server did not write."""

import base64
from pathlib import Path

import yaml

from . import files

_HEADER = "# Written by cloudrun-identity kubeapi; it is overwritten at the next start.\n"
_NAME = "cloudrun-identity-kubeapi"


class FileNotOwnedError(Exception):
    """The path has a file that this server did not write."""


def render(url: str, authority: bytes, token: str) -> str:
    """Return a kubeconfig with the server's URL, its CA (PEM) and the bearer token."""
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
    """Check that a kubeconfig may be written.

    Raises:
        FileNotOwnedError: The file exists without this server's header.
        OSError: The file cannot be read.

    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            is_own = file.readline() == _HEADER
    except FileNotFoundError:
        return
    if not is_own:
        raise FileNotOwnedError(f"{path} is another file and was not changed")


def write(path: Path, text: str) -> None:
    """Write the file atomically, readable by its owner only.

    Raises:
        FileNotOwnedError: see `check`.
        OSError: The directory is missing or cannot be written.

    """
    check(path)
    files.replace(path, text.encode())
