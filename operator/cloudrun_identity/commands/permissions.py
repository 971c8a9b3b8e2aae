"""`cloudrun-identity permissions`: print the permissions that the operator needs."""

from pathlib import Path

import click
import yaml

from .formats import examples
from .options import filename_option, manifests_in, nothing_found

OPERATOR = "serviceAccount:OPERATOR@PROJECT.iam.gserviceaccount.com"


@click.command(
    epilog=examples(
        "cloudrun-identity permissions",
        "cloudrun-identity permissions -f projects.yaml --own-accounts-only",
    )
)
@filename_option(required=False)
@click.option(
    "--operator",
    metavar="MEMBER",
    default=OPERATOR,
    help="Principal of the operator, as in an IAM policy.",
)
@click.option(
    "--own-accounts-only",
    is_flag=True,
    help="Grant the permissions to act as service accounts on the accounts in the files, not on the project.",
)
@click.option(
    "--change-feed",
    metavar="SUBSCRIPTION",
    default="",
    help="Subscription of the ManagedProjects without spec.changeFeed.subscription, as of the operator.",
)
@click.option("--markdown", is_flag=True, help="Print the page docs/reference/permissions.md instead.")
def permissions(
    paths: tuple[Path, ...], operator: str, own_accounts_only: bool, change_feed: str, markdown: bool
) -> None:
    """Print the permissions that the operator needs.

    With files, print for each ManagedProject the gcloud commands that grant the permissions for what its
    guardrails allow, and no others. Without files, list the permissions of each feature. For projects with a
    change feed, the commands also set up its log sink, topic and subscription.

    On the project, the permissions on service accounts cover every account in it. With --own-accounts-only,
    they cover the accounts of the CloudRunIdentities in the files, and those in guardrails.accounts.
    """
    from cloudrun_identity.api import ManagedProject
    from cloudrun_identity.gcp.permissions import ABOVE_PROJECTS, FEATURES

    from .change_feed_setup import feed_commands
    from .granting import commands
    from .own_accounts import own_accounts
    from .permissions_page import EXAMPLE, page

    if own_accounts_only and not paths:
        raise click.UsageError("--own-accounts-only needs the manifests of the accounts: add -f FILE")
    if paths:
        objects = manifests_in(paths, "default").objects
        projects = [obj for obj in objects if obj["kind"] == "ManagedProject"]
        if not projects:
            raise nothing_found("ManagedProject", paths)
        parsed = [ManagedProject.model_validate(project) for project in projects]
        for project in parsed:
            own = own_accounts(project, objects) if own_accounts_only else None
            click.echo("\n".join(commands(project, operator, own)))
        for line in feed_commands(parsed, operator, change_feed):
            click.echo(line)
    elif markdown:
        example = ManagedProject.model_validate(yaml.safe_load(EXAMPLE))
        click.echo(page("\n".join(commands(example, operator))), nl=False)
    else:
        for feature, listed in {**FEATURES, **ABOVE_PROJECTS}.items():
            click.echo("\n  ".join((feature, *listed)))
