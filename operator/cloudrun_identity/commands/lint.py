"""`cloudrun-identity lint`: check manifests without a cluster, credentials or a connection."""

import asyncio
import sys
from pathlib import Path

import click

from cloudrun_identity import __version__

from .formats import examples, formatted, output_option
from .lint_output import as_annotations, as_json, as_sarif, as_text, lines_of
from .options import NO_COLOR, OBJECT_NAMESPACE, filename_option, nothing_found, use_colors


@click.command(
    short_help="Check manifests without a cluster or credentials.",
    epilog=examples(
        "cloudrun-identity lint -f manifests/",
        "kustomize build prod | cloudrun-identity lint -f - --strict",
        "cloudrun-identity lint -f manifests/ -f platform/projects.yaml -o github",
    ),
)
@filename_option(required=True)
@OBJECT_NAMESPACE
@click.option("--strict", is_flag=True, help="Fail on warnings, too.")
@output_option("github", "sarif")
@NO_COLOR
def lint(paths: tuple[Path, ...], namespace: str, strict: bool, output: str, no_color: bool) -> None:
    """Check manifests without a cluster, credentials or a connection.

    The command checks the schema, the CEL rules of the CRDs (with the extra `lint`), references, conflicts,
    and the guardrails of the ManagedProjects in the files, and gives advice on smaller grants. Exit codes: 0
    without an error, 1 with one (with --strict: or a warning), 2 for a wrong option.
    """
    from cloudrun_identity.api import GROUP
    from cloudrun_identity.kube.manifest_files import read_manifests
    from cloudrun_identity.linting.lint import broken_rules
    from cloudrun_identity.linting.lint import lint as findings_of
    from cloudrun_identity.linting.schema_rules import RulesUnavailable

    from .google import quiet_grpc

    quiet_grpc()
    manifests, note = read_manifests(paths, namespace), ""
    if not manifests.sources and not manifests.problems:
        raise nothing_found(f"object of {GROUP}", paths)
    try:
        findings = list(broken_rules(manifests.objects))
    except RulesUnavailable as error:
        findings, note = [], str(error)
    findings += asyncio.run(findings_of(manifests.objects))
    lines = lines_of(manifests, findings)
    fails_on = {"error", "warning"} if strict else {"error"}
    exit_code = int(any(each.level in fails_on for each in lines))
    match output:
        case "json" | "yaml":
            click.echo(formatted(as_json(lines, note), output))
        case "sarif":
            click.echo(formatted(as_sarif(lines, note, __version__, exit_code), output))
        case "github":
            click.echo("\n".join(as_annotations(lines)))
        case _:
            colors = use_colors(no_color=no_color)
            click.echo("\n".join(as_text(lines, note, colors=colors)))
    sys.exit(exit_code)
