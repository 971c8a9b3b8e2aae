"""Owners of grants, from ledgers."""

from cloudrun_identity.api import GrantState
from cloudrun_identity.commands.managed_grants import ManagedGrants
from cloudrun_identity.iam.access import AccessPath, AllowBinding
from cloudrun_identity.iam.grants import Grant, IAMCondition, Target
from cloudrun_identity.ledger.model import Ledger, changed_entry, entry_of

PROJECT = Target.project("shop-1234")
OWNER = "IAMBinding/payments/viewers/1"
ANN = "user:ann@example.com"


def ledger(*, state: GrantState = GrantState.GRANTED, present_before: bool = False) -> Ledger:
    grant = Grant(PROJECT, "roles/viewer", ANN)
    return Ledger.of(PROJECT, {grant: entry_of(grant, [OWNER], state, present_before=present_before)})


def path(member: str = ANN, role: str = "roles/viewer", condition: IAMCondition | None = None) -> AccessPath:
    return AccessPath(AllowBinding("Project shop-1234", role, (member,), condition), member)


def test_grant_of_a_ledger_is_managed_by_its_owner() -> None:
    managed = ManagedGrants([ledger()], "shop-1234")
    assert managed.owners(path()) == ("IAMBinding payments/viewers",)
    assert managed.owners(path("user:Ann@example.com")) == ("IAMBinding payments/viewers",)


def test_other_grants_of_the_policy_are_unmanaged() -> None:
    managed = ManagedGrants([ledger()], "shop-1234")
    others = (path("user:bob@example.com"), path(role="roles/editor"), path(condition=IAMCondition("x")))
    assert [managed.owners(each) for each in others] == [(), (), ()]


def test_grant_that_was_not_made_by_the_operator_is_unmanaged() -> None:
    for other in (ledger(state=GrantState.PENDING), ledger(present_before=True)):
        assert ManagedGrants([other], "shop-1234").owners(path()) == ()
    assert ManagedGrants([ledger()], "other").owners(path()) == ()


def test_registered_form_of_a_member_is_managed() -> None:
    grant = Grant(PROJECT, "roles/viewer", ANN)
    primary = "user:ann.smith@example.com"
    entry = changed_entry(entry_of(grant, [OWNER], GrantState.GRANTED), registered_members=(primary,))
    managed = ManagedGrants([Ledger.of(PROJECT, {grant: entry})], "shop-1234")
    assert managed.owners(path(primary)) == ("IAMBinding payments/viewers",)
