"""Terms of requested grants: which are over, and what the guardrails are asked about them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cloudrun_identity.api import GrantState, Reason
from cloudrun_identity.iam.expiry import Expiry, Term, as_granted
from cloudrun_identity.iam.grants import Grant, IAMCondition, Target
from cloudrun_identity.ledger.model import entry_of
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.ledger.temporary_grants import record_of
from cloudrun_identity.policy.desired_grants import DesiredGrant, Temporary
from cloudrun_identity.reconcile.grants.claims import claimed_grants
from cloudrun_identity.reconcile.grants.members import GrantMember
from cloudrun_identity.reconcile.grants.resolver import GrantResolver, RequestedGrant, ResolvedGrants
from cloudrun_identity.reconcile.outcomes import Refused
from tests.unit.controllers.cluster_state import FakeClusterState, project

from .fake_roles import FakeRoles

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
WEB = Owner("IAMBinding", "payments", "web", "uid-1")
HOME, SQL = Target.project("payments-prod-1234"), "roles/cloudsql.client"
ANN = "user:ann@example.com"
GRANT = Grant(HOME, SQL, ANN)


def entry(**fields: Any) -> dict[str, Any]:
    return {"roles": [SQL], "targetKinds": ["Project"], "members": ["*"], "namespaces": ["*"]} | fields


def request(expiry: Expiry | None, condition: IAMCondition | None = None) -> RequestedGrant:
    return RequestedGrant("spec.members[0]", HOME, SQL, GrantMember(ANN), condition=condition, expiry=expiry)


async def resolved(
    *requested: RequestedGrant,
    term: Term | None = None,
    owner: Owner = WEB,
    by_google: bool = False,
    **guardrails: Any,
) -> ResolvedGrants:
    """Resolve requests at noon; `term` is what the ledger records for the object."""
    delegated = project(guardrails={"grants": [entry()], **guardrails})
    cluster = FakeClusterState(delegated)
    if term:
        record = record_of(GRANT, str(WEB), term, by_google=by_google)
        cluster.temporary = {(WEB.owner_key, GRANT): record}
    resolver = GrantResolver(FakeRoles(), lambda: NOON)
    return await resolver.resolve(requested, "payments", delegated, cluster, 0.0, owner=owner)


async def test_temporary_grant_is_desired_with_its_end() -> None:
    expiry = Expiry(duration=HOUR)
    found = await resolved(request(expiry))
    assert found.desired == {DesiredGrant(GRANT, temporary=Temporary(GRANT, expiry))}


async def test_grant_that_google_ends_too_is_desired_with_the_condition() -> None:
    [found] = (await resolved(request(Expiry(duration=HOUR, by_google=True)))).desired
    assert found.grant.condition is not None
    assert found.grant.condition.expression == 'request.time < timestamp("2026-03-01T13:00:00Z")'
    assert found.temporary is not None
    assert found.temporary.base == GRANT


async def test_condition_is_the_recorded_one_at_the_next_reconcile() -> None:
    expiry = Expiry(duration=2 * HOUR, by_google=True)
    term = Term(NOON - HOUR, NOON + HOUR, is_granted=True)
    [found] = (await resolved(request(expiry), term=term, by_google=True)).desired
    assert found.grant.condition is not None
    assert "13:00:00Z" in found.grant.condition.expression


async def test_grant_that_was_over_before_it_was_made_names_the_field() -> None:
    found = await resolved(request(Expiry(expires_at=NOON)))
    [ended] = found.ended
    assert (found.desired, found.failures, ended.was_granted) == (frozenset(), (), False)
    assert ended.message.startswith("spec.members[0]: 2026-03-01T12:00:00Z was over before")


async def test_grant_that_ended_is_not_made_again() -> None:
    term = Term(NOON - HOUR, NOON, is_granted=True)
    found = await resolved(request(Expiry(duration=HOUR)), term=term)
    [ended] = found.ended
    assert (found.desired, ended.was_granted) == (frozenset(), True)


async def test_guardrails_are_not_asked_about_a_grant_that_ended() -> None:
    term = Term(NOON - HOUR, NOON, is_granted=True)
    found = await resolved(request(Expiry(duration=HOUR)), term=term, grants=[])
    assert (found.failures, found.retains) == ((), ())


async def test_recreated_object_makes_a_new_request() -> None:
    term = Term(NOON - HOUR, NOON, is_granted=True)
    found = await resolved(request(Expiry(duration=HOUR)), term=term, owner=replace(WEB, uid="uid-2"))
    assert {each.grant for each in found.desired} == {GRANT}


@pytest.mark.parametrize(
    ("expiry", "admitted"),
    [
        (None, False),
        (Expiry(duration=2 * HOUR), True),
        (Expiry(duration=3 * HOUR), False),
        (Expiry(expires_at=NOON + HOUR), True),
        (Expiry(expires_at=NOON + 2 * HOUR), False),
    ],
)
async def test_longest_duration_counts_from_when_the_grant_was_first_made(
    expiry: Expiry | None, admitted: bool
) -> None:
    """The grant was made an hour ago, so that an edit can extend it by one more hour only."""
    term = Term(NOON - HOUR, NOON + HOUR, is_granted=True)
    found = await resolved(request(expiry), term=term, grants=[entry(maxDuration="2h")])
    assert bool(found.desired) is admitted


async def test_last_end_of_a_grant_that_is_declared_twice_counts() -> None:
    first, second = (Expiry(expires_at=NOON + hours * HOUR) for hours in (1, 2))
    for requests in ((first, second), (second, first), (first, second, Expiry(expires_at=NOON))):
        found = await resolved(*map(request, requests))
        assert [each.temporary.expiry for each in found.desired if each.temporary] == [second]
        assert found.ended == ()


async def test_declaration_without_an_end_makes_a_grant_permanent() -> None:
    found = await resolved(request(Expiry(expires_at=NOON + HOUR)), request(None))
    assert found.desired == {DesiredGrant(GRANT)}


async def test_permanent_duplicate_that_is_denied_does_not_deny_the_temporary_one() -> None:
    found = await resolved(request(Expiry(duration=HOUR)), request(None), grants=[entry(maxDuration="2h")])
    assert {each.grant for each in found.desired} == {GRANT}
    assert len(found.failures) == 1


async def test_condition_that_is_too_long_with_its_end_is_refused() -> None:
    condition = IAMCondition("long", "", f"resource.name == '{'x' * 2020}'")
    found = await resolved(request(Expiry(duration=HOUR, by_google=True), condition))
    [failure] = found.failures
    assert isinstance(failure.outcome, Refused)
    assert failure.outcome.reason is Reason.INVALID_SPEC
    assert "expiryEnforcedBy" in failure.outcome.message


@pytest.mark.parametrize("by_google", [False, True])
def test_longest_duration_does_not_prevent_the_claim_of_a_grant(by_google: bool) -> None:
    delegated = project(guardrails={"grants": [entry(maxDuration="1h", claim=True, conditions=["true"])]})
    declared = replace(GRANT, condition=IAMCondition("always", expression="true"))
    end = NOON + HOUR
    granted = as_granted(declared, end, by_google=by_google)
    entries = {granted: entry_of(granted, [str(WEB)], GrantState.GRANTED, present_before=True)}
    cluster = FakeClusterState(delegated, entries=entries)
    record = record_of(declared, str(WEB), Term(NOON, end, is_granted=True), by_google=by_google)
    cluster.temporary = {(WEB.owner_key, declared): record}
    assert claimed_grants(WEB, [HOME], cluster) == {granted}
