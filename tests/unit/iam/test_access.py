"""Decisions whether a principal has a permission, and who has it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.api import TargetKind
from cloudrun_identity.iam.access import (
    AccessFacts,
    AccessResult,
    AllowBinding,
    access_of,
    combined,
    members_with,
)
from cloudrun_identity.iam.access_questions import (
    AccountFacts,
    WorkloadFacts,
    by_principal,
    result_of,
    what_can,
    who_acts_as,
    who_invokes,
)
from cloudrun_identity.iam.boundaries import Boundary
from cloudrun_identity.iam.deny_rules import DenyRule
from cloudrun_identity.iam.grants import IAMCondition, Target

ANN, BOB, OPS = "user:ann@example.com", "user:bob@example.com", "group:ops@example.com"
ACCOUNT = "serviceAccount:web@shop-1234.iam.gserviceaccount.com"
ACT_AS, TOKEN = "iam.serviceAccounts.actAs", "iam.serviceAccounts.getAccessToken"
USER, CUSTOM, DEVELOPER, INVOKER = "roles/user", "organizations/9/roles/custom", "roles/dev", "roles/invoker"
PERMISSIONS = {
    USER: frozenset({ACT_AS}),
    DEVELOPER: frozenset({"run.services.update"}),
    INVOKER: frozenset({"run.routes.invoke"}),
}
DENY = DenyRule(
    "deny policy lock on Project shop-1234",
    ("principal://goog/subject/ann@example.com",),
    ("iam.googleapis.com/serviceAccounts.actAs",),
)


def binding(*members: str, role: str = USER, condition: str = "") -> AllowBinding:
    expression = IAMCondition("by day", expression=condition) if condition else None
    return AllowBinding("Project shop-1234", role, members, expression)


def facts(*bindings: AllowBinding, deny: tuple[DenyRule, ...] = ()) -> AccessFacts:
    return AccessFacts(bindings, PERMISSIONS, deny)


def result(found: AccessFacts, principal: str = ANN, permission: str = ACT_AS) -> AccessResult:
    return access_of(found, principal, permission).result


def test_unconditional_binding_of_the_principal_is_yes() -> None:
    access = access_of(facts(binding(ANN), binding(OPS)), ANN, ACT_AS)
    assert (access.result, access.reasons) == (AccessResult.YES, ())
    assert [path.member for path in access.paths] == [ANN]


def test_group_domain_and_condition_are_depends_with_the_reason() -> None:
    access = access_of(facts(binding(OPS), binding(ANN, condition="x < y")), ANN, ACT_AS)
    assert access.result is AccessResult.DEPENDS
    assert access.reasons == (f"the membership of {ANN} in {OPS}", "the condition by day: x < y")
    assert result(facts(binding("domain:example.com"))) is AccessResult.DEPENDS


@pytest.mark.parametrize("function", ["matchTag", "matchTagId", "hasTagKey", "hasTagKeyId"])
def test_condition_on_resource_tags_is_depends_because_tags_are_not_read(function: str) -> None:
    tagged = f"resource.{function}('9/env')"
    access = access_of(facts(binding(ANN, condition=tagged)), ANN, ACT_AS)
    assert access.result is AccessResult.DEPENDS
    assert access.reasons == (f"the condition by day: {tagged}, and resource tags are not read",)


def test_no_binding_is_no_unless_a_policy_was_not_read() -> None:
    nothing = facts(binding(BOB), binding(ANN, role="roles/missing"))
    assert access_of(nothing, ANN, ACT_AS).reasons == (f"no binding grants {ACT_AS}",)
    unread = replace(nothing, unread_allow=("the allow policy of Folder 12: denied",))
    access = access_of(unread, ANN, ACT_AS)
    assert (access.result, access.reasons) == (AccessResult.DEPENDS, unread.unread_allow)
    assert result(replace(facts(binding(ANN)), unread_allow=("Folder 12",))) is AccessResult.YES


def test_role_that_cannot_be_read_is_depends() -> None:
    unread = replace(facts(binding(ANN, role=CUSTOM)), permissions={CUSTOM: None})
    access = access_of(unread, ANN, ACT_AS)
    assert (access.result, access.reasons) == (
        AccessResult.DEPENDS,
        (f"the permissions of {CUSTOM}, which could not be read",),
    )


def test_deny_rule_for_the_principal_is_no() -> None:
    access = access_of(facts(binding(ANN), deny=(DENY,)), ANN, ACT_AS)
    assert (access.result, access.reasons) == (AccessResult.NO, (f"{DENY.policy} denies it",))
    assert result(facts(binding(BOB), deny=(DENY,)), BOB) is AccessResult.YES


def test_deny_rule_has_wildcards_exceptions_and_services() -> None:
    denied = binding(ANN)
    for pattern in ("iam.googleapis.com/serviceAccounts.*", "iam.googleapis.com/*"):
        assert result(facts(denied, deny=(replace(DENY, permissions=(pattern,)),))) is AccessResult.NO
    spared = replace(DENY, permissions=("iam.googleapis.com/*",), excepted_permissions=DENY.permissions)
    assert result(facts(denied, deny=(spared,))) is AccessResult.YES
    excepted = replace(
        DENY, principals=("principalSet://goog/public:all",), excepted_principals=DENY.principals
    )
    assert result(facts(denied, deny=(excepted,))) is AccessResult.YES
    assert result(facts(binding(BOB), deny=(excepted,)), BOB) is AccessResult.NO
    project = DenyRule("p", DENY.principals, ("cloudresourcemanager.googleapis.com/projects.get",))
    get = AccessFacts((denied,), {USER: frozenset({"resourcemanager.projects.get"})}, (project,))
    assert result(get, ANN, "resourcemanager.projects.get") is AccessResult.NO


def test_deny_rule_for_a_group_or_with_a_condition_is_depends() -> None:
    group = replace(DENY, principals=("principalSet://goog/group/ops@example.com",))
    assert result(facts(binding(ANN), deny=(group,))) is AccessResult.DEPENDS
    conditional = replace(DENY, condition='resource.matchTag("9/env", "prod")')
    access = access_of(facts(binding(ANN), deny=(conditional,)), ANN, ACT_AS)
    assert access.result is AccessResult.DEPENDS
    assert "matchTag" in access.reasons[0]


def test_deny_rule_for_one_user_makes_a_group_depend_on_it() -> None:
    access = access_of(facts(binding(OPS), deny=(DENY,)), OPS, ACT_AS)
    assert (access.result, access.reasons) == (
        AccessResult.DEPENDS,
        (f"{DENY.policy}, which denies it to {ANN}",),
    )


def test_unread_deny_policy_is_unknown_and_not_none() -> None:
    unread = replace(facts(binding(ANN)), unread_limits=("the deny policies of Folder 12: denied",))
    access = access_of(unread, ANN, ACT_AS)
    assert (access.result, access.reasons) == (AccessResult.DEPENDS, unread.unread_limits)


def test_boundary_limits_the_principals_that_it_is_bound_to() -> None:
    host = "//cloudresourcemanager.googleapis.com"
    of_project = Boundary("boundary own", f"{host}/projects/1", "shop-1234")
    limited = replace(facts(binding(ANN, ACCOUNT, "allUsers")), boundaries=(of_project,))
    assert result(limited) is AccessResult.YES
    assert result(limited, ACCOUNT) is AccessResult.DEPENDS
    assert result(limited, "serviceAccount:web@other.iam.gserviceaccount.com") is AccessResult.YES
    of_organization = replace(limited, boundaries=(Boundary("b", f"{host}/organizations/9"),))
    assert result(of_organization) is AccessResult.DEPENDS
    assert result(of_organization, "allUsers") is AccessResult.YES
    workspace = Boundary("b", "//iam.googleapis.com/locations/global/workspace/C1")
    assert (workspace.may_limit(ANN), workspace.may_limit(ACCOUNT)) == (True, False)


def test_members_are_listed_once_without_deleted_ones() -> None:
    found = facts(binding(ANN, f"deleted:{ACCOUNT}?uid=1"), binding("user:Ann@example.com", OPS))
    assert members_with(found, ACT_AS) == (OPS, ANN)


def test_answer_that_needs_two_accesses_is_the_weaker_one() -> None:
    yes, no = access_of(facts(binding(ANN)), ANN, ACT_AS), access_of(facts(), ANN, ACT_AS)
    depends = access_of(facts(binding(OPS)), ANN, ACT_AS)
    assert combined(ANN, (yes, depends)).result is AccessResult.DEPENDS
    assert combined(ANN, (yes, depends, no)).result is AccessResult.NO
    assert combined(ANN, (yes, yes)).result is AccessResult.YES


def account(
    *on_account: AllowBinding, service: tuple[AllowBinding, ...] = (), public: bool = False
) -> AccountFacts:
    email = ACCOUNT.partition(":")[2]
    web = Target(TargetKind.SERVICE, "shop-1234", "europe-west1", "web")
    workload = WorkloadFacts(web, email, facts(*service), public)
    target = Target.service_account("shop-1234", email)
    return AccountFacts(target, facts(*on_account), facts(), (workload,))


def test_deployer_may_act_as_the_account_and_write_its_workload() -> None:
    found = account(binding(ANN, BOB), service=(binding(ANN, "group:dev@example.com", role=DEVELOPER),))
    answers = by_principal(who_acts_as(found))
    assert {principal: [each.ability.name for each in rows] for principal, rows in answers.items()} == {
        ANN: ["attach", "deploy"],
        BOB: ["attach", "deploy"],
    }
    assert [answers[principal][1].access.result for principal in (ANN, BOB)] == [
        AccessResult.YES,
        AccessResult.DEPENDS,  # Bob may be in the group
    ]


def test_question_about_one_principal_includes_the_answer_no() -> None:
    answers = who_acts_as(account(binding(BOB)), ANN)
    assert {answer.access.result for answer in answers} == {AccessResult.NO}
    assert result_of(answers) is AccessResult.NO
    assert result_of(()) is AccessResult.NO


def test_public_service_is_invoked_by_everybody() -> None:
    (workload,) = account(public=True).workloads
    (answer,) = who_invokes(workload)
    assert (answer.access.principal, answer.access.result) == ("allUsers", AccessResult.YES)
    (answer,) = who_invokes(workload, ANN)
    assert (answer.access.principal, answer.access.result) == (ANN, AccessResult.YES)


def test_what_a_principal_can_do_leaves_out_what_it_cannot() -> None:
    found = account(binding(ANN), service=(binding(ANN, role=INVOKER),))
    abilities = [answer.ability.name for answer in what_can(ANN, (found,), found.workloads)]
    assert abilities == ["attach", "invoke"]
    assert what_can(BOB, (found,), found.workloads) == ()


PRINCIPALS = st.sampled_from(
    [ANN, BOB, OPS, ACCOUNT, "allUsers", "allAuthenticatedUsers", "domain:example.com"]
)
BINDINGS = st.builds(
    lambda members, role, condition: binding(*members, role=role, condition=condition),
    st.lists(PRINCIPALS, min_size=1, max_size=3),
    st.sampled_from([USER, DEVELOPER, CUSTOM]),
    st.sampled_from(["", "", "false"]),
)
POLICIES = st.lists(BINDINGS, max_size=4)
RANK = {AccessResult.NO: 0, AccessResult.DEPENDS: 1, AccessResult.YES: 2}


@given(POLICIES, BINDINGS, PRINCIPALS)
def test_further_binding_never_takes_access_away(
    policy: list[AllowBinding], further: AllowBinding, principal: str
) -> None:
    before, after = result(facts(*policy), principal), result(facts(*policy, further), principal)
    assert RANK[before] <= RANK[after]


@given(POLICIES, PRINCIPALS, PRINCIPALS)
def test_deny_rule_never_gives_access(policy: list[AllowBinding], denied: str, principal: str) -> None:
    rule = replace(DENY, principals=(denied,))
    before, after = result(facts(*policy), principal), result(facts(*policy, deny=(rule,)), principal)
    assert RANK[after] <= RANK[before]


@given(POLICIES)
def test_every_listed_member_has_a_path_and_every_other_has_none(policy: list[AllowBinding]) -> None:
    found = facts(*policy)
    listed = members_with(found, ACT_AS)
    for member in listed:
        assert access_of(found, member, ACT_AS, direct=True).paths
    if not {"allUsers", "allAuthenticatedUsers"} & {*listed}:
        for principal in {ANN, BOB, OPS, ACCOUNT} - {*listed}:
            assert access_of(found, principal, ACT_AS, direct=True).result is AccessResult.NO


@given(POLICIES, PRINCIPALS)
def test_unread_policy_never_makes_an_answer_certain(policy: list[AllowBinding], principal: str) -> None:
    unread = replace(facts(*policy), unread_allow=("x",), unread_limits=("y",))
    assert result(unread, principal) is AccessResult.DEPENDS
