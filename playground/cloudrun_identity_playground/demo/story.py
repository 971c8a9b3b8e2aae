"""The steps of the demo."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from cloudrun_identity.api import KINDS

from . import drift, manifests, privilege
from .cluster import Readiness, Subject
from .comparison import Mark, Section, compare
from .failure import DemoError
from .google import CloudState
from .kubectl import Kubectl
from .screen import Screen, Style
from .stage import OPERATOR_NAMESPACE, Stage

SINK_DELAY = "0.5s"
"""Time that the emulator's log sink takes. Google states none for its sinks."""

FEED_PROJECT = "acme-ledger"
"""Project with the topic and the subscription of the change feed."""
READY_TIMEOUT = 90.0  # seconds until everything is Ready
POLL_INTERVAL = 0.2  # seconds


async def run(stage: Stage, screen: Screen) -> None:
    """Run all steps.

    Raises:
        DemoError: A step does not end as expected.

    """
    before = await stage.google.state()
    await _install(stage, screen)
    subscription = await stage.google.add_change_feed(
        manifests.projects(*manifests.EXAMPLES, privilege.EXAMPLE), FEED_PROJECT
    )
    await stage.google.set_switches(sinkDelay=SINK_DELAY)
    set_up = await stage.google.calls()  # by the demo itself
    subjects = await _apply(stage, screen, "Apply the examples", subscription, *manifests.EXAMPLES)
    screen.paragraph(
        f"The projects have a change feed: the audit log arrives in {subscription}. The emulator's log sink "
        f"delays each entry by {SINK_DELAY}; Google states no delay of its sinks. driftInterval is 5m.",
        style=Style.FAINT,
    )
    await _await_ready(stage, screen, subjects)
    calls_until_ready = await stage.google.calls() - set_up
    await _show_tables(stage.kubectl, screen)
    declared = await stage.google.state()
    _show_cloud(screen, before, declared)
    await drift.run(stage, screen, before, declared)
    _show_calls(screen, calls_until_ready, await stage.google.calls() - set_up)
    broad = await privilege.try_as_runner(stage)
    with_broad_roles = await stage.google.state()
    step = "Apply the flow runner with least privilege"
    subjects = await _apply(stage, screen, step, subscription, privilege.EXAMPLE)
    screen.paragraph(
        "A custom role to run jobs replaces two broad roles on the project. The runner may act as one "
        "service account only: the one that the flows run as.",
        style=Style.FAINT,
    )
    await _await_ready(stage, screen, subjects)
    await _show_least_privilege(stage, screen, with_broad_roles)
    privilege.show(screen, broad, await privilege.try_as_runner(stage))


async def _install(stage: Stage, screen: Screen) -> None:
    screen.step("Install the operator")
    kinds = await stage.cluster.install_definitions()
    await stage.cluster.install_namespace(OPERATOR_NAMESPACE)
    seconds = await stage.start_operator(CLOUDRUN_IDENTITY_RUN_UI="true")
    screen.columns(
        [
            ["crds/", f"{kinds} CustomResourceDefinitions"],
            ["cloudrun-identity run", f"ready after {seconds:.1f} s"],
        ],
        [Style.COMMAND],
    )


async def _apply(
    stage: Stage, screen: Screen, step: str, subscription: str, *examples: str
) -> tuple[Subject, ...]:
    screen.step(step)
    rows: list[list[str]] = []
    subjects: list[Subject] = []
    for example in (manifests.load(name, subscription) for name in examples):
        for obj in example.objects:
            await stage.cluster.apply(obj)
        counted = Counter(obj["kind"] for obj in example.objects)
        summary = ", ".join(manifests.amount(kind, count) for kind, count in counted.items())
        rows.append([f"examples/{example.name}/", summary])
        subjects += [Subject.of(obj) for obj in example.objects if obj["kind"] in KINDS]
    screen.columns(rows, [Style.COMMAND])
    return tuple(subjects)


async def _await_ready(stage: Stage, screen: Screen, subjects: Sequence[Subject]) -> None:
    screen.step("Wait until all objects are Ready")
    began = time.monotonic()
    while waiting := await _not_yet_ready(stage, subjects):
        elapsed = time.monotonic() - began
        subject, state = next(iter(waiting.items()))
        if elapsed > READY_TIMEOUT:
            raise DemoError(
                f"{subject} is not Ready after {READY_TIMEOUT:g} s: {state.reason}: {state.message}"
            )
        done = len(subjects) - len(waiting)
        screen.progress(
            f"{done} of {len(subjects)} Ready, waiting for {subject}: {state.reason}", f"{elapsed:4.1f} s"
        )
        await asyncio.sleep(POLL_INTERVAL)
    elapsed = time.monotonic() - began
    screen.line(screen.style(f"all {len(subjects)} objects Ready after {elapsed:.1f} s", Style.GOOD))


async def _not_yet_ready(stage: Stage, subjects: Sequence[Subject]) -> dict[Subject, Readiness]:
    """Return the objects that are not Ready yet, in the order of the manifests."""
    stage.parts.check()
    found = await stage.cluster.read(subjects)
    states = {subject: Readiness.of(found.get(subject)) for subject in subjects}
    return {subject: state for subject, state in states.items() if not state.is_ready}


async def _show_tables(kubectl: Kubectl, screen: Screen) -> None:
    screen.step("List the objects with kubectl")
    if kubectl.executable is None:
        screen.paragraph("kubectl is not installed. The tables come from the API server and look the same.")
    await kubectl.show(screen, KINDS)


async def _show_least_privilege(stage: Stage, screen: Screen, before: CloudState) -> None:
    """Show the flow runner in Kubernetes and in Google Cloud."""
    screen.step("List the objects of the flow runner with kubectl")
    await stage.kubectl.show(screen, privilege.KINDS, privilege.NAMESPACE)
    screen.step("See what changed in Google Cloud")
    _show_sections(screen, (each for each in compare(before, await stage.google.state()) if each.is_changed))


def _show_cloud(screen: Screen, before: CloudState, now: CloudState) -> None:
    screen.step("See what changed in Google Cloud")
    screen.paragraph(
        "+ was added and - was removed since the start. Everything else was there before and is unchanged."
    )
    _show_sections(screen, compare(before, now))


def _show_sections(screen: Screen, sections: Iterable[Section]) -> None:
    for section in sections:
        screen.line()
        screen.line(section.heading if section.is_changed else f"{section.heading}: no change")
        for line in section.lines if section.is_changed else ():
            screen.line(f"  {screen.style(str(line), _STYLE_OF_MARK[line.mark])}")


_STYLE_OF_MARK = {Mark.ADDED: Style.GOOD, Mark.REMOVED: Style.BAD, Mark.KEPT: Style.FAINT}


def _show_calls(screen: Screen, until_ready: Counter[str], total: Counter[str]) -> None:
    screen.step("Count the calls of the operator to Google Cloud")
    rows = [["until Ready", "after that", "method"]]
    rows += [
        [f"{until_ready[call]:11}", f"{total[call] - until_ready[call]:10}", call] for call in sorted(total)
    ]
    rows += [[f"{until_ready.total():11}", f"{total.total() - until_ready.total():10}", "total"]]
    screen.columns(rows)
