"""`cloudrun-identity demo`."""

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

INTERRUPTED = 130  # the exit code of a shell command that was ended by Ctrl-C

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command(context_settings={"auto_envvar_prefix": "CLOUDRUN_IDENTITY_DEMO"})
@click.option(
    "--keep", is_flag=True, help="Leave everything running at the end and tell how to use and stop it."
)
@click.option(
    "--kubeconfig",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Play on this cluster instead of the embedded API. It must not have the operator's kinds yet; what "
    "the demo installs there it removes again, unless --keep.",
)
def demo(keep: bool, kubeconfig: str | None) -> None:
    """Show the whole product at work on this machine, in about a minute.

    Starts an embedded Kubernetes API, an emulated Google Cloud and the operator as processes on 127.0.0.1,
    applies the examples, changes Google Cloud behind the operator's back and shows the repair. Nothing leaves
    this machine, and no account is needed.
    """
    sys.exit(asyncio.run(_run(Screen.on(sys.stdout), keep, kubeconfig)))


async def _run(screen: Screen, keep: bool, kubeconfig: str | None) -> int:
    playing = asyncio.create_task(_play(screen, keep, kubeconfig))
    _cancel_on_first_signal(playing)
    try:
        await playing
    except DemoError as failure:
        screen.failure(str(failure), failure.evidence)
        return 1
    except asyncio.CancelledError:
        screen.line("Interrupted; everything is stopped.")
        return INTERRUPTED
    return 0


async def _play(screen: Screen, keep: bool, kubeconfig: str | None) -> None:
    screen.title(
        "Cloud Run identities on Kubernetes: a demo",
        "Everything runs on this machine: "
        + ("your Kubernetes cluster, " if kubeconfig else "a small Kubernetes API, ")
        + "an emulated Google Cloud and the operator, each a process of its own. No account is needed.",
    )
    screen.step("Start the parts")
    async with stages.set_up(kubeconfig) as stage:
        screen.columns(
            [
                [stages.KUBERNETES_API, stage.cluster.server, "embedded" if stage.is_embedded else "yours"],
                [stages.GOOGLE_CLOUD, f"127.0.0.1:{stage.ports.google_grpc} (gRPC)", "emulated"],
                ["", f"http://127.0.0.1:{stage.ports.google_rest} (REST)", ""],
            ]
        )
        await story.play(stage, screen)
        stage.is_kept = keep
        if keep:
            _explain_how_to_go_on(stage, screen)
    if not keep:
        screen.line()
        screen.line("Everything is stopped. To look around: cloudrun-identity demo --keep")


def _explain_how_to_go_on(stage: Stage, screen: Screen) -> None:
    screen.step("It is all left running")
    edit = f"http://127.0.0.1:{stage.ports.google_rest}/control/edit"
    ways = {
        "use": [f"export KUBECONFIG={stage.kubeconfig}"],
        "look": ["kubectl get cloudrun -A", f"kubectl get policyledgers -n {stages.OPERATOR_NAMESPACE}"],
        "break": [f"curl {edit} -d '{privilege.REMOVAL.to_json()}'"],
        "logs": [f"tail -f {stage.parts.directory}/*.log"],
        "stop": [*_how_to_empty_the_cluster(stage), _how_to_stop(stage)],
    }
    for purpose, commands in ways.items():
        for label, command in zip_longest([purpose], commands, fillvalue=""):
            # Not wrapped: commands are there to be copied.
            screen.line(f"{label:7}{screen.style(command, Style.COMMAND)}")


def _how_to_empty_the_cluster(stage: Stage) -> list[str]:
    """Name the commands for the user's own cluster, while the operator still removes its finalizers."""
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


def _how_to_stop(stage: Stage) -> str:
    return f"kill {' '.join(map(str, stage.parts.pids))}; rm -r {stage.parts.directory}"


def _cancel_on_first_signal(playing: asyncio.Task[None]) -> None:
    """Let the first signal end the demo in order; later ones would only leave something behind."""
    loop = asyncio.get_running_loop()
    for each in _SIGNALS:
        loop.add_signal_handler(each, lambda: playing.cancel() if not playing.cancelling() else None)
