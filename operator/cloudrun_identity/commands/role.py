"""`cloudrun-identity role`: the manifest of a CustomRole, from the file that gcloud takes."""

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
    help="A role as `gcloud iam roles create --file` takes it and `describe` prints it; -: stdin.",
)
@click.option("--project-ref", metavar="NAME", required=True, help="The ManagedProject of the role.")
@click.option("--namespace", metavar="NS", help="The object's namespace. [default: left to kubectl]")
@click.option("--name", metavar="NAME", help="The object's name. [default: made from the role's id]")
@click.option("--role-id", metavar="ID", help="The role's id. [default: from `name:` in the file]")
def role(
    file: IO[str], project_ref: str, namespace: str | None, name: str | None, role_id: str | None
) -> None:
    """Print the CustomRole for a role that is written down for gcloud.

    The file has title, description, stage and includedPermissions; what else `describe` prints is left out.
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
        raise click.ClickException(f"{file.name}{where}: this is not YAML") from None
    if not isinstance(written, Mapping):
        raise click.ClickException(
            f"{file.name}: a role has title, description, stage and includedPermissions"
        )
    return written


def _fields(written: Mapping[str, Any], source: str) -> dict[str, Any]:
    permissions = written.get("includedPermissions")
    if not isinstance(permissions, list) or not permissions:
        raise click.ClickException(f"{source}: includedPermissions: list the permissions of the role")
    strangers = [each for each in permissions if not _PERMISSION.fullmatch(str(each))]
    if strangers:
        raise click.ClickException(
            f"{source}: includedPermissions: {strangers[0]!r} is no permission; write SERVICE.RESOURCE.VERB, "
            "such as run.jobs.run"
        )
    given = {field: str(written[field]) for field in ("title", "description", "stage") if written.get(field)}
    return given | {"permissions": sorted(set(permissions))}


def _role_id_of(written: Mapping[str, Any], source: str) -> str:
    name = str(written.get("name") or "")
    if not name:
        raise click.ClickException(f"{source}: which role? the file has no name:, so say --role-id ID")
    if not _FULL_NAME.fullmatch(name):
        raise click.ClickException(
            f"{source}: name: {name!r} is no custom role of a project; write projects/PROJECT/roles/ID"
        )
    return name.rpartition("/")[2]


def _check_role_id(role_id: str) -> None:
    if not _ROLE_ID.fullmatch(role_id):
        raise click.BadParameter(
            f"{role_id!r} is no id of a custom role: 3-64 letters, digits, _ and . (the last part of "
            "projects/PROJECT/roles/ID)",
            param_hint="--role-id",
        )


_FULL_NAME = re.compile(r"projects/[^/]+/roles/[^/]+")
_ROLE_ID = re.compile(r"[a-zA-Z0-9_.]{3,64}")
_PERMISSION = re.compile(r"[a-z][a-zA-Z0-9.-]*\.[a-zA-Z0-9-]+\.[a-zA-Z0-9-]+")
