"""The third act: the flow runner with two broad roles, then with no more than it needs."""

from collections.abc import Sequence

from .failure import DemoError
from .google import Attempt, IAMGrant, JobCreation, MemberRemoval, Refusal
from .screen import Screen, Style
from .stage import Stage

EXAMPLE = "prefect-least-privilege"
NAMESPACE = "flows"
KINDS = ("CustomRole", "CloudRunIdentity")
RUNNER = "serviceAccount:prefect-runner@acme-flows.iam.gserviceaccount.com"
LOCATION = "projects/acme-flows/locations/europe-west1"

REMOVAL = MemberRemoval(
    "//cloudresourcemanager.googleapis.com/projects/acme-flows",
    "projects/acme-flows/roles/prefectRunner",
    RUNNER,
)
"""What the reader may do behind the operator's back: the roles of before are not there any more."""

ATTEMPTS: tuple[Attempt, ...] = (
    # What Prefect's worker is there for…
    JobCreation(LOCATION, "prefect-flows@acme-flows.iam.gserviceaccount.com"),
    # …and what whoever gets hold of the worker would like to do.
    JobCreation(LOCATION, "payroll@acme-flows.iam.gserviceaccount.com"),
    IAMGrant(f"{LOCATION}/services/payroll", "roles/run.invoker", RUNNER),
)


async def try_as_runner(stage: Stage) -> list[Refusal | None]:
    """What Google says to each of the attempts, made with a token of the runner; None: it is done."""
    return [await stage.google.attempt(attempt, RUNNER) for attempt in ATTEMPTS]


def show(screen: Screen, broad: Sequence[Refusal | None], narrow: Sequence[Refusal | None]) -> None:
    """Set the two ways side by side.

    Raises:
        DemoError: one of them is refused what it should do, or the narrow one may do more.

    """
    screen.step("What the flow runner may do with either, tried with a token of its own")
    for attempt, first, then in zip(ATTEMPTS, broad, narrow, strict=True):
        screen.line(str(attempt))
        rows = [["  examples/prefect/", _said(first)], [f"  examples/{EXAMPLE}/", _said(then)]]
        screen.columns(rows, [Style.COMMAND])
    if any(broad) or narrow[0] or not all(narrow[1:]):
        raise DemoError("the flow runner may do something else than its roles say")


def _said(refusal: Refusal | None) -> str:
    return f"refused: {refusal}" if refusal else "allowed"
