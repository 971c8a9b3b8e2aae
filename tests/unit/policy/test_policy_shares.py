from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.api import GrantState, LedgerEntry
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.shares import Budget
from cloudrun_identity.ledger.model import entry_of
from cloudrun_identity.policy.desired_grants import DesiredGrant
from cloudrun_identity.policy.policy_shares import over_share, policy_budget

TARGET = Target.project("payments-prod-1234")
TEAMS = frozenset({"shop", "bank", "news"})


def grants(namespace: str, count: int) -> dict[Grant, LedgerEntry]:
    return {
        grant: entry_of(grant, [f"IAMBinding/{namespace}/b/u"], GrantState.GRANTED)
        for number in range(count)
        for grant in [Grant(TARGET, "roles/run.viewer", f"user:{namespace}-{number}@example.com")]
    }


def refused(
    entries: dict[Grant, LedgerEntry], present: Iterable[Grant], limit: int, principals: int
) -> set[Grant]:
    there = frozenset(present)
    budget: Budget = policy_budget(entries, there, TEAMS, limit=limit, principals=principals)
    return set(over_share(map(DesiredGrant, entries), there, entries, budget))


def test_flood_of_one_namespace_leaves_the_share_of_the_others() -> None:
    flood = grants("shop", 40)
    assert len(flood) - len(refused(flood, (), 30, 0)) == 10
    later = grants("bank", 12)
    there = [grant for grant in flood if grant not in refused(flood, (), 30, 0)]
    assert len(refused(flood | later, there, 30, 10) & set(later)) == 2


def test_grants_that_are_present_are_never_refused() -> None:
    flood = grants("shop", 25)
    assert not refused(flood, flood, 30, 25)


def test_unmanaged_principals_make_the_shares_smaller() -> None:
    flood = grants("shop", 40)
    assert len(flood) - len(refused(flood, (), 30, 15)) == 5


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 60), st.integers(0, 20))
def test_every_namespace_gets_its_share_whoever_comes_first(
    first: int, second: int, limit: int, unmanaged: int
) -> None:
    both = grants("shop", first) | grants("bank", second)
    granted = both.keys() - refused(both, (), limit, unmanaged)
    share = max(0, limit - unmanaged) // len(TEAMS)
    for namespace, wanted in (("shop", first), ("bank", second)):
        got = sum(f":{namespace}-" in grant.member for grant in granted)
        assert got >= min(wanted, share)
