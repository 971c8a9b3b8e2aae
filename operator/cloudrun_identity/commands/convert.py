"""`cloudrun-identity convert`: print manifests for what Config Connector or Terraform manages."""

import sys
from pathlib import Path

import click

from .formats import examples
from .options import filename_option, nothing_found, project_option
from .output_files import NAMESPACE_BY_PREFIX, NAMESPACES_FILE, OVERWRITE, namespaces_of, write_files


@click.command(
    short_help="Convert resources of Config Connector or Terraform.",
    epilog=examples(
        "kubectl get gcp -A -o yaml | cloudrun-identity convert -f - -o converted",
        "terraform show -json | cloudrun-identity convert -f - -o converted",
    ),
)
@filename_option(required=True)
@project_option("ID of the Google Cloud project of resources that name none.")
@click.option(
    "--namespace",
    metavar="NS",
    help="Namespace of the objects that no other option places. [default: for each project, its ID]",
)
@NAMESPACES_FILE
@NAMESPACE_BY_PREFIX
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory to write to, with the steps of the hand-over. [default: stdout]",
)
@OVERWRITE
def convert(
    paths: tuple[Path, ...],
    project: str,
    namespace: str | None,
    namespaces_file: Path | None,
    prefixes: tuple[str, ...],
    output: Path | None,
    overwrite: bool,
) -> None:
    """Print manifests for what Config Connector or Terraform manages.

    The files are manifests of Config Connector, or the output of `terraform show -json`. The command needs
    neither Google Cloud nor a cluster. Resources that it does not convert are named on stderr.
    """
    from cloudrun_identity.converting.convert import convert as converted
    from cloudrun_identity.converting.convert import declarations_in
    from cloudrun_identity.kube.manifest_files import read_documents

    namespaces = namespaces_of(namespace or "", namespaces_file, prefixes)
    documents, problems = read_documents(paths)
    for problem in problems:
        click.echo(f"Error: {problem}", err=True)
    if problems:
        sys.exit(1)
    try:
        declarations = declarations_in(documents, project)
        if not declarations.found and not declarations.left_out:
            raise nothing_found("resource of Config Connector or Terraform that the operator manages", paths)
        result = converted(declarations, namespaces)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    for note in result.notes:
        click.echo(f"note: {note}", err=True)
    for left_out in result.left_out:
        click.echo(f"left out: {left_out}", err=True)
    if output is None:
        click.echo(result.text, nl=False)
        click.echo(f"\n{result.handover.text('FILE')}", err=True)
    else:
        files = {**result.files, _HANDOVER: result.handover.text(str(output))}
        write_files(output, files, overwrite=overwrite)
        click.echo(f"wrote {len(result.files)} files and {_HANDOVER} to {output}", err=True)


_HANDOVER = "handover.md"
"""kubectl applies only YAML and JSON files of a directory."""
