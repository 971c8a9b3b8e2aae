"""The objects that a dry run has to reconcile, and the groups in which it does."""

from collections.abc import Iterable

from cloudrun_identity.plan.reports import CONCURRENT, groups_of
from cloudrun_identity.plan.scope import Scope
from cloudrun_identity.reconcile.cluster_state import ObjectKey

WEB, JOBS = ObjectKey("CloudRunIdentity", "shop", "web"), ObjectKey("CloudRunIdentity", "shop", "jobs")
BINDING, PROJECT = ObjectKey("IAMBinding", "shop", "viewers"), ObjectKey("ManagedProject", "", "shop")


class References:
    """The references between objects."""

    def __init__(self, referrers: dict[ObjectKey, set[ObjectKey]]) -> None:
        self._referrers = referrers

    def referrers(self, key: ObjectKey) -> Iterable[ObjectKey]:
        return self._referrers.get(key, ())


def test_object_is_due_until_its_reconcile_begins() -> None:
    scope = Scope()
    scope.update([WEB], [JOBS])
    scope.begin([WEB])
    assert scope.due == {JOBS}
    assert set(scope) == {WEB, JOBS}


def test_change_during_a_reconcile_makes_the_object_due_again() -> None:
    scope = Scope()
    scope.update([WEB])
    scope.begin([WEB])
    scope.update(iter([WEB]))
    assert scope.due == {WEB}
    assert len(scope) == 1


def test_deleted_object_is_neither_in_scope_nor_due() -> None:
    scope = Scope()
    scope.update([WEB])
    scope.discard(WEB)
    assert (scope.due, WEB in scope) == (frozenset(), False)


def test_referred_objects_are_reconciled_in_an_earlier_group() -> None:
    references = References({JOBS: {WEB}, PROJECT: {WEB, JOBS, BINDING}, WEB: {BINDING}})
    groups = list(groups_of([WEB, BINDING, PROJECT, JOBS], references))
    assert groups == [(0, [PROJECT]), (1, [JOBS]), (2, [WEB]), (3, [BINDING])]


def test_many_objects_of_a_kind_are_divided_into_groups() -> None:
    keys = [ObjectKey("IAMBinding", "shop", f"{number:05}") for number in range(CONCURRENT + 2)]
    assert [(start, len(group)) for start, group in groups_of(keys, References({}))] == [
        (0, CONCURRENT),
        (CONCURRENT, 2),
    ]


def test_waiting_object_is_due_after_a_change_until_its_reconcile_begins() -> None:
    scope = Scope()
    scope.update([WEB, JOBS])
    scope.begin([WEB, JOBS])
    scope.wait([WEB])
    assert scope.due == frozenset()
    scope.requeue_waiting()
    assert scope.due == {WEB}
    scope.begin([WEB])
    scope.requeue_waiting()
    assert scope.due == frozenset()


def test_deleted_object_does_not_wait() -> None:
    scope = Scope()
    scope.wait([WEB])
    scope.discard(WEB)
    scope.requeue_waiting()
    assert scope.due == frozenset()
