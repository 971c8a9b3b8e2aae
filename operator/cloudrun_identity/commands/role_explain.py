"""`cloudrun-identity role explain`: print why a role escalates privileges."""

import asyncio
import re
from pathlib import Path
from typing import IO

import click

from .formats import examples, formatted, output_option
from .google import google_clients, google_options, one_line_errors
from .role_file import fields_of, read_role_file


@click.command(
    epilog=examples(
        "cloudrun-identity role explain roles/run.developer",
        "cloudrun-identity role explain --from-file role.yaml -o json",
    )
)
@click.argument("role", required=False)
@click.option(
    "--from-file",
    "file",
    type=click.File(encoding="utf-8"),
    help="Role file as for `gcloud iam roles create --file`, or - for stdin, instead of ROLE.",
)
@click.option(
    "--live", is_flag=True, help="Read a predefined role from Google Cloud too, not from the catalog."
)
@output_option()
@click.option("--markdown", is_flag=True, help="Print the page docs/reference/escalation.md instead.")
@google_options
def explain(
    role: str | None,
    file: IO[str] | None,
    live: bool,
    output: str,
    markdown: bool,
    google_endpoint: str | None,
    google_token_file: Path | None,
) -> None:
    """Print why a role escalates privileges.

    The command prints the permissions that escalate, the reasons, and the targets of such grants.

    ROLE is roles/ID, projects/PROJECT/roles/ID or organizations/NUMBER/roles/ID. Predefined roles are looked
    up in the catalog of this version, without credentials. Custom roles are read from Google Cloud with
    Application Default Credentials.
    """
    from . import role_explanation

    if markdown:
        from .escalation_page import page

        click.echo(page(), nl=False)
        return
    if bool(role) == bool(file):
        raise click.UsageError("name either ROLE, such as roles/run.developer, or --from-file FILE")
    if file:
        permissions = frozenset(fields_of(read_role_file(file), file.name)["permissions"])
        explanation = role_explanation.explain(file.name, "the file", permissions)
    else:
        name = _full_name(role or "")
        if name.startswith("roles/") and not live:
            source, permissions = _from_catalog(name)
        else:
            with one_line_errors():
                permissions = asyncio.run(_read(name, google_endpoint, google_token_file))
            source = "Google Cloud"
        explanation = role_explanation.explain(name, source, permissions)
    if output != "text":
        click.echo(formatted(role_explanation.as_json(explanation), output))
    else:
        click.echo(role_explanation.as_text(explanation))


def _full_name(role: str) -> str:
    if not _ROLE.fullmatch(role):
        raise click.BadParameter(
            f"{role!r} is not the name of a role: use roles/ID, projects/PROJECT/roles/ID or "
            "organizations/NUMBER/roles/ID",
            param_hint="ROLE",
        )
    return role


def _from_catalog(name: str) -> tuple[str, frozenset[str]]:
    """Return the origin and the permissions of a predefined role."""
    from cloudrun_identity.iam.role_catalog import role_catalog

    catalog = role_catalog()
    if name not in catalog:
        raise click.ClickException(
            f"{name} is not a predefined role in the catalog of {catalog.date}; add --live to read it from "
            "Google Cloud"
        )
    return f"the catalog of {catalog.date}", frozenset(catalog[name].permissions)


async def _read(name: str, endpoint: str | None, token_file: Path | None) -> frozenset[str]:
    """Return the permissions of a role in Google Cloud. Raises GoogleError, CredentialsError."""
    from cloudrun_identity.gcp.roles import Roles

    project_id = name.split("/")[1] if name.startswith("projects/") else ""
    async with google_clients(endpoint, token_file) as clients:
        return await Roles(clients).permissions(name, project_id)


_ROLE = re.compile(r"(?:(?:projects|organizations)/[^/]+/)?roles/[A-Za-z0-9_.]+")
