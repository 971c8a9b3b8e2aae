from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from cloudrun_identity.api import GrantAdmission, ManagedProject, TargetKind
from cloudrun_identity.iam.admission import Admitted, Decision, DeclaredIdentity, Denied, GuardrailFacts
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.guardrails import GrantRequest, decide, incomplete_entries

RUNNER = DeclaredIdentity("flows", "prefect-runner")
RUNNER_EMAIL = "prefect-runner@payments-prod-1234.iam.gserviceaccount.com"
FOREIGN = DeclaredIdentity("shop", "pricing")
FOREIGN_EMAIL = "pricing@payments-prod-1234.iam.gserviceaccount.com"
LEGACY_EMAIL = "legacy@payments-prod-1234.iam.gserviceaccount.com"
IDENTITIES = {RUNNER_EMAIL: RUNNER, FOREIGN_EMAIL: FOREIGN}

PROJECT = Target(TargetKind.PROJECT, "payments-prod-1234")
SERVICE = Target(TargetKind.SERVICE, "payments-prod-1234", "europe-west1", "checkout")
SECRET = Target(TargetKind.SECRET, "payments-prod-1234", name="api-token")
OWN_ACCOUNT = Target(TargetKind.SERVICE_ACCOUNT, "payments-prod-1234", name=RUNNER_EMAIL)
FOREIGN_ACCOUNT = Target(TargetKind.SERVICE_ACCOUNT, "payments-prod-1234", name=FOREIGN_EMAIL)
LEGACY_ACCOUNT = Target(TargetKind.SERVICE_ACCOUNT, "payments-prod-1234", name=LEGACY_EMAIL)

POOL = "principalSet://iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/p"
ACCOUNTS_OF_PROJECT = "principalSet://cloudresourcemanager.googleapis.com/projects/42/type/ServiceAccount"
PUBLIC = ["allUsers", "allAuthenticatedUsers"]
TYPEWIDE = [f"{POOL}/*", ACCOUNTS_OF_PROJECT, "domain:example.com"]

ROLES = {
    "roles/run.invoker": frozenset({"run.routes.invoke", "run.jobs.run"}),
    "roles/run.admin": frozenset(
        {
            "run.jobs.runWithOverrides",
            "run.jobs.setIamPolicy",
            "run.services.get",
            "run.services.setIamPolicy",
            "run.services.sshRoot",
        }
    ),
    "roles/iam.serviceAccountUser": frozenset({"iam.serviceAccounts.actAs", "iam.serviceAccounts.get"}),
    "roles/iam.serviceAccountTokenCreator": frozenset(
        {"iam.serviceAccounts.getAccessToken", "iam.serviceAccounts.signBlob"}
    ),
    "roles/iam.serviceAccountOpenIdTokenCreator": frozenset({"iam.serviceAccounts.getOpenIdToken"}),
    "roles/iam.workloadIdentityUser": frozenset({"iam.serviceAccounts.getAccessToken"}),
    "roles/iam.serviceAccountAdmin": frozenset({"iam.serviceAccounts.setIamPolicy"}),
    "roles/secretmanager.secretAccessor": frozenset({"secretmanager.versions.access"}),
    "roles/cloudsql.client": frozenset({"cloudsql.instances.connect"}),
    "roles/viewer": frozenset({"run.services.get"}),
}

FLOW_RUNNER = {
    "roles": ["roles/run.admin", "roles/iam.serviceAccountUser"],
    "targetKinds": ["Project"],
    "namespaces": ["flows"],
    "members": ["identity:flows/prefect-runner"],
    "allowEscalation": True,
}


def project(*grants: dict[str, Any], **guardrails: Any) -> ManagedProject:
    return ManagedProject.model_validate(
        {
            "metadata": {"name": "payments-prod"},
            "spec": {
                "projectID": "payments-prod-1234",
                "namespaces": {"names": ["flows"]},
                "guardrails": {"grants": grants, **guardrails},
            },
        }
    )


def request(
    role: str = "roles/cloudsql.client",
    target: Target = PROJECT,
    member: str | DeclaredIdentity = RUNNER,
    namespace: str = "flows",
) -> GrantRequest:
    return GrantRequest(namespace, target, role, member, ROLES[role])


def guardrail_facts(*namespaces: str) -> GuardrailFacts:
    return GuardrailFacts(frozenset(namespaces or ("flows",)), IDENTITIES)


def asked(asked_for: GrantRequest, delegated: ManagedProject) -> Decision:
    return decide(asked_for, delegated, guardrail_facts())


def reason(decision: Decision) -> str:
    assert isinstance(decision, Denied)
    return decision.reason


def is_admitted(asked_for: GrantRequest, delegated: ManagedProject) -> bool:
    return isinstance(asked(asked_for, delegated), Admitted)


def entry(**fields: Any) -> dict[str, Any]:
    return {"roles": ["roles/cloudsql.client"], "targetKinds": ["Project"], "members": ["*"]} | fields


@pytest.mark.parametrize("role", ["roles/run.admin", "roles/iam.serviceAccountUser"])
@pytest.mark.parametrize("member", [RUNNER, f"serviceAccount:{RUNNER_EMAIL}"])
def test_a_flow_runner_gets_what_its_entry_allows(role: str, member: str | DeclaredIdentity) -> None:
    assert is_admitted(request(role, member=member), project(FLOW_RUNNER))


@pytest.mark.parametrize("role", ["roles/run.admin", "roles/iam.serviceAccountUser"])
def test_a_flow_runner_gets_nothing_without_allow_escalation(role: str) -> None:
    assert not is_admitted(request(role), project(FLOW_RUNNER | {"allowEscalation": False}))


def test_a_refusal_names_the_grant_and_the_entry_that_would_admit_it() -> None:
    assert reason(asked(request("roles/run.admin"), project())) == (
        "guardrails.grants of ManagedProject payments-prod does not admit roles/run.admin on Project "
        "payments-prod-1234 for identity:flows/prefect-runner; add an entry such as {roles: "
        "[roles/run.admin], targetKinds: [Project], members: ['identity:flows/prefect-runner'], "
        "namespaces: [flows], allowEscalation: true}"
    )


def test_a_refusal_for_escalation_alone_says_which_permissions_escalate_and_why() -> None:
    delegated = project(FLOW_RUNNER | {"allowEscalation": False})
    assert reason(asked(request("roles/run.admin"), delegated)) == (
        "guardrails.grants of ManagedProject payments-prod does not admit roles/run.admin on Project "
        "payments-prod-1234 for identity:flows/prefect-runner without allowEscalation, because its holder "
        "can run any command as a job's identity, can grant any role to any principal "
        "(run.jobs.runWithOverrides, run.jobs.setIamPolicy, run.services.setIamPolicy and 1 more); "
        "add an entry such as {roles: [roles/run.admin], targetKinds: [Project], "
        "members: ['identity:flows/prefect-runner'], namespaces: [flows], allowEscalation: true}"
    )


def test_entry_without_target_kinds_admits_nothing_and_is_named() -> None:
    incomplete = {key: value for key, value in FLOW_RUNNER.items() if key != "targetKinds"}
    decision = asked(request("roles/run.admin"), project(entry(), incomplete))
    assert decision == Denied(
        "spec.guardrails.grants[1] of ManagedProject payments-prod has no targetKinds and admits nothing; "
        "add targetKinds: [Project] to it",
        invalid_entry=True,
    )
    assert incomplete_entries(project(entry(), incomplete)) == ("spec.guardrails.grants[1]",)


@pytest.mark.parametrize("lacking", [{"members": ["group:none@example.com"]}, {"allowEscalation": False}])
def test_entry_that_would_not_suffice_is_not_named_as_incomplete(lacking: dict[str, Any]) -> None:
    incomplete = {key: value for key, value in FLOW_RUNNER.items() if key != "targetKinds"} | lacking
    decision = asked(request("roles/run.admin"), project(incomplete))
    assert isinstance(decision, Denied)
    assert not decision.invalid_entry


def test_a_role_that_cannot_be_expanded_is_taken_for_escalating() -> None:
    unread = replace(request(), permissions=None)
    assert "because the operator cannot read the permissions of the role" in reason(
        asked(unread, project(entry()))
    )
    assert is_admitted(unread, project(entry(allowEscalation=True)))


def test_one_entry_has_to_admit_all_of_a_grant() -> None:
    by_role = entry(members=["group:ops@example.com"])
    by_member = entry(roles=["roles/run.invoker"], members=["identities"])
    without_escalation = FLOW_RUNNER | {"allowEscalation": False}
    other_escalation = FLOW_RUNNER | {"roles": ["roles/owner"]}
    assert not is_admitted(request(), project(by_role, by_member))
    assert not is_admitted(request("roles/run.admin"), project(without_escalation, other_escalation))


@pytest.mark.parametrize(
    ("narrowed", "admits"),
    [
        ({}, True),
        ({"roles": ["roles/cloudsql.*"]}, True),
        ({"roles": ["roles/run.*"]}, False),
        ({"targetKinds": ["Service", "Secret"], "names": ["*"]}, False),
        ({"names": ["payments-*"]}, True),
        ({"names": ["shop-*"]}, False),
        ({"members": ["identity:flows/*"]}, True),
        ({"members": ["identities"]}, True),
        ({"members": ["identity:shop/*"]}, False),
        ({"members": [f"serviceAccount:{RUNNER_EMAIL}"]}, False),
        ({"members": ["serviceAccount:*"]}, False),
        ({"namespaces": ["flows", "shop"]}, True),
        ({"namespaces": ["shop"]}, False),
    ],
)
def test_an_entry_admits_by_role_target_member_and_namespace(narrowed: dict[str, Any], admits: bool) -> None:
    assert is_admitted(request(), project(entry(**narrowed))) is admits


def test_a_declared_identity_is_never_matched_by_its_email() -> None:
    by_email = entry(members=[f"serviceAccount:{RUNNER_EMAIL}", "serviceAccount:*"])
    assert not is_admitted(request(member=f"serviceAccount:{RUNNER_EMAIL}"), project(by_email))
    assert is_admitted(request(member=f"serviceAccount:{LEGACY_EMAIL}"), project(by_email))


def test_nobody_passes_for_a_declared_identity_by_writing_its_name() -> None:
    assert not is_admitted(request(member="identity:flows/prefect-runner"), project(entry()))


@pytest.mark.parametrize(
    "member", ["projectOwner:payments-prod-1234", "deleted:user:a@example.com?uid=1", "someone"]
)
def test_a_member_has_one_of_the_documented_forms(member: str) -> None:
    assert member in reason(asked(request(member=member), project(entry())))


def test_emails_are_matched_case_insensitively() -> None:
    delegated = project(entry(members=["group:*@Example.com"]))
    assert is_admitted(request(member="group:Ops@example.COM"), delegated)


def test_a_namespace_that_the_project_does_not_admit_gets_nothing() -> None:
    delegated = project(entry(namespaces=["flows", "shop"]))
    assert "does not admit namespace shop" in reason(asked(request(namespace="shop"), delegated))


@pytest.mark.parametrize("pattern", ["*", "roles/*", "roles/view*"])
def test_basic_roles_count_only_literally(pattern: str) -> None:
    assert not is_admitted(request("roles/viewer"), project(entry(roles=[pattern])))
    assert is_admitted(request("roles/viewer"), project(entry(roles=[pattern, "roles/viewer"])))


def test_an_exclusive_grant_needs_an_entry_that_is_exclusive() -> None:
    exclusive = replace(request(), exclusive=True)
    assert "exclusive: true}" in reason(asked(exclusive, project(entry())))
    assert is_admitted(exclusive, project(entry(exclusive=True)))


@pytest.mark.parametrize("member", PUBLIC + TYPEWIDE)
def test_public_and_typewide_members_count_only_literally(member: str) -> None:
    invoked = request("roles/run.invoker", SERVICE, member)
    patterns = ["*", "all*", f"{POOL}*", "domain:*", f"*{member}"]
    wide = entry(roles=["roles/run.invoker"], targetKinds=["Service"], members=patterns)
    assert not is_admitted(invoked, project(wide))
    assert is_admitted(invoked, project(wide | {"members": [member]}))


@pytest.mark.parametrize("member", PUBLIC + TYPEWIDE)
@pytest.mark.parametrize("target", [OWN_ACCOUNT, LEGACY_ACCOUNT])
def test_public_and_typewide_members_never_count_on_service_accounts(member: str, target: Target) -> None:
    listed = entry(roles=["*"], targetKinds=["ServiceAccount"], members=[member, "*"], allowEscalation=True)
    delegated = project(listed, accounts=[LEGACY_EMAIL])
    assert not is_admitted(request("roles/iam.workloadIdentityUser", target, member), delegated)
    assert is_admitted(request("roles/iam.workloadIdentityUser", target, "user:a@example.com"), delegated)


@pytest.mark.parametrize(
    "role",
    [
        "roles/iam.serviceAccountUser",
        "roles/iam.serviceAccountTokenCreator",
        "roles/iam.serviceAccountOpenIdTokenCreator",
        "roles/iam.workloadIdentityUser",
    ],
)
@pytest.mark.parametrize("member", ["group:ops@example.com", f"{POOL}/group/ci", FOREIGN])
def test_a_namespace_lends_its_own_identities_by_default(role: str, member: str | DeclaredIdentity) -> None:
    assert is_admitted(request(role, OWN_ACCOUNT, member), project())
    assert not is_admitted(request(role, OWN_ACCOUNT, member), project(defaultGrants=False))


def test_the_default_for_own_identities_covers_no_other_role() -> None:
    assert not is_admitted(request("roles/iam.serviceAccountAdmin", OWN_ACCOUNT), project())


def test_acting_as_ones_own_identity_needs_no_allow_escalation() -> None:
    delegated = project(
        entry(roles=["roles/iam.*"], targetKinds=["ServiceAccount"]),
        accounts=[LEGACY_EMAIL],
        defaultGrants=False,
    )
    assert is_admitted(request("roles/iam.serviceAccountUser", OWN_ACCOUNT), delegated)
    assert not is_admitted(request("roles/iam.serviceAccountUser", LEGACY_ACCOUNT), delegated)
    assert not is_admitted(request("roles/iam.serviceAccountAdmin", OWN_ACCOUNT), delegated)


def test_an_account_without_email_yet_is_its_owners() -> None:
    unborn = replace(OWN_ACCOUNT, name="prefect-runner")
    delegated = request("roles/iam.serviceAccountUser", unborn, "group:ops@example.com")
    assert is_admitted(replace(delegated, owner=RUNNER), project())
    assert not is_admitted(replace(delegated, owner=FOREIGN), project())


def test_nobody_grants_on_another_namespaces_identity() -> None:
    anything = entry(roles=["*"], targetKinds=["ServiceAccount"], allowEscalation=True)
    delegated = project(anything, accounts=[FOREIGN_EMAIL])
    assert reason(asked(request("roles/iam.serviceAccountUser", FOREIGN_ACCOUNT), delegated)) == (
        f"ServiceAccount {FOREIGN_EMAIL} belongs to identity:shop/pricing: only objects in namespace shop "
        "may grant roles/iam.serviceAccountUser on it, not objects in flows"
    )


def test_an_account_that_nobody_declares_must_be_listed() -> None:
    user = request("roles/iam.serviceAccountUser", LEGACY_ACCOUNT)
    anything = entry(roles=["*"], targetKinds=["ServiceAccount"], allowEscalation=True)
    assert "guardrails.accounts" in reason(asked(user, project(anything)))
    assert is_admitted(user, project(anything, accounts=[LEGACY_EMAIL]))
    assert not is_admitted(user, project(accounts=[LEGACY_EMAIL]))


def test_names_of_service_accounts_are_account_ids() -> None:
    user = request("roles/iam.serviceAccountAdmin", OWN_ACCOUNT)
    by_id = entry(
        roles=["roles/iam.*"], targetKinds=["ServiceAccount"], names=["prefect-*r"], allowEscalation=True
    )
    assert is_admitted(user, project(by_id))
    assert not is_admitted(user, project(by_id | {"names": ["*@*"]}))


@pytest.mark.parametrize("kind", [TargetKind.SERVICE, TargetKind.JOB, TargetKind.WORKER_POOL])
def test_a_namespace_lets_others_invoke_its_workloads_by_default(kind: TargetKind) -> None:
    invoked = request("roles/run.invoker", replace(SERVICE, kind=kind), "group:ops@example.com")
    assert is_admitted(invoked, project())
    assert not is_admitted(invoked, project(defaultGrants=False))
    assert not is_admitted(replace(invoked, member="allUsers"), project())


def test_grants_on_a_workload_take_the_right_to_use_it() -> None:
    invoked = request("roles/run.invoker", SERVICE)
    both = guardrail_facts("flows", "shop")
    invoker = entry(roles=["roles/run.invoker"], targetKinds=["Service"])
    assert "guardrails.workloads" in reason(decide(invoked, project(invoker), both))
    usable = project(workloads=[{"namespaces": ["flows"], "names": ["checkout"]}])
    assert decide(invoked, usable, both) == Admitted()


@pytest.mark.parametrize("target", [PROJECT, SECRET])
def test_nothing_is_granted_by_default_on_projects_and_secrets(target: Target) -> None:
    assert not is_admitted(request("roles/run.invoker", target), project())


def test_secrets_are_admitted_by_name_alone() -> None:
    access = request("roles/secretmanager.secretAccessor", SECRET)
    secret = entry(roles=["roles/secretmanager.*"], targetKinds=["Secret"])
    assert not is_admitted(access, project(secret))
    assert is_admitted(access, project(secret | {"names": ["api-*"]}))


member_patterns = st.sampled_from(
    [
        "*",
        "identities",
        "identity:flows/*",
        "group:*@example.com",
        "allUsers",
        f"{POOL}/*",
        "domain:example.com",
    ]
)
entries = st.fixed_dictionaries(
    {
        "roles": st.lists(st.sampled_from(["*", "roles/run.*", *ROLES]), min_size=1, max_size=3),
        "targetKinds": st.lists(st.sampled_from(list(TargetKind)), min_size=1, max_size=4),
        "members": st.lists(member_patterns, min_size=1, max_size=3),
        "allowEscalation": st.booleans(),
        "exclusive": st.booleans(),
    },
    optional={
        "names": st.lists(st.sampled_from(["*", "check*", "payments-prod-1234", "api-token"]), min_size=1),
        "namespaces": st.lists(st.sampled_from(["flows", "shop"]), min_size=1, max_size=2),
    },
)
guardrails = st.builds(
    lambda grants, default: project(*grants, defaultGrants=default, accounts=[LEGACY_EMAIL]),
    st.lists(entries, max_size=4),
    st.booleans(),
)
targets = st.sampled_from([PROJECT, SERVICE, SECRET, OWN_ACCOUNT, FOREIGN_ACCOUNT, LEGACY_ACCOUNT])
requests = st.builds(
    lambda role, target, member, namespace, expanded, exclusive: GrantRequest(
        namespace, target, role, member, ROLES[role] if expanded else None, exclusive=exclusive
    ),
    st.sampled_from(sorted(ROLES)),
    targets,
    st.sampled_from([RUNNER, FOREIGN, "group:ops@example.com", *PUBLIC, *TYPEWIDE, f"{POOL}/group/ci"]),
    st.sampled_from(["flows", "shop"]),
    st.booleans(),
    st.booleans(),
)


def with_grants(delegated: ManagedProject, grants: list[GrantAdmission]) -> ManagedProject:
    rails = delegated.spec.guardrails.model_copy(update={"grants": tuple(grants)})
    return delegated.model_copy(update={"spec": delegated.spec.model_copy(update={"guardrails": rails})})


@given(requests, guardrails, st.randoms())
def test_the_order_of_the_entries_does_not_matter(
    asked_for: GrantRequest, delegated: ManagedProject, randomness: Any
) -> None:
    grants = list(delegated.spec.guardrails.grants)
    randomness.shuffle(grants)
    assert asked(asked_for, with_grants(delegated, grants)) == asked(asked_for, delegated)


@given(requests, guardrails, st.data())
def test_a_narrower_entry_never_admits_more(
    asked_for: GrantRequest, delegated: ManagedProject, data: st.DataObject
) -> None:
    grants = list(delegated.spec.guardrails.grants)
    assume(grants)
    narrowings: list[dict[str, Any]] = [
        {"roles": grants[0].roles[1:]},
        {"target_kinds": (grants[0].target_kinds or ())[1:]},
        {"members": grants[0].members[1:]},
        {"names": (grants[0].names or ("checkout",))[:1]},
        {"namespaces": (grants[0].namespaces or ("flows",))[:1]},
        {"allow_escalation": False},
        {"exclusive": False},
    ]
    narrowed = grants[0].model_copy(update=data.draw(st.sampled_from(narrowings)))
    if is_admitted(asked_for, with_grants(delegated, [narrowed, *grants[1:]])):
        assert is_admitted(asked_for, delegated)


@given(requests, guardrails, entries)
def test_one_more_entry_never_admits_less(
    asked_for: GrantRequest, delegated: ManagedProject, added: dict[str, Any]
) -> None:
    more = with_grants(delegated, [*delegated.spec.guardrails.grants, GrantAdmission.model_validate(added)])
    if is_admitted(asked_for, delegated):
        assert is_admitted(asked_for, more)


@given(requests, guardrails)
def test_the_entry_that_a_refusal_proposes_admits_the_grant(
    asked_for: GrantRequest, delegated: ManagedProject
) -> None:
    decision = asked(asked_for, delegated)
    assume(isinstance(decision, Denied) and "an entry such as" in decision.reason)
    text = reason(decision)
    assert "\n" not in text
    proposed = yaml.safe_load(text[text.index("{") : text.rindex("}") + 1])
    entry_of_it = GrantAdmission.model_validate(proposed)
    assert is_admitted(asked_for, with_grants(delegated, [*delegated.spec.guardrails.grants, entry_of_it]))


@given(requests, guardrails)
def test_no_public_or_typewide_member_ever_gets_onto_a_service_account(
    asked_for: GrantRequest, delegated: ManagedProject
) -> None:
    for target in (OWN_ACCOUNT, FOREIGN_ACCOUNT, LEGACY_ACCOUNT):
        for member in PUBLIC + TYPEWIDE:
            assert not is_admitted(replace(asked_for, target=target, member=member), delegated)


@given(requests, guardrails)
def test_fewer_permissions_are_never_admitted_less(
    asked_for: GrantRequest, delegated: ManagedProject
) -> None:
    if is_admitted(asked_for, delegated):
        assert is_admitted(replace(asked_for, permissions=frozenset()), delegated)


@pytest.mark.parametrize(
    ("role", "admitted"),
    [
        ("projects/payments-prod-1234/roles/runner", True),
        ("projects/victim-1234/roles/runner", False),
        ("projects/payments-prod-1234x/roles/runner", False),
        ("organizations/42/roles/runner", True),
    ],
)
def test_a_custom_role_is_granted_in_its_own_project_alone(role: str, admitted: bool) -> None:
    delegated = project(entry(roles=["*"]))
    asked_for = GrantRequest("flows", PROJECT, role, "group:ops@example.com", frozenset())
    assert is_admitted(asked_for, delegated) is admitted
