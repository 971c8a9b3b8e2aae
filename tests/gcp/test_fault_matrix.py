"""Test every error of Google on reads and on writes of a policy: the state of the grants, and the outcome.

The emulator sends the errors with their details to the clients and policy syncers of production.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2

from cloudrun_identity.api import GrantState, Reason, TargetKind
from cloudrun_identity.gcp.error_classification import fault_of
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.policy.writer import MAX_REREADS
from cloudrun_identity.reconcile.outcomes import LONGEST_RETRY, Failing, Outcome, Refused, Waiting
from cloudrun_identity_playground.emulator.errors import error_info, perimeter_violation, retry_info
from cloudrun_identity_playground.emulator.seed import Seed

from .bench import Bench, open_bench

TARGET = Target(TargetKind.PROJECT, "shop-1234")
ROLE = "roles/run.invoker"
ANN, BOB = (Grant(TARGET, ROLE, f"user:{name}@example.com") for name in ("ann", "bob"))
FOREIGN = "user:eve@example.com"
GET = "google.cloud.resourcemanager.v3.Projects/GetIamPolicy"
SET = "google.cloud.resourcemanager.v3.Projects/SetIamPolicy"
ALWAYS = 1000
SEED = Seed.model_validate(
    {
        "strict": True,
        "projects": [{"projectID": "shop-1234", "policy": [{"role": ROLE, "members": [FOREIGN]}]}],
    }
)

Code = grpc.StatusCode
RATE_LIMITED = (
    error_info(
        "RATE_LIMIT_EXCEEDED",
        "googleapis.com",
        quota_limit="WriteRequestsPerMinutePerProject",
        quota_limit_value="60",
        consumer="projects/100000000001",
    ),
    error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(nanos=50_000_000)),
)


@dataclass(frozen=True)
class Case:
    """An error, and the class and reason of the outcome if every read, or every write, ends with it."""

    name: str
    code: grpc.StatusCode
    on_read: tuple[type[Outcome], Reason]
    on_write: tuple[type[Outcome], Reason]
    details: tuple[Any, ...] = ()


def alike(
    name: str, code: grpc.StatusCode, kind: type[Outcome], reason: Reason, details: tuple[Any, ...] = ()
) -> Case:
    """Return the case of an error that means the same on reads and on writes."""
    return Case(name, code, (kind, reason), (kind, reason), details)


def refusing(name: str, code: grpc.StatusCode) -> Case:
    """Return the case of an error about the request. If every write ends with it, the policy is at fault."""
    return Case(name, code, (Refused, Reason.REJECTED), (Failing, Reason.POLICY_UNWRITABLE))


CASES = (
    alike("no answer", Code.UNAVAILABLE, Failing, Reason.API_UNAVAILABLE),
    alike("too late", Code.DEADLINE_EXCEEDED, Failing, Reason.API_UNAVAILABLE),
    alike("internal error", Code.INTERNAL, Failing, Reason.API_UNAVAILABLE),
    alike("dropped by a front end", Code.CANCELLED, Failing, Reason.API_UNAVAILABLE),
    alike("other writers all the time", Code.ABORTED, Failing, Reason.UPDATING),
    alike("rate limited", Code.RESOURCE_EXHAUSTED, Failing, Reason.QUOTA_EXCEEDED, RATE_LIMITED),
    alike("exhausted", Code.RESOURCE_EXHAUSTED, Failing, Reason.QUOTA_EXCEEDED),
    alike(
        "forbidden",
        Code.PERMISSION_DENIED,
        Failing,
        Reason.PERMISSION_DENIED,
        (error_info("IAM_PERMISSION_DENIED", "cloudresourcemanager.googleapis.com"),),
    ),
    alike("forbidden without a reason", Code.PERMISSION_DENIED, Failing, Reason.PERMISSION_DENIED),
    alike(
        "API not enabled",
        Code.PERMISSION_DENIED,
        Failing,
        Reason.API_DISABLED,
        (error_info("SERVICE_DISABLED", "googleapis.com", service="cloudresourcemanager.googleapis.com"),),
    ),
    alike("not signed in", Code.UNAUTHENTICATED, Failing, Reason.PERMISSION_DENIED),
    Case(
        "target missing",
        Code.NOT_FOUND,
        on_read=(Waiting, Reason.DEPENDENCY_NOT_FOUND),
        on_write=(Failing, Reason.DEPENDENCY_NOT_FOUND),
    ),
    refusing("invalid argument", Code.INVALID_ARGUMENT),
    refusing("out of range", Code.OUT_OF_RANGE),
    refusing("failed precondition", Code.FAILED_PRECONDITION),
    alike("exists already", Code.ALREADY_EXISTS, Refused, Reason.CONFLICT),
    alike("not served", Code.UNIMPLEMENTED, Refused, Reason.REJECTED),
    alike("stream removed", Code.UNKNOWN, Failing, Reason.API_UNAVAILABLE),
    alike("data loss", Code.DATA_LOSS, Failing, Reason.API_UNAVAILABLE),
    alike("full", Code.RESOURCE_EXHAUSTED, Failing, Reason.QUOTA_EXCEEDED, (retry_info(86_401),)),
    alike(
        "blocked by a perimeter",
        Code.PERMISSION_DENIED,
        Failing,
        Reason.PERIMETER_VIOLATION,
        perimeter_violation("cloudresourcemanager.googleapis.com", "projects/1", "VQQnKf").details,
    ),
)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with open_bench(SEED) as bench:
        yield bench


def by_name(case: Case) -> str:
    return case.name.replace(" ", "-")


@pytest.mark.parametrize("case", CASES, ids=by_name)
async def test_reads_that_fail(bench: Bench, case: Case) -> None:
    bench.emulator.faults.inject(GET, case.code, ALWAYS, details=case.details)

    found = await bench.sync(ANN)

    check_outcome(found.outcome, *case.on_read, case)
    assert found.states == {ANN.member: GrantState.PENDING}
    assert bench.emulator.calls[SET] == 0
    assert not bench.ledger(TARGET).entries, "nothing is claimed in a policy that was not seen"
    await check_recovery(bench)


@pytest.mark.parametrize("case", CASES, ids=by_name)
async def test_writes_that_fail(bench: Bench, case: Case) -> None:
    bench.emulator.faults.inject(SET, case.code, ALWAYS, details=case.details)

    found = await bench.sync(ANN)

    check_outcome(found.outcome, *case.on_write, case)
    assert found.states == {ANN.member: GrantState.PENDING}
    assert bench.members(TARGET, ROLE) == {FOREIGN}
    may_have_happened = fault_of(case.code) is Fault.UNAVAILABLE
    assert (ANN in bench.ledger(TARGET).entries) is may_have_happened, "the grant was never made"
    await check_recovery(bench)


@pytest.mark.parametrize("case", CASES, ids=by_name)
async def test_removals_that_fail_are_owed(bench: Bench, case: Case) -> None:
    await bench.sync(ANN, BOB)
    bench.emulator.faults.inject(SET, case.code, ALWAYS, details=case.details)

    failed = await bench.sync(ANN)

    assert failed.states == {ANN.member: GrantState.GRANTED, BOB.member: GrantState.RELEASING}
    assert BOB in bench.ledger(TARGET).entries
    assert any(type(outcome) is case.on_write[0] for outcome in failed.outcomes)
    await check_recovery(bench)
    assert BOB not in bench.ledger(TARGET).entries


@pytest.mark.parametrize("lost", [False, True], ids=["without-effect", "with-its-answer-lost"])
@pytest.mark.parametrize(
    "code",
    [
        Code.UNAVAILABLE,
        Code.DEADLINE_EXCEEDED,
        Code.INTERNAL,
        Code.CANCELLED,
        Code.UNKNOWN,
        Code.DATA_LOSS,
    ],
)
async def test_failed_write_is_repeated_in_the_same_sync(
    bench: Bench, code: grpc.StatusCode, lost: bool
) -> None:
    bench.emulator.faults.inject(SET, code, applied=lost)

    found = await bench.sync(ANN)

    assert (found.states, found.outcomes) == ({ANN.member: GrantState.GRANTED}, [])
    assert bench.emulator.calls[SET] == (1 if lost else 2)
    assert bench.members(TARGET, ROLE) == {FOREIGN, ANN.member}
    assert not bench.ledger(TARGET).entries[ANN].present_before, "the operator may remove it"


async def test_conflicting_write_is_retried_with_a_fresh_read(bench: Bench) -> None:
    bench.emulator.faults.inject(SET, Code.ABORTED)

    found = await bench.sync(ANN)

    assert found.outcomes == []
    assert bench.emulator.calls[SET] == 2
    assert bench.emulator.calls[GET] <= 2 + MAX_REREADS, "a while is spent watching for other writers"


async def test_read_without_an_answer_is_repeated(bench: Bench) -> None:
    bench.emulator.faults.inject(GET, Code.UNAVAILABLE)

    assert (await bench.sync(ANN)).outcomes == []
    assert bench.emulator.calls[GET] == 2


@pytest.mark.parametrize("code", [Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION, Code.OUT_OF_RANGE])
async def test_a_set_that_is_refused_once_is_written_in_parts(bench: Bench, code: grpc.StatusCode) -> None:
    bench.emulator.faults.inject(SET, code)

    found = await bench.sync(ANN, BOB)

    assert found.outcomes == []
    assert bench.members(TARGET, ROLE) == {FOREIGN, ANN.member, BOB.member}
    # The refused write, the present policy because the error names no member, and the two halves.
    assert bench.emulator.calls[SET] == 4


async def check_recovery(bench: Bench) -> None:
    """Check that the next sync after the end of the error succeeds."""
    bench.emulator.faults.clear()
    found = await bench.sync(ANN)
    assert (found.states, found.outcomes) == ({ANN.member: GrantState.GRANTED}, [])
    assert bench.members(TARGET, ROLE) == {FOREIGN, ANN.member}
    assert bench.ledger(TARGET).entries[ANN].state is GrantState.GRANTED


def check_outcome(outcome: Outcome, kind: type[Outcome], reason: Reason, case: Case) -> None:
    assert type(outcome) is kind
    assert isinstance(outcome, Failing | Refused | Waiting)
    assert outcome.reason is reason
    assert "Project shop-1234" in outcome.message
    assert "\n" not in outcome.message
    assert not isinstance(outcome, Failing) or (outcome.after or 0.0) <= LONGEST_RETRY
    if case.details is RATE_LIMITED:
        assert isinstance(outcome, Failing)
        assert outcome.after == pytest.approx(0.05), "as long as Google says"
