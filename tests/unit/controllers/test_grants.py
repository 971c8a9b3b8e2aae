"""From members and wishes to claims, holds and obstacles."""

from typing import Any

import pytest

from cloudrun_identity.api import GrantState, Member, Reason, TargetKind
from cloudrun_identity.controllers.grants import Holder, Judge, Members, Nobody, Wish, Wishes
from cloudrun_identity.controllers.outcomes import Outcome, Refused, Waiting
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.iam.claims import Claim, Hold
from cloudrun_identity.iam.grants import Grant, Target

from .world import EMAIL, PROJECT, FakeWorld, identity, project, record

HOME = Target(TargetKind.PROJECT, "payments-prod-1234")
SQL = "roles/cloudsql.client"
ANN = Holder("user:ann@example.com")


class FakeRoles:
    """Roles without any permission that escalates; `faults` by role, `read` are those that were asked for."""

    def __init__(self, **faults: Fault) -> None:
        self.faults = {f"roles/{name}": fault for name, fault in faults.items()}
        self.read: list[str] = []

    async def permissions(self, role: str, project_id: str, max_age: float) -> frozenset[str]:
        self.read.append(role)
        if role in self.faults:
            raise GoogleError(self.faults[role], "google.iam.admin.v1.IAM/GetRole", "no such role")
        return frozenset({"cloudsql.instances.connect"})


def resolve(member: dict[str, Any], world: FakeWorld, namespace: str = "payments") -> Holder | Nobody:
    return Members(world, namespace).resolve(Member.model_validate(member), "spec.members[0]")


def nobody(member: dict[str, Any], world: FakeWorld, namespace: str = "payments") -> Outcome:
    holder = resolve(member, world, namespace)
    assert isinstance(holder, Nobody)
    return holder.outcome


async def judged(*wishes: Wish, roles: FakeRoles | None = None, world: FakeWorld | None = None) -> Wishes:
    lent = project()
    judge = Judge(roles or FakeRoles())  # type: ignore[arg-type]
    return await judge.judge(wishes, "payments", lent, world or FakeWorld(lent), 0.0)


def wish(role: str = SQL, holder: Holder | Nobody = ANN, target: Target = HOME) -> Wish:
    return Wish("spec.roles[0]", target, role, holder)


# Members.


def test_a_principal_is_itself_in_the_form_that_policies_are_compared_by() -> None:
    assert resolve({"principal": "user:Ann@Example.com"}, FakeWorld()) == ANN


def test_an_identity_is_its_account_once_that_is_steady() -> None:
    world = FakeWorld(project(), identity(), accounts=[record()])
    assert resolve({"identityRef": {"name": "checkout"}}, world) == Holder(
        f"serviceAccount:{EMAIL}", "111", DeclaredIdentity("payments", "checkout")
    )


def test_an_email_that_an_identity_declares_is_a_reference_to_it() -> None:
    world = FakeWorld(project(), identity(), accounts=[record()])
    named = resolve({"principal": f"serviceAccount:{EMAIL.upper()}"}, world)
    assert named == resolve({"identityRef": {"name": "checkout"}}, world)
    stranger = nobody({"principal": f"serviceAccount:{EMAIL}"}, world, namespace="shop")
    assert isinstance(stranger, Refused)


@pytest.mark.parametrize("accounts", [[], [record(unique_id="")]])
def test_an_identity_without_a_steady_account_is_waited_for(accounts: list[Any]) -> None:
    outcome = nobody({"identityRef": {"name": "checkout"}}, FakeWorld(identity(), accounts=accounts))
    assert isinstance(outcome, Waiting)
    assert outcome.reason is Reason.DEPENDENCY_NOT_READY


def test_an_identity_that_does_not_exist_is_waited_for() -> None:
    outcome = nobody({"identityRef": {"name": "checkout"}}, FakeWorld())
    assert outcome == Waiting(
        Reason.DEPENDENCY_NOT_FOUND, "spec.members[0]: there is no CloudRunIdentity payments/checkout"
    )


def test_another_namespaces_identity_must_allow_it() -> None:
    member = {"identityRef": {"name": "checkout", "namespace": "payments"}}
    closed = FakeWorld(identity(), accounts=[record()])
    outcome = nobody(member, closed, namespace="shop")
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.DENIED_BY_GUARDRAIL
    opened = FakeWorld(identity(allowedNamespaces=["shop"]), accounts=[record()])
    assert isinstance(resolve(member, opened, namespace="shop"), Holder)


def test_a_service_agent_is_that_of_an_admitting_project() -> None:
    member = {"cloudRunServiceAgentOf": {"projectRef": {"name": "payments-prod"}}}
    assert resolve(member, FakeWorld(project())) == Holder(
        "serviceAccount:service-417203958816@serverless-robot-prod.iam.gserviceaccount.com"
    )
    missing, stranger = nobody(member, FakeWorld()), nobody(member, FakeWorld(project()), "stranger")
    unready = nobody(
        member, FakeWorld(project(PROJECT.replace('status: {projectNumber: "417203958816"}', "")))
    )
    assert isinstance(missing, Waiting)
    assert missing.reason is Reason.DEPENDENCY_NOT_FOUND
    assert isinstance(stranger, Refused)
    assert stranger.reason is Reason.DENIED_BY_GUARDRAIL
    assert isinstance(unready, Waiting)
    assert unready.reason is Reason.DEPENDENCY_NOT_READY


# Wishes.


async def test_an_admitted_wish_is_a_claim() -> None:
    holder = Holder(f"serviceAccount:{EMAIL}", "111", DeclaredIdentity("payments", "checkout"))
    wishes = await judged(wish(holder=holder))
    assert wishes == Wishes(frozenset({Claim(Grant(HOME, SQL, holder.member), "111")}))


async def test_equal_wishes_are_one_claim() -> None:
    assert len((await judged(wish(), wish())).claims) == 1


async def test_a_wish_for_nobody_holds_whoever_has_the_role_there() -> None:
    outcome = Waiting(Reason.DEPENDENCY_NOT_FOUND, "there is no such identity")
    wishes = await judged(wish(holder=Nobody("identity:payments/x", outcome)))
    assert wishes.claims == frozenset()
    assert wishes.holds == (Hold(HOME, SQL, prefix="serviceAccount:"),)
    (obstacle,) = wishes.obstacles
    assert obstacle.unresolved
    assert obstacle.state is GrantState.PENDING
    assert (obstacle.member, obstacle.outcome) == ("identity:payments/x", outcome)


async def test_a_wish_that_no_guardrail_admits_holds_just_itself() -> None:
    wishes = await judged(wish("roles/storage.admin"), wish())
    assert {claim.grant.role for claim in wishes.claims} == {SQL}
    assert wishes.holds == (Hold(HOME, "roles/storage.admin", ANN.member),)
    (obstacle,) = wishes.obstacles
    assert not obstacle.unresolved
    assert obstacle.state is GrantState.REJECTED
    assert isinstance(obstacle.outcome, Refused)
    assert obstacle.outcome.reason is Reason.DENIED_BY_GUARDRAIL
    assert obstacle.outcome.message.startswith("spec.roles[0]: ")


@pytest.mark.parametrize("fault", [Fault.NOT_FOUND, Fault.INVALID_ARGUMENT])
async def test_a_role_that_does_not_exist_is_refused(fault: Fault) -> None:
    roles = FakeRoles(**{"cloudsql.client": fault})
    (obstacle,) = (await judged(wish(), roles=roles)).obstacles
    assert obstacle.outcome == Refused(
        Reason.REJECTED,
        f"spec.roles[0]: there is no role {SQL}; a custom role is written projects/PROJECT/roles/ID",
    )


async def test_a_role_that_no_entry_admits_is_not_even_read() -> None:
    roles = FakeRoles()
    (obstacle,) = (await judged(wish("projects/victim/roles/secret"), roles=roles)).obstacles
    assert isinstance(obstacle.outcome, Refused)
    assert roles.read == []


async def test_a_role_that_cannot_be_read_now_freezes_the_wish() -> None:
    roles = FakeRoles(**{"cloudsql.client": Fault.UNAVAILABLE})
    wishes = await judged(wish(), roles=roles)
    assert wishes.holds == (Hold(HOME, SQL, ANN.member),)
    assert not wishes.claims


async def test_a_role_that_is_not_ours_to_read_may_hold_anything() -> None:
    roles = FakeRoles(**{"cloudsql.client": Fault.PERMISSION_DENIED})
    (obstacle,) = (await judged(wish(), roles=roles)).obstacles
    assert isinstance(obstacle.outcome, Refused)
    assert obstacle.outcome.reason is Reason.DENIED_BY_GUARDRAIL
