"""`cloudrun-identity permissions`: what the operator has to be granted, as commands or as a page."""

from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

import click
import yaml

if TYPE_CHECKING:
    from cloudrun_identity.api import ManagedProject

OPERATOR = "serviceAccount:OPERATOR@PROJECT.iam.gserviceaccount.com"


@click.command()
@click.option(
    "-f",
    "--file",
    type=click.File(encoding="utf-8"),
    help="ManagedProjects; -: stdin. [default: what each feature needs]",
)
@click.option(
    "--operator",
    metavar="MEMBER",
    default=OPERATOR,
    help="The operator's own account, as a policy names it.",
)
@click.option("--markdown", is_flag=True, help="The page docs/permissions.md.")
def permissions(file: IO[str] | None, operator: str, markdown: bool) -> None:
    """Print what the operator has to be granted in Google Cloud.

    Of each ManagedProject in the file it prints the gcloud commands that grant what the project's guardrails
    let it do, and no more.
    """
    from cloudrun_identity.commands.granting import commands
    from cloudrun_identity.commands.permissions_page import EXAMPLE, page
    from cloudrun_identity.gcp.permissions import FEATURES

    if file is not None:
        for project in _projects(file.read(), file.name):
            click.echo("\n".join(commands(project, operator)))
    elif markdown:
        [example] = _projects(EXAMPLE, "the example")
        click.echo(page("\n".join(commands(example, operator))), nl=False)
    else:
        for feature, listed in FEATURES.items():
            click.echo("\n  ".join((feature, *listed)))


def _projects(text: str, source: str) -> "Iterator[ManagedProject]":
    from pydantic import ValidationError

    from cloudrun_identity.api import ManagedProject

    try:
        documents = list(yaml.safe_load_all(text))
    except yaml.YAMLError:
        raise click.ClickException(f"{source}: this is not YAML") from None
    found = [each for each in documents if isinstance(each, dict) and each.get("kind") == "ManagedProject"]
    if not found:
        raise click.ClickException(f"{source}: there is no ManagedProject in it")
    for document in found:
        try:
            yield ManagedProject.model_validate(document)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise click.ClickException(f"{source}: {where}: {first['msg']}") from None
