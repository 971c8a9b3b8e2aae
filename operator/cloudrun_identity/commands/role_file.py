"""Role files as for `gcloud iam roles create --file`."""

import re
from collections.abc import Mapping
from typing import IO, Any

import click
import yaml


def read_role_file(file: IO[str]) -> Mapping[str, Any]:
    """Return the content of a role file. Raises ClickException: it is not a role."""
    try:
        written = yaml.safe_load(file)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise click.ClickException(f"{file.name}{where}: not valid YAML") from None
    if not isinstance(written, Mapping):
        raise click.ClickException(
            f"{file.name}: not a role: expected title, description, stage and includedPermissions"
        )
    return written


def fields_of(written: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return the fields of a CustomRole for the content of the role file `source`.

    Raises ClickException: a permission is missing or invalid.
    """
    permissions = written.get("includedPermissions")
    if not isinstance(permissions, list) or not permissions:
        raise click.ClickException(f"{source}: includedPermissions: must list the permissions of the role")
    invalid = [each for each in permissions if not _PERMISSION.fullmatch(str(each))]
    if invalid:
        raise click.ClickException(
            f"{source}: includedPermissions: {invalid[0]!r} is not a permission; use SERVICE.RESOURCE.VERB, "
            "such as run.jobs.run"
        )
    given = {field: str(written[field]) for field in ("title", "description", "stage") if written.get(field)}
    return given | {"permissions": sorted(set(permissions))}


_PERMISSION = re.compile(r"[a-z][a-zA-Z0-9.-]*\.[a-zA-Z0-9-]+\.[a-zA-Z0-9-]+")
