"""Files of manifests that commands write, and the namespace of the objects in them."""

import re
from collections.abc import Mapping
from pathlib import Path

import click


def write_files(directory: Path, files: Mapping[str, str]) -> None:
    """Write all files, or none if one of them exists."""
    existing = [name for name in files if (directory / name).exists()]
    if existing:
        raise click.ClickException(f"{directory / existing[0]} already exists; choose another directory")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (directory / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None


def check_namespace(namespace: str) -> None:
    """Refuse a value of `--namespace` that is not the name of a namespace."""
    if not _NAMESPACE.fullmatch(namespace):
        raise click.BadParameter(
            f"{namespace!r} is not a namespace name: use at most 63 of a-z, 0-9 and -",
            param_hint="--namespace",
        )


_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
