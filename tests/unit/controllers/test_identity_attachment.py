from dataclasses import replace
from typing import Any, cast

import pytest

from cloudrun_identity.api import IdentityAttachment, Reason, WorkloadKind
from cloudrun_identity.controllers.gate import Passed, Stopped
from cloudrun_identity.controllers.identity_attachment import (
    AttachmentWant,
    IdentityAttachmentController,
    WorkloadSeen,
)
from cloudrun_identity.controllers.outcomes import Failing, InSync, Outcome, Refused, Waiting
from cloudrun_identity.controllers.world import identity_key, project_key
from cloudrun_identity.gcp.run import Operation
from cloudrun_identity.gcp.workloads import Workload, WorkloadState

from .world import EMAIL, FakeWorld, identity, parsed, project, record

NONE: Any = None
CONTROLLER = IdentityAttachmentController(NONE, NONE)
ATTACHMENT = """
kind: IdentityAttachment
metadata: {name: checkout, namespace: payments}
spec:
  projectRef: {name: payments-prod}
  workload: {kind: Service, location: europe-west1, name: checkout}
  identityRef: {name: checkout}
"""
WORLD = FakeWorld(project(), identity(), accounts=[record()])
ROLLED_OUT = WorkloadState(
    workload=Workload(WorkloadKind.SERVICE, "payments-prod-1234", "europe-west1", "checkout"),
    uid="w-1",
    etag='"1"',
    service_account=EMAIL,
    generation=2,
    observed_generation=2,
    reconciling=False,
    ready=True,
    ready_message="",
    latest_created_revision="checkout-2",
    latest_ready_revision="checkout-2",
    template_revision="",
    serving_revisions=("checkout-2",),
    last_modifier="",
    managed_by="",
    invoker_iam_disabled=False,
)


def attachment(text: str = ATTACHMENT, **spec: Any) -> IdentityAttachment:
    return cast("IdentityAttachment", parsed(text, **spec))


def desired(obj: IdentityAttachment, world: FakeWorld = WORLD) -> AttachmentWant | Stopped:
    return CONTROLLER.desired(obj, Passed(project(), observe=False), world)


def want(obj: IdentityAttachment | None = None) -> AttachmentWant:
    wanted = desired(obj or attachment())
    assert isinstance(wanted, AttachmentWant)
    return wanted


async def applied(seen: WorkloadSeen) -> Outcome:
    return (await CONTROLLER.apply(want(), seen, CONTROLLER.diff(want(), seen))).outcome


def test_it_refers_to_its_project_and_its_identity() -> None:
    assert CONTROLLER.references(attachment(identityRef={"name": "pricing", "namespace": "shop"})) == {
        project_key("payments-prod"),
        identity_key("shop", "pricing"),
    }


def test_rivals_declare_the_same_workload() -> None:
    other = attachment(identityRef={"name": "pricing"})
    assert CONTROLLER.declares(attachment()) == CONTROLLER.declares(other)


def test_the_workload_runs_as_the_identitys_account() -> None:
    wanted = want()
    assert (wanted.workload, wanted.email, wanted.identity) == (ROLLED_OUT.workload, EMAIL, "checkout")


def test_a_workload_that_the_namespace_may_not_use_is_denied() -> None:
    stop = desired(attachment(workload={"kind": "Service", "location": "europe-west1", "name": "other"}))
    assert isinstance(stop, Stopped)
    assert isinstance(stop.outcome, Refused)
    assert stop.outcome.reason is Reason.DENIED_BY_GUARDRAIL


def test_an_identity_that_is_not_ready_is_waited_for() -> None:
    stop = desired(attachment(), FakeWorld(project(), identity()))
    assert isinstance(stop, Stopped)
    assert isinstance(stop.outcome, Waiting)
    assert stop.unresolved == stop.outcome.message


@pytest.mark.parametrize(
    ("account", "expected"),
    [
        (EMAIL, []),
        (EMAIL.upper(), []),
        ("other@x", [f"service account: other@x → {EMAIL}"]),
        ("", [f"service account: unset → {EMAIL}"]),
    ],
)
def test_another_account_in_the_template_differs(account: str, expected: list[str]) -> None:
    seen = WorkloadSeen(replace(ROLLED_OUT, service_account=account))
    assert [str(change) for change in CONTROLLER.diff(want(), seen)] == expected


def test_a_missing_workload_does_not_differ() -> None:
    assert CONTROLLER.diff(want(), WorkloadSeen(None)) == ()


@pytest.mark.parametrize(
    ("state", "others", "reason", "kind"),
    [
        ({"reconciling": True}, (), Reason.UPDATING, Waiting),
        ({"observed_generation": 1}, (), Reason.UPDATING, Waiting),
        ({"ready": None}, (), Reason.UPDATING, Waiting),
        ({"ready": False, "ready_message": "it does not start"}, (), Reason.REVISION_FAILED, Failing),
        ({}, ("checkout-1",), Reason.OLD_REVISION_SERVING, Waiting),
        ({"managed_by": "cloudfunctions"}, (), Reason.REJECTED, Refused),
    ],
)
async def test_a_rollout_is_followed_to_its_end(
    state: dict[str, Any], others: tuple[str, ...], reason: Reason, kind: type[Outcome]
) -> None:
    outcome = await applied(WorkloadSeen(replace(ROLLED_OUT, **state), others))
    assert isinstance(outcome, kind)
    assert not isinstance(outcome, InSync)
    assert outcome.reason is reason
    if isinstance(outcome, Waiting):
        assert outcome.after


async def test_a_workload_that_runs_as_the_identity_everywhere_is_in_sync() -> None:
    assert await applied(WorkloadSeen(ROLLED_OUT)) == InSync()


async def test_a_missing_workload_is_looked_for_again() -> None:
    outcome = await applied(WorkloadSeen(None))
    assert isinstance(outcome, Waiting)
    assert outcome.reason is Reason.WORKLOAD_NOT_FOUND
    assert outcome.after


async def test_googles_reason_for_a_failed_revision_is_shown() -> None:
    failed = Operation("operations/1", done=True, error="no such image")
    state = replace(ROLLED_OUT, ready=False, latest_ready_revision="checkout-1")
    outcome = await applied(WorkloadSeen(state, operation=failed))
    assert isinstance(outcome, Failing)
    assert "no such image" in outcome.message
    assert "checkout-1 keeps serving" in outcome.message


def test_the_status_keeps_the_account_that_ran_before() -> None:
    before = CONTROLLER.summarize(want(), WorkloadSeen(replace(ROLLED_OUT, service_account="old@x"))).fields
    assert before["previous_service_account"] == "old@x"
    assert before["current_service_account"] == "old@x"
    later = attachment(ATTACHMENT + "status: {previousServiceAccount: old@x}\n")
    after = CONTROLLER.summarize(want(later), WorkloadSeen(ROLLED_OUT)).fields
    assert after["previous_service_account"] == "old@x"
    assert after["current_service_account"] == EMAIL


def test_the_status_names_the_operation_while_it_runs() -> None:
    running = WorkloadSeen(ROLLED_OUT, operation=Operation("operations/1", done=False))
    assert CONTROLLER.summarize(want(), running).fields["operation"] == "operations/1"
    over = WorkloadSeen(ROLLED_OUT, operation=Operation("operations/1", done=True))
    assert CONTROLLER.summarize(want(), over).fields["operation"] is None
    assert "workload_uid" not in CONTROLLER.summarize(want(), WorkloadSeen(None)).fields
