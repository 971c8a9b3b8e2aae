"""`cloudrun-identity permissions`: what the operator has to be granted, as commands or as a page."""

from pathlib import Path

import click
import yaml

from .manifests import filename_option, manifests_in, nothing_found

OPERATOR = "serviceAccount:OPERATOR@PROJECT.iam.gserviceaccount.com"


@click.command()
@filename_option(required=False)
@click.option(
    "--operator",
    metavar="MEMBER",
    default=OPERATOR,
    help="The operator's own account, as a policy names it.",
)
@click.option("--markdown", is_flag=True, help="The page docs/permissions.md.")
def permissions(paths: tuple[Path, ...], operator: str, markdown: bool) -> None:
    """Print what the operator has to be granted in Google Cloud.

    Of each ManagedProject in the files it prints the gcloud commands that grant what the project's guardrails
    let it do, and no more. Without files it lists what each feature needs.
    """
    from cloudrun_identity.api import ManagedProject
    from cloudrun_identity.gcp.permissions import FEATURES

    from .granting import commands
    from .permissions_page import EXAMPLE, page

    if paths:
        projects = [obj for obj in manifests_in(paths, "default") if obj["kind"] == "ManagedProject"]
        if not projects:
            raise nothing_found("ManagedProject", paths)
        for project in map(ManagedProject.model_validate, projects):
            click.echo("\n".join(commands(project, operator)))
    elif markdown:
        example = ManagedProject.model_validate(yaml.safe_load(EXAMPLE))
        click.echo(page("\n".join(commands(example, operator))), nl=False)
    else:
        for feature, listed in FEATURES.items():
            click.echo("\n  ".join((feature, *listed)))
