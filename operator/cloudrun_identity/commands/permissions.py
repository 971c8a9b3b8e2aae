"""`cloudrun-identity permissions`: print the permissions that the operator needs."""

from pathlib import Path

import click
import yaml

from .options import filename_option, manifests_in, nothing_found

OPERATOR = "serviceAccount:OPERATOR@PROJECT.iam.gserviceaccount.com"


@click.command()
@filename_option(required=False)
@click.option(
    "--operator",
    metavar="MEMBER",
    default=OPERATOR,
    help="Principal of the operator, as in an IAM policy.",
)
@click.option("--markdown", is_flag=True, help="Print the page docs/permissions.md instead.")
def permissions(paths: tuple[Path, ...], operator: str, markdown: bool) -> None:
    """Print the permissions that the operator needs.

    With files, print for each ManagedProject the gcloud commands that grant the permissions for what its
    guardrails allow, and no others. Without files, list the permissions of each feature.
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
