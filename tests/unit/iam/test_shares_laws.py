from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.iam.shares import Budget

TEAMS = tuple(f"team-{number}" for number in range(6))

budgets = st.builds(
    Budget,
    limit=st.integers(0, 60),
    others=st.integers(0, 20),
    namespaces=st.frozensets(st.sampled_from(TEAMS), min_size=1),
)
requests = st.lists(st.tuples(st.sampled_from(TEAMS), st.integers(1, 12)), max_size=40)


def use(budget: Budget, wanted: list[tuple[str, int]]) -> Budget:
    for namespace, amount in wanted:
        budget = budget.with_use(namespace, min(amount, budget.room_for(namespace)))
    return budget


@given(budgets, requests)
def test_all_together_never_exceed_the_limit(budget: Budget, wanted: list[tuple[str, int]]) -> None:
    assert use(budget, wanted).total <= max(budget.limit, budget.others)


@given(budgets, requests)
def test_every_namespace_may_use_its_share_whatever_others_do(
    budget: Budget, wanted: list[tuple[str, int]]
) -> None:
    budget = use(budget, wanted)
    for namespace in budget.namespaces:
        lacking = budget.share - budget.used.get(namespace, 0)
        assert budget.room_for(namespace) >= lacking


@given(budgets, requests)
def test_what_is_not_set_aside_is_for_all(budget: Budget, wanted: list[tuple[str, int]]) -> None:
    budget = use(budget, wanted)
    set_aside = sum(max(0, budget.share - budget.used.get(each, 0)) for each in budget.namespaces)
    free = max(0, budget.limit - budget.total)
    for namespace in budget.namespaces:
        assert budget.room_for(namespace) >= free - set_aside


@given(budgets, requests)
def test_without_shares_the_first_may_use_all(budget: Budget, wanted: list[tuple[str, int]]) -> None:
    budget = use(replace(budget, namespaces=frozenset()), wanted)
    assert budget.room_for("team-0") == max(0, budget.limit - budget.total)


def test_a_single_namespace_may_use_all() -> None:
    assert Budget(10, {"shop": 7}, 2, frozenset({"shop"})).room_for("shop") == 1


def test_admission_of_a_namespace_takes_nothing_from_others() -> None:
    budget = Budget(10, {"shop": 10}, namespaces=frozenset({"shop", "bank"}))
    assert (budget.room_for("shop"), budget.room_for("bank")) == (0, 0)
    freed = replace(budget, used={"shop": 7})
    assert (freed.room_for("shop"), freed.room_for("bank")) == (0, 3)


def test_namespace_that_is_not_admitted_has_no_share() -> None:
    budget = Budget(10, namespaces=frozenset({"shop", "bank", "news"}))
    assert budget.room_for("mallory") == 1
