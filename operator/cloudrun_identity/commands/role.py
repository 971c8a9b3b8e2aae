"""`cloudrun-identity role`: print a CustomRole for the role file of gcloud."""

import re
from collections.abc import Mapping
from typing import IO, Any

import click
import yaml


@click.command()
@click.option(
    "--from-file",
    "file",
    type=click.File(encoding="utf-8"),
    required=True,
    help="Role file as for `gcloud iam roles create --file`, or - for stdin.",
)
@click.option("--project-ref", metavar="NAME", required=True, help="ManagedProject of the role.")
@click.option("--namespace", metavar="NS", help="Namespace of the object. [default: none]")
@click.option("--name", metavar="NAME", help="Name of the object. [default: from the role ID]")
@click.option("--role-id", metavar="ID", help="ID of the role. [default: from `name` in the file]")
def role(
    file: IO[str], project_ref: str, namespace: str | None, name: str | None, role_id: str | None
) -> None:
    """Print a CustomRole for the role file of gcloud.

    The command reads title, description, stage and includedPermissions. It ignores other fields, such as
    those that `gcloud iam roles describe` prints.
    """
    from cloudrun_identity.exporting.names import object_name

    written = _read(file)
    role_id = role_id or _role_id_of(written, file.name)
    _check_role_id(role_id)
    manifest = {
        "apiVersion": "cloudrun-identity.dev/v1alpha1",
        "kind": "CustomRole",
        "metadata": {"name": name or object_name(role_id)} | ({"namespace": namespace} if namespace else {}),
        "spec": {"projectRef": {"name": project_ref}, "roleID": role_id} | _fields(written, file.name),
    }
    click.echo(yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True), nl=False)


def _read(file: IO[str]) -> Mapping[str, Any]:
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


def _fields(written: Mapping[str, Any], source: str) -> dict[str, Any]:
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


def _role_id_of(written: Mapping[str, Any], source: str) -> str:
    name = str(written.get("name") or "")
    if not name:
        raise click.ClickException(f"{source}: the file has no name; set --role-id")
    if not _FULL_NAME.fullmatch(name):
        raise click.ClickException(
            f"{source}: name: {name!r} is not a custom role of a project; use projects/PROJECT/roles/ID"
        )
    return name.rpartition("/")[2]


def _check_role_id(role_id: str) -> None:
    if not _ROLE_ID.fullmatch(role_id):
        raise click.BadParameter(
            f"{role_id!r} is not a custom role ID: use 3 to 64 letters, digits, _ and . (the last part of "
            "projects/PROJECT/roles/ID)",
            param_hint="--role-id",
        )


_FULL_NAME = re.compile(r"projects/[^/]+/roles/[^/]+")
_ROLE_ID = re.compile(r"[a-zA-Z0-9_.]{3,64}")
_PERMISSION = re.compile(r"[a-z][a-zA-Z0-9.-]*\.[a-zA-Z0-9-]+\.[a-zA-Z0-9-]+")
