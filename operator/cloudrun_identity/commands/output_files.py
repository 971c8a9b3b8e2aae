"""Files of manifests that commands write, and the namespaces of the objects in them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from cloudrun_identity.exporting.namespaces import Namespaces

_FILE = "--namespaces"
_BY_PREFIX = "--namespace-by-prefix"
_MANIFESTS = (".yaml", ".yml", ".json")

NAMESPACES_FILE = click.option(
    _FILE,
    "namespaces_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML file with a namespace for each name or pattern of names, such as `team-a-*: team-a`. "
    "The first match decides.",
)
NAMESPACE_BY_PREFIX = click.option(
    _BY_PREFIX,
    "prefixes",
    metavar="PREFIX=NS",
    multiple=True,
    help="Namespace of the names with a prefix, such as team-a-=team-a; repeatable. The longest one decides.",
)
OVERWRITE = click.option(
    "--overwrite", is_flag=True, help="Overwrite files in the directory of -o that have another content."
)


def write_files(directory: Path, files: Mapping[str, str], *, overwrite: bool = False) -> tuple[str, ...]:
    """Write all files; without `overwrite`, none if one of them exists with another content.

    Return the names of other manifests in the directory, which kubectl would apply, too.
    """
    try:
        there = {path.name: path for path in directory.iterdir()} if directory.is_dir() else {}
        changed = [
            name for name in files if name not in there or there[name].read_bytes() != files[name].encode()
        ]
        differing = [name for name in changed if name in there]
        if differing and not overwrite:
            raise click.ClickException(
                f"{directory / differing[0]} already exists with another content; use --overwrite, or choose "
                "another directory"
            )
        directory.mkdir(parents=True, exist_ok=True)
        for name in changed:
            (directory / name).write_text(files[name], encoding="utf-8", newline="\n")
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    return tuple(sorted(name for name in there if name.endswith(_MANIFESTS) and name not in files))


def check_namespace(namespace: str, option: str = "--namespace") -> None:
    """Refuse a value of an option that is not the name of a namespace."""
    from cloudrun_identity.exporting.names import is_namespace

    if not is_namespace(namespace):
        raise click.BadParameter(
            f"{namespace!r} is not a namespace name: use at most 63 of a-z, 0-9 and -", param_hint=option
        )


def namespaces_of(
    default: str, file: Path | None, prefixes: tuple[str, ...], label: str = ""
) -> "Namespaces":
    """Return the mapping of names to namespaces that the options declare: first the file, then prefixes.

    An empty default is allowed: the caller chooses one.
    """
    from cloudrun_identity.exporting.namespaces import Namespaces

    if default:
        check_namespace(default)
    given = []
    for text in prefixes:
        prefix, found, namespace = text.partition("=")
        if not found or not prefix:
            raise click.BadParameter(f"{text!r} is not PREFIX=NS", param_hint=_BY_PREFIX)
        check_namespace(namespace, _BY_PREFIX)
        given.append((f"{prefix}*", namespace))
    given.sort(key=lambda each: -len(each[0]))  # the longest prefix decides
    return Namespaces(default, (*(_patterns_in(file) if file else ()), *given), label)


def _patterns_in(file: Path) -> tuple[tuple[str, str], ...]:
    """Read the file of `--namespaces`."""
    import yaml

    try:
        document: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise click.BadParameter(f"{file}: {' '.join(str(error).split())}", param_hint=_FILE) from None
    if not isinstance(document, dict) or not all(isinstance(each, str) for each in document.values()):
        raise click.BadParameter(
            f"{file}: must have lines such as team-a-*: team-a, with a pattern of names and a namespace",
            param_hint=_FILE,
        )
    for namespace in document.values():
        check_namespace(namespace, f"{_FILE} {file}")
    return tuple((str(pattern), namespace) for pattern, namespace in document.items())
