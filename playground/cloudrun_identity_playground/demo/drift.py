"""The second act: somebody changes Google Cloud behind the operator's back, and it is put right."""

import asyncio
import time
from collections.abc import Callable

from cloudrun_identity.kube.resources import Object

from .cluster import Readiness, Subject
from .failure import DemoError
from .google import CloudState, MemberRemoval, WorkloadMove
from .screen import Screen, Style
from .stage import Stage

REPAIR_TIMEOUT = 60.0  # seconds until what was changed is put right, and again until it is reported
POLL_INTERVAL = 0.2  # seconds

# Somebody with console access takes a role away from the flow runner…
REMOVAL = MemberRemoval(
    resource="//cloudresourcemanager.googleapis.com/projects/acme-flows",
    role="roles/run.admin",
    member="serviceAccount:prefect-runner@acme-flows.iam.gserviceaccount.com",
)
REMOVAL_SUBJECT = Subject("CloudRunIdentity", "flows", "prefect-runner")
# …and deploys the checkout service without naming its account.
MOVED_WORKLOAD = "//run.googleapis.com/projects/acme-shop/locations/europe-west1/services/checkout"
MOVE_SUBJECT = Subject("IdentityAttachment", "payments", "checkout")


async def play(stage: Stage, screen: Screen, before: CloudState, declared: CloudState) -> None:
    """Change what is `declared` back to what was there `before`, and show the repair and who tells of it.

    Raises:
        DemoError: it is not put right, or not told of.

    """
    await _break(stage, screen, before)
    await _await_repair(stage, screen, declared)
    await _show_reports(stage, screen)


async def _break(stage: Stage, screen: Screen, before: CloudState) -> None:
    screen.step("Somebody with console access changes two things behind the operator's back")
    for change in (REMOVAL, WorkloadMove(MOVED_WORKLOAD, before.accounts_of_workloads[MOVED_WORKLOAD])):
        await stage.google.edit(change)
        screen.paragraph(str(change), style=Style.CHANGED)


async def _await_repair(stage: Stage, screen: Screen, declared: CloudState) -> None:
    screen.step("Wait until it is put right")
    account = declared.accounts_of_workloads[MOVED_WORKLOAD]
    repaired: dict[str, Callable[[CloudState], bool]] = {
        "role": lambda state: state.has(REMOVAL),
        "service": lambda state: state.accounts_of_workloads[MOVED_WORKLOAD] == account,
    }
    began = time.monotonic()
    while repaired:
        stage.parts.check()
        state, elapsed = await stage.google.state(), time.monotonic() - began
        for name in [name for name, is_back in repaired.items() if is_back(state)]:
            del repaired[name]
            screen.line(screen.style(f"the {name} is back after {elapsed:.1f} s", Style.GOOD))
        if repaired:
            awaited = " and the ".join(repaired)
            if elapsed > REPAIR_TIMEOUT:
                raise DemoError(f"the {awaited} is not put right after {REPAIR_TIMEOUT:g} s")
            screen.progress(f"waiting for the {awaited}", f"{elapsed:4.1f} s")
            await asyncio.sleep(POLL_INTERVAL)


async def _show_reports(stage: Stage, screen: Screen) -> None:
    screen.step("How the objects tell of it")
    for subject in (REMOVAL_SUBJECT, MOVE_SUBJECT):
        drift = await _reported_drift(stage, subject)
        events = await stage.cluster.events(subject)
        told = [f"{event['reason']} ({event['type']})" for event in events if "Drift" in event["reason"]]
        screen.line(str(subject))
        screen.columns(
            [
                ["  status.drift", f"count {drift['count']}, repaired at {drift['lastRepairedTime']}"],
                *(["", change] for change in drift["changes"]),
                ["  Events", ", ".join(told)],
            ],
            [Style.FAINT],
        )


async def _reported_drift(stage: Stage, subject: Subject) -> Object:
    """Wait for the status, which follows the repair, to tell of it and to be Ready again."""
    deadline = time.monotonic() + REPAIR_TIMEOUT
    while True:
        stage.parts.check()
        obj = (await stage.cluster.read([subject])).get(subject, {})
        drift: Object = obj.get("status", {}).get("drift", {})
        if drift.get("lastRepairedTime") and Readiness.of(obj).is_ready:
            return drift
        if time.monotonic() > deadline:
            raise DemoError(f"{subject} was put right, but its status.drift does not tell of it")
        await asyncio.sleep(POLL_INTERVAL)
