"""`python -m tools.verify --project ID`: check the beliefs, print the report, and clean up."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from cloudrun_identity import __version__
from cloudrun_identity.commands.google import quiet_grpc
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.errors import CredentialsError, GoogleError
from cloudrun_identity.gcp.projects import Projects
from cloudrun_identity.gcp.token_file import TokenFile
from cloudrun_identity.reconcile.advice import advised

from .beliefs import Belief, Cost
from .catalog import BELIEFS
from .cleanup import clean_up, cleaned
from .report import Report, as_json, as_text, redacted
from .runner import Finding, check_all
from .sandbox import PERMISSIONS, PREFIX, Sandbox, Settings

IDS: Final = tuple(belief.id for belief in BELIEFS)
"""Names of all beliefs."""

_INTERRUPTED: Final = 130
"""Exit code after SIGINT or SIGTERM."""


@click.command()
@click.option("--project", "project_id", required=True, help="Project for the temporary resources.")
@click.option("--location", default="us-central1", show_default=True, help="Region of the workloads.")
@click.option("--slow", is_flag=True, help="Also check what takes minutes.")
@click.option("--quota", is_flag=True, help="Also use up quotas of the project until the end of the run.")
@click.option(
    "--only",
    type=click.Choice(IDS),
    multiple=True,
    help="Check only this; repeatable.",
)
@click.option("--caller", default="", help="Member that runs this, such as user:ann@example.com.")
@click.option("--secret", default="", help="Existing secret on whose policy to try grants.")
@click.option("--image", default="", help="Image of the workloads.  [default: Google's samples]")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Also write JSON.")
@click.option("--redact", is_flag=True, help="Leave out ids and addresses of the project.")
@click.option("--clean-up", "only_clean_up", is_flag=True, help="Only remove what an earlier run left.")
@click.option("--google-endpoint", metavar="HOST:PORT", help="Emulator to use instead of Google Cloud.")
@click.option(
    "--google-token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with the bearer token for --google-endpoint.",
)
def main(
    project_id: str,
    location: str,
    slow: bool,
    quota: bool,
    only: tuple[str, ...],
    caller: str,
    secret: str,
    image: str,
    json_file: Path | None,
    redact: bool,
    only_clean_up: bool,
    google_endpoint: str | None,
    google_token_file: Path | None,
) -> None:
    """Check in a project that Google Cloud behaves as the operator relies on, and print a report.

    Temporary resources have the prefix crid-verify-. They are removed at the end, also after an interruption,
    and at the start of the next run. Exit codes: 0 if every belief that was checked holds, 1 if not, 2 for a
    wrong option.
    """
    quiet_grpc()
    settings = Settings(project_id=project_id, location=location, image=image, secret=secret, caller=caller)
    costs = {Cost.FAST, *([Cost.SLOW] if slow else []), *([Cost.QUOTA] if quota else [])}
    beliefs = tuple(each for each in BELIEFS if not only or each.id in only)
    if only:
        costs = set(Cost)
    started = datetime.now(UTC)
    try:
        findings, left = asyncio.run(
            _verify(settings, google_endpoint, google_token_file, () if only_clean_up else beliefs, costs)
        )
    except (KeyboardInterrupt, asyncio.CancelledError):
        click.echo("interrupted", err=True)
        sys.exit(_INTERRUPTED)
    except CredentialsError as error:
        raise click.ClickException(str(error)) from None
    except GoogleError as error:
        raise click.ClickException(advised(error)) from None
    if only_clean_up:
        click.echo("\n".join(left) or f"nothing of an earlier run is left in project {project_id}")
        sys.exit(1 if left else 0)
    report = Report(
        service=f"emulator at {google_endpoint}" if google_endpoint else "Google Cloud",
        project_id=project_id,
        location=location,
        version=__version__,
        time=started,
        findings=findings,
        left=tuple(left),
    )

    def shown(text: str) -> str:
        return redacted(text, project_id) if redact else text

    if json_file:
        json_file.write_text(shown(json.dumps(as_json(report), indent=2, ensure_ascii=False)) + "\n")
    click.echo(shown(as_text(report)))
    sys.exit(0 if report.passed else 1)


async def _verify(
    settings: Settings,
    endpoint: str | None,
    token_file: Path | None,
    beliefs: tuple[Belief, ...],
    costs: set[Cost],
) -> tuple[tuple[Finding, ...], list[str]]:
    """Check the beliefs, or only clean up without beliefs. Return the findings, and what is left."""
    run = asyncio.current_task()
    if run:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, run.cancel)
    left: list[str] = []
    async with _sandbox(settings, endpoint, token_file) as sandbox:
        if not beliefs:
            return (), await clean_up(sandbox)
        _progress(f"temporary resources in {settings.project_id} are named {PREFIX}{sandbox.suffix}-…")
        try:
            async with cleaned(sandbox, left):
                findings = await check_all(beliefs, sandbox, costs, _progress)
                _progress("cleaning up")
        except BaseException:  # there will be no report
            for line in left:
                _progress(f"left in the project: {line}")
            raise
    return findings, left


@asynccontextmanager
async def _sandbox(
    settings: Settings, endpoint: str | None, token_file: Path | None
) -> AsyncIterator[Sandbox]:
    """Open a sandbox in an existing project."""
    clients = GoogleClients(endpoint, _Unobserved(), tokens=TokenFile(token_file) if token_file else None)
    try:
        await clients.check_credentials()
        await Projects(clients).get(settings.project_id)
        sandbox = Sandbox(settings, clients)
        await _check_permissions(sandbox)
        yield sandbox
    finally:
        await clients.close()


async def _check_permissions(sandbox: Sandbox) -> None:
    """Raise ClickException if the caller lacks a permission, before anything is created."""
    try:
        held = await sandbox.policies.test_permissions(sandbox.project, PERMISSIONS)
    except GoogleError:  # the check of permission names reports it
        return
    missing = sorted(PERMISSIONS - held)
    if missing:
        raise click.ClickException(
            f"the caller lacks permissions in project {sandbox.project_id}, which roles/owner has: "
            f"{', '.join(missing)}"
        )


def _progress(line: str) -> None:
    click.echo(line, err=True)


class _Unobserved:
    """Ignores calls, because a report has no metrics."""

    def observed(self, method: str, code: str, seconds: float) -> None:
        """Ignore the call."""


if __name__ == "__main__":
    main()
