"""Resources that target.resource names, over the wire: only their policy methods are known."""

from collections.abc import AsyncIterator

import grpc
import pytest

from cloudrun_identity.api import GrantState, Reason
from cloudrun_identity.gcp.policies import Policies
from cloudrun_identity.iam.grants import Grant, IAMCondition, Target
from cloudrun_identity.iam.resource_names import generic_target
from cloudrun_identity.reconcile.outcomes import Refused
from cloudrun_identity_playground.emulator.seed import Seed
from tests.gcp.bench import Bench, open_bench

VIEWER, OPS = "roles/cloudfunctions.viewer", "group:ops@example.com"
FUNCTION = "//cloudfunctions.googleapis.com/projects/shop/locations/europe-west1/functions/resize"
POLICY = "google.iam.v1.IAMPolicy"
SEED = Seed.model_validate({"projects": [{"projectID": "shop", "resources": [{"resource": FUNCTION}]}]})


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with open_bench(SEED) as bench:
        yield bench


def target(resource: str = FUNCTION) -> Target:
    found = generic_target(resource, "shop")
    assert isinstance(found, Target)
    return found


async def test_grant_takes_one_read_and_one_write_of_the_policy(bench: Bench) -> None:
    findings = await bench.sync(Grant(target(), VIEWER, OPS))

    assert findings.states == {OPS: GrantState.GRANTED}
    assert dict(bench.emulator.calls) == {f"{POLICY}/GetIamPolicy": 1, f"{POLICY}/SetIamPolicy": 1}
    assert bench.members(target(), VIEWER) == {OPS}


async def test_released_grant_is_removed_from_the_policy(bench: Bench) -> None:
    await bench.sync(Grant(target(), VIEWER, OPS))
    await bench.sync()
    assert bench.members(target(), VIEWER) == set()
    assert not bench.ledger(target()).entries


async def test_missing_resource_is_reported_and_not_written(bench: Bench) -> None:
    missing = target(FUNCTION.replace("resize", "crop"))
    outcome = (await bench.sync(Grant(missing, VIEWER, OPS))).outcome
    assert (outcome.reason, outcome.message) == (
        Reason.WORKLOAD_NOT_FOUND,
        f"{missing} does not exist in project shop; create it, or correct the target in the spec",
    )


async def test_grant_on_a_recreated_resource_is_made_again(bench: Bench) -> None:
    grant = Grant(target(), VIEWER, OPS)
    await bench.sync(grant)
    bench.emulator.edit({"resource": FUNCTION, "recreate": True})
    await bench.sync(grant)
    assert bench.members(target(), VIEWER) == {OPS}


@pytest.mark.parametrize(
    "refused",
    [
        Grant(target(), "roles/eventarc.viewer", "user:a@example.com"),
        Grant(target(), VIEWER, "user:a@example.com", IAMCondition("always", "", "true")),
    ],
    ids=str,
)
async def test_what_the_api_refuses_is_isolated(bench: Bench, refused: Grant) -> None:
    findings = await bench.sync(Grant(target(), VIEWER, OPS), refused)
    assert findings.states == {OPS: GrantState.GRANTED, "user:a@example.com": GrantState.REJECTED}


async def test_public_member_is_refused_by_an_api_that_takes_none(bench: Bench) -> None:
    trigger = FUNCTION.replace("cloudfunctions", "eventarc").replace("/functions/", "/triggers/")
    bench.emulator.edit({"resource": trigger, "create": "shop"})
    findings = await bench.sync(Grant(target(trigger), "roles/eventarc.viewer", "allUsers"))
    assert findings.states == {"allUsers": GrantState.REJECTED}


async def test_api_without_policies_over_grpc_is_refused_with_a_remedy(bench: Bench) -> None:
    bench.emulator.faults.inject(
        f"{POLICY}/GetIamPolicy", grpc.StatusCode.UNIMPLEMENTED, times=5, message="Method not found."
    )
    outcome = (await bench.sync(Grant(target(), VIEWER, OPS))).outcome
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.REJECTED
    assert "does not serve google.iam.v1.IAMPolicy over gRPC" in outcome.message


async def test_host_that_is_not_an_api_receives_no_token(bench: Bench) -> None:
    policies = Policies(bench.clients)
    for host in ("evil.example.com", "evil.googleapis.com.example.com", "a-pubsub.googleapis.com"):
        crafted = Target(target().kind, "shop", name=target().name, service=host)
        with pytest.raises(Exception, match="is not the host of a Google Cloud API"):
            await policies.get(crafted)
