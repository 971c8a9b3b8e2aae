"""The command `cloudrun-identity demo`."""

import asyncio
import signal
import sys
from itertools import zip_longest

import click

from cloudrun_identity.api.group import FORCE_DELETE

from . import privilege, story
from . import stage as stages
from .failure import DemoError
from .screen import Screen, Style
from .stage import Stage

INTERRUPTED = 130  # the exit code of a shell command that Ctrl-C ended

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command(context_settings={"auto_envvar_prefix": "CLOUDRUN_IDENTITY_DEMO"})
@click.option(
    "--keep", is_flag=True, help="Leave everything running at the end, and print how to use and stop it."
)
@click.option(
    "--kubeconfig",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Use this cluster instead of the embedded API server. The operator's CRDs must not be installed "
    "there. The demo removes what it installs, unless --keep is given.",
)
def demo(keep: bool, kubeconfig: str | None) -> None:
    """Run the operator on this machine and show what it does, in about a minute.

    Starts an embedded Kubernetes API server, a Google Cloud emulator and the operator as processes on
    127.0.0.1. Applies the examples, changes Google Cloud without the operator and shows how the operator
    repairs it. Needs no account and no network.
    """
    sys.exit(asyncio.run(_run(Screen.on(sys.stdout), keep, kubeconfig)))


async def _run(screen: Screen, keep: bool, kubeconfig: str | None) -> int:
    running = asyncio.create_task(_show(screen, keep, kubeconfig))
    _cancel_on_first_signal(running)
    try:
        await running
    except DemoError as failure:
        screen.failure(str(failure), failure.evidence)
        return 1
    except asyncio.CancelledError:
        screen.line("Interrupted. All processes are stopped.")
        return INTERRUPTED
    return 0


async def _show(screen: Screen, keep: bool, kubeconfig: str | None) -> None:
    screen.title(
        "Cloud Run identities on Kubernetes: a demo",
        "All parts run as processes on this machine: "
        + ("" if kubeconfig else "an embedded Kubernetes API server, ")
        + "a Google Cloud emulator and the operator. "
        + ("Your Kubernetes cluster is used. " if kubeconfig else "")
        + "No Google Cloud account is needed.",
    )
    screen.step("Start Google Cloud and Kubernetes")
    async with stages.set_up(kubeconfig) as stage:
        screen.columns(
            [
                [stages.KUBERNETES_API, stage.cluster.server, "embedded" if stage.is_embedded else "yours"],
                [stages.GOOGLE_CLOUD, f"127.0.0.1:{stage.ports.google_grpc} (gRPC)", "emulated"],
                ["", f"http://127.0.0.1:{stage.ports.google_rest} (REST)", ""],
            ]
        )
        await story.run(stage, screen)
        stage.is_kept = keep
        if keep:
            _explain_next_steps(stage, screen)
    if not keep:
        screen.line()
        screen.line("All processes are stopped. To keep them running: cloudrun-identity demo --keep")


def _explain_next_steps(stage: Stage, screen: Screen) -> None:
    screen.step("Everything keeps running")
    edit = f"http://127.0.0.1:{stage.ports.google_rest}/control/edit"
    ways = {
        "use": [f"export KUBECONFIG={stage.kubeconfig}"],
        "look": [stage.page, "kubectl get cloudrun,cloudrun-admin -A"],
        "break": [f"curl {edit} -d '{privilege.REMOVAL.to_json()}'"],
        "logs": [f"tail -f {stage.parts.directory}/*.log"],
        "stop": [*_cleanup_commands(stage), _stop_command(stage)],
    }
    for purpose, commands in ways.items():
        for label, command in zip_longest([purpose], commands, fillvalue=""):
            # Not wrapped, so that commands can be copied.
            screen.line(f"{label:7}{screen.style(command, Style.COMMAND)}")


def _cleanup_commands(stage: Stage) -> list[str]:
    """Return the commands that remove the demo's objects from the user's cluster.

    The operator must still run, so that it removes its finalizers.
    """
    if stage.is_embedded:
        return []
    return [
        f"kubectl annotate cloudrunidentities --all -A {FORCE_DELETE}=true",
        "kubectl delete identityattachments,iambindings,cloudrunidentities,customroles --all -A",
        "kubectl delete managedprojects --all",
        *(
            f"kubectl delete {plural} {' '.join(names)}"
            for plural, names in stage.cluster.installed_by_plural().items()
        ),
    ]


def _stop_command(stage: Stage) -> str:
    return f"kill {' '.join(map(str, stage.parts.pids))}; rm -r {stage.parts.directory}"


def _cancel_on_first_signal(running: asyncio.Task[None]) -> None:
    """Stop the demo on the first signal. Ignore later ones, which would interrupt the cleanup."""
    loop = asyncio.get_running_loop()
    for each in _SIGNALS:
        loop.add_signal_handler(each, lambda: running.cancel() if not running.cancelling() else None)
