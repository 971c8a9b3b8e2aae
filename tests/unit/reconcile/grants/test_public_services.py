"""Detection of services that allow unauthenticated invocation."""

from dataclasses import replace

import pytest

from cloudrun_identity.api import ManagedProject, TargetKind, WorkloadKind
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.gcp.workloads import Workload, WorkloadState
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.reconcile.grants.public_services import (
    INVOKER,
    ineffective_roles,
    invoked_services,
    public_services,
)
from cloudrun_identity.reconcile.outcomes import InSync
from cloudrun_identity.reconcile.references import Unresolved
from tests.unit.controllers.attachments import ROLLED_OUT
from tests.unit.controllers.cloud import fault
from tests.unit.controllers.cluster_state import PROJECT, FakeClusterState, project

CHECKOUT = Target(TargetKind.SERVICE, "payments-prod-1234", "europe-west1", "checkout")
SERVICE = Workload(WorkloadKind.SERVICE, "payments-prod-1234", "europe-west1", "checkout")
DELEGATED = project()


class Services:
    """A shared list of services, or the error of reading it."""

    def __init__(self, state: WorkloadState | None, error: Fault | None = None) -> None:
        self._state = state
        self._error = error

    async def listed_workload(self, workload: Workload, max_age: float) -> WorkloadState | None:
        assert (workload, max_age) == (SERVICE, 60.0)
        if self._error:
            raise fault(self._error)
        return self._state


def called(
    target: Target | Unresolved = CHECKOUT, role: str = INVOKER, delegated: ManagedProject = DELEGATED
) -> tuple[Workload, ...]:
    return invoked_services([(target, role, delegated)] * 2, "payments", FakeClusterState(DELEGATED))


def test_service_with_an_invoker_grant_is_checked() -> None:
    assert called() == (SERVICE,)


@pytest.mark.parametrize(
    ("target", "role"),
    [
        (CHECKOUT, "roles/run.viewer"),
        (replace(CHECKOUT, kind=TargetKind.JOB), INVOKER),
        (Unresolved("Service of ManagedProject shared", InSync()), INVOKER),
        (replace(CHECKOUT, name="of-another-team"), INVOKER),
    ],
    ids=["another role", "a job", "unresolved", "outside the guardrails"],
)
def test_other_targets_and_roles_are_not_checked(target: Target | Unresolved, role: str) -> None:
    assert called(target, role) == ()


def test_guardrails_of_the_target_project_decide_what_is_checked() -> None:
    there = replace(CHECKOUT, project_id="shared-1234")
    shared = PROJECT.replace("payments-prod", "shared")
    assert called(there, delegated=project(shared)) == (replace(SERVICE, project_id="shared-1234"),)
    assert (
        called(
            there,
            delegated=project(shared, guardrails={"workloads": [{"names": ["x"], "namespaces": ["*"]}]}),
        )
        == ()
    )


@pytest.mark.parametrize(
    ("services", "is_open"),
    [
        (Services(replace(ROLLED_OUT, invoker_iam_disabled=True)), True),
        (Services(ROLLED_OUT), False),
        (Services(None), False),
        (Services(None, Fault.PERMISSION_DENIED), False),
    ],
    ids=["open", "checks", "absent", "unreadable"],
)
async def test_service_is_public_only_if_its_invoker_check_is_disabled(
    services: Services, is_open: bool
) -> None:
    found = await public_services([SERVICE], services, 60.0)
    assert found == ((SERVICE,) if is_open else ())


def test_issue_fits_into_one_status_line() -> None:
    longest = Workload(WorkloadKind.SERVICE, "p" * 30, "northamerica-northeast2", "s" * 49)
    (text,) = ineffective_roles([longest])
    assert f"{longest} of project {longest.project_id} allows unauthenticated invocation" in text
    assert len(text) <= 256
