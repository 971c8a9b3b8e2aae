"""`cloudrun-identity role`: print a CustomRole for the role file of gcloud."""

import re
from collections.abc import Mapping
from typing import IO, Any

import click
import yaml

from .formats import examples
from .role_explain import explain
from .role_file import fields_of, read_role_file


@click.group(
    invoke_without_command=True,
    epilog=examples(
        "cloudrun-identity role --from-file role.yaml --project-ref shop --namespace payments",
        "gcloud iam roles describe runner | cloudrun-identity role --from-file - --project-ref shop",
    ),
)
@click.option(
    "--from-file",
    "file",
    type=click.File(encoding="utf-8"),
    help="Role file as for `gcloud iam roles create --file`, or - for stdin.",
)
@click.option("--project-ref", metavar="NAME", help="ManagedProject of the role.")
@click.option("--namespace", metavar="NS", help="Namespace of the object. [default: none]")
@click.option("--name", metavar="NAME", help="Name of the object. [default: from the role ID]")
@click.option("--role-id", metavar="ID", help="ID of the role. [default: from `name` in the file]")
@click.pass_context
def role(
    ctx: click.Context,
    file: IO[str] | None,
    project_ref: str | None,
    namespace: str | None,
    name: str | None,
    role_id: str | None,
) -> None:
    """Print a CustomRole for the role file of gcloud.

    The command reads title, description, stage and includedPermissions. It ignores other fields, such as
    those that `gcloud iam roles describe` prints.
    `role explain ROLE` prints why a role escalates privileges.
    """
    if ctx.invoked_subcommand:
        return
    if file is None or not project_ref:
        raise click.UsageError(f"missing option '{'--project-ref' if file else '--from-file'}'")
    from cloudrun_identity.exporting.names import object_name

    written = read_role_file(file)
    role_id = role_id or _role_id_of(written, file.name)
    _check_role_id(role_id)
    manifest = {
        "apiVersion": "cloudrun-identity.dev/v1alpha1",
        "kind": "CustomRole",
        "metadata": {"name": name or object_name(role_id)} | ({"namespace": namespace} if namespace else {}),
        "spec": {"projectRef": {"name": project_ref}, "roleID": role_id} | fields_of(written, file.name),
    }
    click.echo(yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True), nl=False)


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

role.add_command(explain)
