"""`cloudrun-identity crds`: print the CustomResourceDefinitions, or their reference page."""

from pathlib import Path

import click

from .formats import examples


@click.command(
    epilog=examples(
        "cloudrun-identity crds | kubectl apply --server-side -f -",
        "cloudrun-identity crds --output crds",
    )
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory to write to, one file per kind. [default: all kinds to stdout]",
)
@click.option("--markdown", is_flag=True, help="Print the page docs/reference/api.md instead.")
def crds(output: Path | None, markdown: bool) -> None:
    """Print the CustomResourceDefinitions."""
    from cloudrun_identity.api import KINDS
    from cloudrun_identity.api.crd import render, write
    from cloudrun_identity.api.reference import page

    if markdown and output is not None:
        raise click.UsageError("--output and --markdown are mutually exclusive")
    if markdown:
        click.echo(page(), nl=False)
        return
    if output is None:
        click.echo("---\n".join(render(kind) for kind in KINDS), nl=False)
        return
    try:
        output.mkdir(parents=True, exist_ok=True)
        for path in write(output):
            click.echo(path)
    except OSError as error:
        raise click.ClickException(f"--output {output}: {error.strerror or error}") from error
