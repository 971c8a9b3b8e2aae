"""Second part of the demo: Google Cloud is changed without the operator, which repairs the drift."""

import asyncio
import time
from collections.abc import Callable

from cloudrun_identity.kube.resources import Object

from .cluster import Readiness, Subject
from .failure import DemoError
from .google import CloudState, MemberRemoval, WorkloadMove
from .screen import Screen, Style
from .stage import Stage

REPAIR_TIMEOUT = 60.0  # seconds until the drift is repaired, and again until the status reports it
POLL_INTERVAL = 0.2  # seconds

DANA = {"caller": "user:dana@example.com", "userAgent": "google-cloud-sdk gcloud/501.0.0"}
# Another person removes a role from the flow runner,
REMOVAL = MemberRemoval(
    resource="//cloudresourcemanager.googleapis.com/projects/acme-flows",
    role="roles/run.admin",
    member="serviceAccount:prefect-runner@acme-flows.iam.gserviceaccount.com",
    author=DANA,
)
REMOVAL_SUBJECT = Subject("CloudRunIdentity", "flows", "prefect-runner")
# and deploys the checkout service without naming its service account.
MOVED_WORKLOAD = "//run.googleapis.com/projects/acme-shop/locations/europe-west1/services/checkout"
MOVE_SUBJECT = Subject("IdentityAttachment", "payments", "checkout")


async def run(stage: Stage, screen: Screen, before: CloudState, declared: CloudState) -> None:
    """Undo two changes of the operator, wait for the repair, and show its reports.

    Args:
        stage: The running parts.
        screen: The output.
        before: Google Cloud before the operator changed anything.
        declared: Google Cloud with everything that the objects declare.

    Raises:
        DemoError: The operator does not repair the drift, or does not report it.

    """
    await _cause_drift(stage, screen, before)
    await _await_repair(stage, screen, declared)
    await _show_reports(stage, screen)


async def _cause_drift(stage: Stage, screen: Screen, before: CloudState) -> None:
    screen.step("Cause drift: change Google Cloud without the operator, as a person with access to it")
    for change in (REMOVAL, WorkloadMove(MOVED_WORKLOAD, before.accounts_of_workloads[MOVED_WORKLOAD], DANA)):
        await stage.google.edit(change)
        screen.paragraph(str(change), style=Style.CHANGED)


async def _await_repair(stage: Stage, screen: Screen, declared: CloudState) -> None:
    screen.step("Wait until the operator repairs the drift")
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
            screen.line(screen.style(f"the {name} is repaired after {elapsed:.1f} s", Style.GOOD))
        if repaired:
            awaited = " and the ".join(repaired)
            if elapsed > REPAIR_TIMEOUT:
                raise DemoError(f"the operator did not repair the {awaited} within {REPAIR_TIMEOUT:g} s")
            screen.progress(f"waiting for the {awaited}", f"{elapsed:4.1f} s")
            await asyncio.sleep(POLL_INTERVAL)


async def _show_reports(stage: Stage, screen: Screen) -> None:
    screen.step("See how the objects report the drift")
    for subject in (REMOVAL_SUBJECT, MOVE_SUBJECT):
        drift = await _reported_drift(stage, subject)
        events = await stage.cluster.events(subject)
        reasons = [f"{event['reason']} ({event['type']})" for event in events if "Drift" in event["reason"]]
        screen.line(str(subject))
        screen.columns(
            [
                ["  status.drift", f"count {drift['count']}, repaired at {drift['lastRepairedTime']}"],
                *(["", change] for change in drift["changes"]),
                ["  Events", ", ".join(reasons)],
            ],
            [Style.FAINT],
        )


async def _reported_drift(stage: Stage, subject: Subject) -> Object:
    """Wait until the object is Ready again and its status reports the drift."""
    deadline = time.monotonic() + REPAIR_TIMEOUT
    while True:
        stage.parts.check()
        obj = (await stage.cluster.read([subject])).get(subject, {})
        drift: Object = obj.get("status", {}).get("drift", {})
        if drift.get("lastRepairedTime") and Readiness.of(obj).is_ready:
            return drift
        if time.monotonic() > deadline:
            raise DemoError(f"the drift of {subject} is repaired, but its status.drift does not report it")
        await asyncio.sleep(POLL_INTERVAL)
