"""`cloudrun-identity crds`: the CustomResourceDefinitions."""

from pathlib import Path

import click


@click.command()
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory to write one file a kind into. [default: all to stdout]",
)
def crds(output: Path | None) -> None:
    """Print the CustomResourceDefinitions, or write them to files."""
    from cloudrun_identity.api import KINDS
    from cloudrun_identity.api.crd import render, write

    if output is None:
        click.echo("---\n".join(render(kind) for kind in KINDS), nl=False)
        return
    try:
        output.mkdir(parents=True, exist_ok=True)
        for path in write(output):
            click.echo(path)
    except OSError as error:
        raise click.ClickException(f"--output {output}: {error.strerror or error}") from error
