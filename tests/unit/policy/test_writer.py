"""Writing one policy against other writers and lost replies: what is written, and what counts as ours."""

import asyncio
import random
from contextlib import suppress

import pytest
from google.iam.v1.policy_pb2 import Policy

from cloudrun_identity.api import TargetKind
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.policy.desired_grants import DesiredGrant
from cloudrun_identity.policy.merge import Release, grants_in, merge
from cloudrun_identity.policy.writer import PolicyWriter
from tests.unit.policy.fake_policies import FakePolicies, fault, unsent

pytestmark = pytest.mark.looptime(start=1000)

TARGET = Target(TargetKind.PROJECT, "acme")
ATTEMPTS = 4
ANN, BOB, EVE = (
    Grant(TARGET, "roles/run.invoker", f"user:{name}@acme.example") for name in ("ann", "bob", "eve")
)


@pytest.fixture
def policies() -> FakePolicies:
    policies = FakePolicies()
    policies.create(TARGET)
    return policies


async def reading(policies: FakePolicies) -> PolicyWriter:
    writer = PolicyWriter(TARGET, policies, ATTEMPTS)
    await writer.read()
    return writer


def lost() -> None:
    raise fault(Fault.UNAVAILABLE)


async def test_what_is_written_is_known_from_the_reply(policies: FakePolicies) -> None:
    policies.grant(EVE)
    writer = await reading(policies)
    await writer.write([DesiredGrant(ANN), DesiredGrant(BOB)], ())
    assert writer.present == {ANN, BOB, EVE}
    assert writer.added == {ANN, BOB}
    assert (writer.principals, writer.writes, policies.reads) == (3, 1, 1)


async def test_nothing_is_written_where_nothing_differs(policies: FakePolicies) -> None:
    policies.grant(ANN)
    writer = await reading(policies)
    await writer.write([DesiredGrant(ANN)], [Release(BOB)])
    assert (writer.writes, writer.added, policies.sets) == (0, set(), 0)


async def test_a_release_is_owed_until_it_is_gone(policies: FakePolicies) -> None:
    policies.grant(ANN)
    writer = await reading(policies)
    assert writer.owes([Release(ANN)])
    await writer.write((), [Release(ANN)])
    assert not writer.owes([Release(ANN)])


async def test_a_member_listed_twice_counts_twice(policies: FakePolicies) -> None:
    policies.grant(ANN)
    policies.grant(ANN, "user:Ann@acme.example")
    writer = await reading(policies)
    assert writer.principals == 2
    assert writer.present == {ANN}


async def test_a_lost_race_merges_into_what_the_winner_wrote(policies: FakePolicies) -> None:
    policies.before_set = [lambda: policies.grant(EVE)]
    writer = await reading(policies)
    await writer.write([DesiredGrant(ANN)], ())
    assert policies.present(TARGET) == {ANN, EVE}
    assert (writer.added, writer.writes) == ({ANN}, 1)


async def test_a_grant_that_the_winner_made_is_not_ours(policies: FakePolicies) -> None:
    policies.before_set = [lambda: policies.grant(ANN)]
    writer = await reading(policies)
    await writer.write([DesiredGrant(ANN)], ())
    assert writer.present == {ANN}
    assert (writer.added, writer.writes, policies.sets) == (set(), 0, 1)


async def test_tries_against_other_writers_have_a_bound(policies: FakePolicies) -> None:
    policies.before_set = [lambda: policies.grant(EVE)] * 100
    writer = await reading(policies)
    with pytest.raises(GoogleError) as caught:
        await writer.write([DesiredGrant(ANN)], ())
    assert caught.value.fault is Fault.ABORTED
    assert policies.sets == ATTEMPTS
    assert ANN not in policies.present(TARGET)


async def test_a_write_whose_reply_is_lost_is_ours_and_made_once(policies: FakePolicies) -> None:
    policies.after_set = [lost]
    writer = await reading(policies)
    await writer.write([DesiredGrant(ANN)], ())
    assert (writer.added, writer.writes, policies.sets) == ({ANN}, 1, 1)
    assert writer.present == {ANN}


async def test_what_somebody_else_makes_while_ours_was_not_even_sent_is_theirs(
    policies: FakePolicies,
) -> None:
    def overtaken() -> None:
        policies.grant(ANN)
        raise unsent()

    policies.before_set = [overtaken]
    writer = await reading(policies)
    with pytest.raises(GoogleError):
        await writer.write([DesiredGrant(ANN)], ())
    assert (writer.added, writer.writes, policies.sets) == (set(), 0, 1)


async def test_a_lost_reply_does_not_hide_what_is_still_to_do(policies: FakePolicies) -> None:
    def lost_and_undone() -> None:
        policies.revoke(BOB)
        lost()

    policies.after_set = [lost_and_undone]
    writer = await reading(policies)
    await writer.write([DesiredGrant(ANN), DesiredGrant(BOB)], ())
    assert writer.present == {ANN, BOB}
    assert writer.added == {ANN, BOB}
    assert policies.sets == 2


async def test_a_write_that_never_arrived_is_made_again(policies: FakePolicies) -> None:
    policies.before_set = [lost]
    writer = await reading(policies)
    await writer.write([DesiredGrant(ANN)], ())
    assert writer.present == {ANN}
    assert (writer.writes, policies.sets) == (1, 2)


async def test_writes_whose_replies_are_all_lost_have_a_bound(policies: FakePolicies) -> None:
    policies.before_set = [lost] * 100
    writer = await reading(policies)
    with pytest.raises(GoogleError) as caught:
        await writer.write([DesiredGrant(ANN)], ())
    assert caught.value.fault is Fault.UNAVAILABLE
    assert policies.sets == ATTEMPTS


@pytest.mark.parametrize("kind", sorted(set(Fault) - {Fault.ABORTED, Fault.UNAVAILABLE}))
async def test_any_other_fault_is_not_tried_again(policies: FakePolicies, kind: Fault) -> None:
    writer = await reading(policies)
    policies.faults = [fault(kind)]
    with pytest.raises(GoogleError) as caught:
        await writer.write([DesiredGrant(ANN)], ())
    assert caught.value.fault is kind
    assert policies.sets == 1


async def test_a_policy_that_google_takes_as_it_stands_is_writable(policies: FakePolicies) -> None:
    policies.grant(EVE)
    writer = await reading(policies)
    assert await writer.is_writable()
    assert policies.present(TARGET) == {EVE}
    assert (writer.writes, writer.added) == (1, set())
    await writer.write([DesiredGrant(ANN)], ())
    assert policies.sets == 2, "the etag of its reply is the next write's"


@pytest.mark.parametrize("kind", [Fault.INVALID_ARGUMENT, Fault.FAILED_PRECONDITION])
async def test_a_policy_that_google_refuses_as_it_stands_is_not(policies: FakePolicies, kind: Fault) -> None:
    policies.grant(EVE)
    policies.refused, policies.refusal = {EVE.member}, kind
    writer = await reading(policies)
    assert not await writer.is_writable()
    assert writer.writes == 0


async def test_who_lost_to_another_writer_knows_that_it_is_writable(policies: FakePolicies) -> None:
    writer = await reading(policies)
    policies.grant(EVE)
    assert await writer.is_writable()
    assert writer.writes == 0


async def test_any_other_fault_says_nothing_of_whether_it_is_writable(policies: FakePolicies) -> None:
    writer = await reading(policies)
    policies.faults = [fault(Fault.PERMISSION_DENIED)]
    with pytest.raises(GoogleError):
        await writer.is_writable()


# Other writers who never rest.


class LedgerView(FakePolicies):
    """As slow as Google was recorded, which looks at the end of a call; who writes counts in `lost`."""

    def __init__(self) -> None:
        super().__init__(latency=0.176)
        self.create(TARGET)
        self.lost = 0

    async def set(self, target: Target, policy: Policy) -> Policy:
        try:
            await asyncio.sleep(0.786 - self.latency)
            return await super().set(target, policy)
        except GoogleError:
            self.lost += 1
            raise


async def write_about_once_a_second(policies: LedgerView, number: int) -> None:
    """What loses is left for the next time."""
    grant = Grant(TARGET, "roles/viewer", f"user:other-{number}@acme.example")
    await asyncio.sleep(number / 10)
    while True:
        policy = await policies.get(TARGET)
        stands = grant in grants_in(policy, TARGET)
        merged = merge(policy, () if stands else [DesiredGrant(grant)], [Release(grant)] if stands else ())
        await asyncio.sleep(0.786 - policies.latency)
        with suppress(GoogleError):
            await FakePolicies.set(policies, TARGET, merged.policy)
        await asyncio.sleep(random.uniform(0, 0.1))


@pytest.mark.parametrize(("others", "most_lost"), [(0, 0.0), (1, 1.5), (10, 3.0)])
async def test_a_busy_policy_costs_few_lost_writes(others: int, most_lost: float) -> None:
    random.seed(4)
    policies = LedgerView()
    writing = [asyncio.create_task(write_about_once_a_second(policies, number)) for number in range(others)]
    await asyncio.sleep(3)
    passes = 12
    for number in range(passes):
        writer = PolicyWriter(TARGET, policies, attempts=8)
        await writer.read()
        await writer.write(
            [DesiredGrant(Grant(TARGET, "roles/run.invoker", f"user:{number}@acme.example"))], ()
        )
    for task in writing:
        task.cancel()
    assert policies.lost / passes <= most_lost
