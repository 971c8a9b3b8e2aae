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
OTHER = DeclaredIdentity("shop", "pricing")
OTHER_EMAIL = "pricing@payments-prod-1234.iam.gserviceaccount.com"
LEGACY_EMAIL = "legacy@payments-prod-1234.iam.gserviceaccount.com"
IDENTITIES = {RUNNER_EMAIL: RUNNER, OTHER_EMAIL: OTHER}

PROJECT = Target(TargetKind.PROJECT, "payments-prod-1234")
SERVICE = Target(TargetKind.SERVICE, "payments-prod-1234", "europe-west1", "checkout")
SECRET = Target(TargetKind.SECRET, "payments-prod-1234", name="api-token")
OWN_ACCOUNT = Target(TargetKind.SERVICE_ACCOUNT, "payments-prod-1234", name=RUNNER_EMAIL)
OTHER_ACCOUNT = Target(TargetKind.SERVICE_ACCOUNT, "payments-prod-1234", name=OTHER_EMAIL)
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


def decided(requested: GrantRequest, managed_project: ManagedProject) -> Decision:
    return decide(requested, managed_project, guardrail_facts())


def reason(decision: Decision) -> str:
    assert isinstance(decision, Denied)
    return decision.reason


def is_admitted(requested: GrantRequest, managed_project: ManagedProject) -> bool:
    return isinstance(decided(requested, managed_project), Admitted)


def entry(**fields: Any) -> dict[str, Any]:
    return {"roles": ["roles/cloudsql.client"], "targetKinds": ["Project"], "members": ["*"]} | fields


@pytest.mark.parametrize("role", ["roles/run.admin", "roles/iam.serviceAccountUser"])
@pytest.mark.parametrize("member", [RUNNER, f"serviceAccount:{RUNNER_EMAIL}"])
def test_entry_admits_the_roles_that_it_lists(role: str, member: str | DeclaredIdentity) -> None:
    assert is_admitted(request(role, member=member), project(FLOW_RUNNER))


@pytest.mark.parametrize("role", ["roles/run.admin", "roles/iam.serviceAccountUser"])
def test_escalating_role_requires_allow_escalation(role: str) -> None:
    assert not is_admitted(request(role), project(FLOW_RUNNER | {"allowEscalation": False}))


def test_refusal_names_the_grant_and_an_admitting_entry() -> None:
    assert reason(decided(request("roles/run.admin"), project())) == (
        "guardrails.grants of ManagedProject payments-prod does not admit roles/run.admin on Project "
        "payments-prod-1234 for identity:flows/prefect-runner; add an entry such as {roles: "
        "[roles/run.admin], targetKinds: [Project], members: ['identity:flows/prefect-runner'], "
        "namespaces: [flows], allowEscalation: true}"
    )


def test_refusal_for_escalation_names_permissions_and_reasons() -> None:
    managed_project = project(FLOW_RUNNER | {"allowEscalation": False})
    assert reason(decided(request("roles/run.admin"), managed_project)) == (
        "guardrails.grants of ManagedProject payments-prod does not admit roles/run.admin on Project "
        "payments-prod-1234 for identity:flows/prefect-runner without allowEscalation, because its holder "
        "can run any command as a job's identity, can grant any role to any principal "
        "(run.jobs.runWithOverrides, run.jobs.setIamPolicy, run.services.setIamPolicy and 1 more); "
        "add an entry such as {roles: [roles/run.admin], targetKinds: [Project], "
        "members: ['identity:flows/prefect-runner'], namespaces: [flows], allowEscalation: true}"
    )


def test_entry_without_target_kinds_admits_nothing_and_is_named() -> None:
    incomplete = {key: value for key, value in FLOW_RUNNER.items() if key != "targetKinds"}
    decision = decided(request("roles/run.admin"), project(entry(), incomplete))
    assert decision == Denied(
        "spec.guardrails.grants[1] of ManagedProject payments-prod has no targetKinds and admits nothing; "
        "add targetKinds: [Project] to it",
        invalid_entry=True,
    )
    assert incomplete_entries(project(entry(), incomplete)) == ("spec.guardrails.grants[1]",)


@pytest.mark.parametrize("lacking", [{"members": ["group:none@example.com"]}, {"allowEscalation": False}])
def test_entry_that_would_not_suffice_is_not_named_as_incomplete(lacking: dict[str, Any]) -> None:
    incomplete = {key: value for key, value in FLOW_RUNNER.items() if key != "targetKinds"} | lacking
    decision = decided(request("roles/run.admin"), project(incomplete))
    assert isinstance(decision, Denied)
    assert not decision.invalid_entry


def test_unreadable_role_counts_as_escalating() -> None:
    unread = replace(request(), permissions=None)
    assert "because the operator cannot read the permissions of the role" in reason(
        decided(unread, project(entry()))
    )
    assert is_admitted(unread, project(entry(allowEscalation=True)))


def test_one_entry_must_admit_all_of_a_grant() -> None:
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
def test_entry_matches_role_target_member_and_namespace(narrowed: dict[str, Any], admits: bool) -> None:
    assert is_admitted(request(), project(entry(**narrowed))) is admits


def test_declared_identity_is_never_matched_by_its_email() -> None:
    by_email = entry(members=[f"serviceAccount:{RUNNER_EMAIL}", "serviceAccount:*"])
    assert not is_admitted(request(member=f"serviceAccount:{RUNNER_EMAIL}"), project(by_email))
    assert is_admitted(request(member=f"serviceAccount:{LEGACY_EMAIL}"), project(by_email))


def test_principal_with_the_text_of_an_identity_is_denied() -> None:
    assert not is_admitted(request(member="identity:flows/prefect-runner"), project(entry()))


@pytest.mark.parametrize(
    "member", ["projectOwner:payments-prod-1234", "deleted:user:a@example.com?uid=1", "someone"]
)
def test_member_of_an_undocumented_form_is_denied(member: str) -> None:
    assert member in reason(decided(request(member=member), project(entry())))


def test_emails_match_case_insensitively() -> None:
    managed_project = project(entry(members=["group:*@Example.com"]))
    assert is_admitted(request(member="group:Ops@example.COM"), managed_project)


def test_namespace_that_is_not_admitted_gets_no_grant() -> None:
    managed_project = project(entry(namespaces=["flows", "shop"]))
    assert "does not admit namespace shop" in reason(decided(request(namespace="shop"), managed_project))


@pytest.mark.parametrize("pattern", ["*", "roles/*", "roles/view*"])
def test_basic_roles_match_only_literally(pattern: str) -> None:
    assert not is_admitted(request("roles/viewer"), project(entry(roles=[pattern])))
    assert is_admitted(request("roles/viewer"), project(entry(roles=[pattern, "roles/viewer"])))


def test_exclusive_grant_requires_an_exclusive_entry() -> None:
    exclusive = replace(request(), exclusive=True)
    assert "exclusive: true}" in reason(decided(exclusive, project(entry())))
    assert is_admitted(exclusive, project(entry(exclusive=True)))


@pytest.mark.parametrize("member", PUBLIC + TYPEWIDE)
def test_public_and_typewide_members_match_only_literally(member: str) -> None:
    invoked = request("roles/run.invoker", SERVICE, member)
    patterns = ["*", "all*", f"{POOL}*", "domain:*", f"*{member}"]
    wide = entry(roles=["roles/run.invoker"], targetKinds=["Service"], members=patterns)
    assert not is_admitted(invoked, project(wide))
    assert is_admitted(invoked, project(wide | {"members": [member]}))


@pytest.mark.parametrize("member", PUBLIC + TYPEWIDE)
@pytest.mark.parametrize("target", [OWN_ACCOUNT, LEGACY_ACCOUNT])
def test_public_and_typewide_members_are_denied_on_accounts(member: str, target: Target) -> None:
    listed = entry(roles=["*"], targetKinds=["ServiceAccount"], members=[member, "*"], allowEscalation=True)
    managed_project = project(listed, accounts=[LEGACY_EMAIL])
    assert not is_admitted(request("roles/iam.workloadIdentityUser", target, member), managed_project)
    assert is_admitted(
        request("roles/iam.workloadIdentityUser", target, "user:a@example.com"), managed_project
    )


@pytest.mark.parametrize(
    "role",
    [
        "roles/iam.serviceAccountUser",
        "roles/iam.serviceAccountTokenCreator",
        "roles/iam.serviceAccountOpenIdTokenCreator",
        "roles/iam.workloadIdentityUser",
    ],
)
@pytest.mark.parametrize("member", ["group:ops@example.com", f"{POOL}/group/ci", OTHER])
def test_default_grants_admit_acting_as_own_identities(role: str, member: str | DeclaredIdentity) -> None:
    assert is_admitted(request(role, OWN_ACCOUNT, member), project())
    assert not is_admitted(request(role, OWN_ACCOUNT, member), project(defaultGrants=False))


def test_default_grants_admit_no_other_role_on_own_identities() -> None:
    assert not is_admitted(request("roles/iam.serviceAccountAdmin", OWN_ACCOUNT), project())


def test_acting_as_own_identity_needs_no_allow_escalation() -> None:
    managed_project = project(
        entry(roles=["roles/iam.*"], targetKinds=["ServiceAccount"]),
        accounts=[LEGACY_EMAIL],
        defaultGrants=False,
    )
    assert is_admitted(request("roles/iam.serviceAccountUser", OWN_ACCOUNT), managed_project)
    assert not is_admitted(request("roles/iam.serviceAccountUser", LEGACY_ACCOUNT), managed_project)
    assert not is_admitted(request("roles/iam.serviceAccountAdmin", OWN_ACCOUNT), managed_project)


def test_account_without_email_belongs_to_its_owner() -> None:
    unborn = replace(OWN_ACCOUNT, name="prefect-runner")
    managed_project = request("roles/iam.serviceAccountUser", unborn, "group:ops@example.com")
    assert is_admitted(replace(managed_project, owner=RUNNER), project())
    assert not is_admitted(replace(managed_project, owner=OTHER), project())


def test_grant_on_identity_of_another_namespace_is_denied() -> None:
    anything = entry(roles=["*"], targetKinds=["ServiceAccount"], allowEscalation=True)
    managed_project = project(anything, accounts=[OTHER_EMAIL])
    assert reason(decided(request("roles/iam.serviceAccountUser", OTHER_ACCOUNT), managed_project)) == (
        f"ServiceAccount {OTHER_EMAIL} belongs to identity:shop/pricing: only objects in namespace shop "
        "may grant roles/iam.serviceAccountUser on it, not objects in flows"
    )


def test_undeclared_account_must_be_listed() -> None:
    user = request("roles/iam.serviceAccountUser", LEGACY_ACCOUNT)
    anything = entry(roles=["*"], targetKinds=["ServiceAccount"], allowEscalation=True)
    assert "guardrails.accounts" in reason(decided(user, project(anything)))
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
def test_default_grants_admit_invoking_own_workloads(kind: TargetKind) -> None:
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
targets = st.sampled_from([PROJECT, SERVICE, SECRET, OWN_ACCOUNT, OTHER_ACCOUNT, LEGACY_ACCOUNT])
requests = st.builds(
    lambda role, target, member, namespace, expanded, exclusive: GrantRequest(
        namespace, target, role, member, ROLES[role] if expanded else None, exclusive=exclusive
    ),
    st.sampled_from(sorted(ROLES)),
    targets,
    st.sampled_from([RUNNER, OTHER, "group:ops@example.com", *PUBLIC, *TYPEWIDE, f"{POOL}/group/ci"]),
    st.sampled_from(["flows", "shop"]),
    st.booleans(),
    st.booleans(),
)


def with_grants(managed_project: ManagedProject, grants: list[GrantAdmission]) -> ManagedProject:
    rails = managed_project.spec.guardrails.model_copy(update={"grants": tuple(grants)})
    return managed_project.model_copy(
        update={"spec": managed_project.spec.model_copy(update={"guardrails": rails})}
    )


@given(requests, guardrails, st.randoms())
def test_order_of_entries_does_not_matter(
    requested: GrantRequest, managed_project: ManagedProject, randomness: Any
) -> None:
    grants = list(managed_project.spec.guardrails.grants)
    randomness.shuffle(grants)
    assert decided(requested, with_grants(managed_project, grants)) == decided(requested, managed_project)


@given(requests, guardrails, st.data())
def test_narrower_entry_never_admits_more(
    requested: GrantRequest, managed_project: ManagedProject, data: st.DataObject
) -> None:
    grants = list(managed_project.spec.guardrails.grants)
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
    if is_admitted(requested, with_grants(managed_project, [narrowed, *grants[1:]])):
        assert is_admitted(requested, managed_project)


@given(requests, guardrails, entries)
def test_additional_entry_never_admits_less(
    requested: GrantRequest, managed_project: ManagedProject, added: dict[str, Any]
) -> None:
    more = with_grants(
        managed_project, [*managed_project.spec.guardrails.grants, GrantAdmission.model_validate(added)]
    )
    if is_admitted(requested, managed_project):
        assert is_admitted(requested, more)


@given(requests, guardrails)
def test_proposed_entry_admits_the_grant(requested: GrantRequest, managed_project: ManagedProject) -> None:
    decision = decided(requested, managed_project)
    assume(isinstance(decision, Denied) and "an entry such as" in decision.reason)
    text = reason(decision)
    assert "\n" not in text
    proposed = yaml.safe_load(text[text.index("{") : text.rindex("}") + 1])
    entry_of_it = GrantAdmission.model_validate(proposed)
    assert is_admitted(
        requested, with_grants(managed_project, [*managed_project.spec.guardrails.grants, entry_of_it])
    )


@given(requests, guardrails)
def test_service_account_never_gets_public_or_typewide_members(
    requested: GrantRequest, managed_project: ManagedProject
) -> None:
    for target in (OWN_ACCOUNT, OTHER_ACCOUNT, LEGACY_ACCOUNT):
        for member in PUBLIC + TYPEWIDE:
            assert not is_admitted(replace(requested, target=target, member=member), managed_project)


@given(requests, guardrails)
def test_fewer_permissions_are_never_admitted_less(
    requested: GrantRequest, managed_project: ManagedProject
) -> None:
    if is_admitted(requested, managed_project):
        assert is_admitted(replace(requested, permissions=frozenset()), managed_project)


@pytest.mark.parametrize(
    ("role", "admitted"),
    [
        ("projects/payments-prod-1234/roles/runner", True),
        ("projects/victim-1234/roles/runner", False),
        ("projects/payments-prod-1234x/roles/runner", False),
        ("organizations/42/roles/runner", True),
    ],
)
def test_custom_role_is_granted_only_in_its_own_project(role: str, admitted: bool) -> None:
    managed_project = project(entry(roles=["*"]))
    requested = GrantRequest("flows", PROJECT, role, "group:ops@example.com", frozenset())
    assert is_admitted(requested, managed_project) is admitted
