"""Third part of the demo: the flow runner with two broad roles, then with least privilege."""

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
"""The change that the user may make in a demo that keeps running."""

ATTEMPTS: tuple[Attempt, ...] = (
    # The purpose of Prefect's worker,
    JobCreation(LOCATION, "prefect-flows@acme-flows.iam.gserviceaccount.com"),
    # and two calls that an attacker would make with its token.
    JobCreation(LOCATION, "payroll@acme-flows.iam.gserviceaccount.com"),
    IAMGrant(f"{LOCATION}/services/payroll", "roles/run.invoker", RUNNER),
)


async def try_as_runner(stage: Stage) -> list[Refusal | None]:
    """Make each attempt with a token of the runner; return its refusal, or None if the call succeeds."""
    return [await stage.google.attempt(attempt, RUNNER) for attempt in ATTEMPTS]


def show(screen: Screen, broad: Sequence[Refusal | None], narrow: Sequence[Refusal | None]) -> None:
    """Print the results of both examples side by side.

    Raises:
        DemoError: A call that must be allowed is refused, or one that must be refused is allowed.

    """
    screen.step("Compare what the flow runner is allowed to do, by calls with its own token")
    for attempt, first, then in zip(ATTEMPTS, broad, narrow, strict=True):
        screen.line(str(attempt))
        rows = [["  examples/prefect/", _result(first)], [f"  examples/{EXAMPLE}/", _result(then)]]
        screen.columns(rows, [Style.COMMAND])
    if any(broad) or narrow[0] or not all(narrow[1:]):
        raise DemoError("the flow runner is not allowed exactly what its roles permit")


def _result(refusal: Refusal | None) -> str:
    return f"refused: {refusal}" if refusal else "allowed"
