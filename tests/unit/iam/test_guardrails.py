from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cloudrun_identity.api import GrantAdmission, ManagedProject, TargetKind
from cloudrun_identity.iam.admission import Admitted, Decision, DeclaredIdentity, Denied, GuardrailFacts
from cloudrun_identity.iam.grant_matching import GrantRequest
from cloudrun_identity.iam.grants import IAMCondition, Target
from cloudrun_identity.iam.guardrail_entries import invalid_entries
from cloudrun_identity.iam.guardrails import decide
from cloudrun_identity.iam.proposals import patch_command
from tests.unit.iam.patches import patched

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
TYPEWIDE = [
    f"{POOL}/*",
    ACCOUNTS_OF_PROJECT,
    "domain:example.com",
    "principalSet://goog/public:all",
    "principalSet://cloudresourcemanager.googleapis.com/organizations/123",
    f"{POOL}/kubernetes.cluster/https://container.googleapis.com/v1/projects/p/locations/l/clusters/c",
    "group:p.svc.id.goog:/allAuthenticatedUsers/",
    "principal://iam.googleapis.com/a-form-of-the-future",
]

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


def project(
    *grants: dict[str, Any], names: tuple[str, ...] = ("flows",), **guardrails: Any
) -> ManagedProject:
    return ManagedProject.model_validate(
        {
            "metadata": {"name": "payments-prod", "generation": 3},
            "spec": {
                "projectID": "payments-prod-1234",
                "namespaces": {"names": list(names)},
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
    return decide(requested, managed_project, guardrail_facts(*managed_project.spec.namespaces.names))


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


def test_refusal_names_the_grant_and_proposes_an_admitting_entry() -> None:
    denied = decided(request("roles/run.admin"), project())
    assert reason(denied) == (
        "guardrails.grants of ManagedProject payments-prod does not admit roles/run.admin on Project "
        "payments-prod-1234 for identity:flows/prefect-runner in namespace flows"
    )
    assert isinstance(denied, Denied)
    assert patch_command(denied.proposals) == (
        "kubectl patch managedproject payments-prod --type=json -p "
        """'[{"op":"test","path":"/metadata/generation","value":3},"""
        """{"op":"add","path":"/spec/guardrails/grants","value":[]},"""
        """{"op":"add","path":"/spec/guardrails/grants/-","value":{"roles":["roles/run.admin"],"""
        """"targetKinds":["Project"],"members":["identity:flows/prefect-runner"],"namespaces":["flows"],"""
        """"allowEscalation":true}}]'"""
    )


def test_refusal_for_escalation_names_permissions_and_reasons() -> None:
    managed_project = project(FLOW_RUNNER | {"allowEscalation": False})
    assert reason(decided(request("roles/run.admin"), managed_project)) == (
        "guardrails.grants of ManagedProject payments-prod does not admit roles/run.admin on Project "
        "payments-prod-1234 for identity:flows/prefect-runner in namespace flows, without allowEscalation, "
        "because its holder can run any command as a job's identity, can grant any role to any principal "
        "(run.jobs.runWithOverrides, run.jobs.setIamPolicy, run.services.setIamPolicy and 1 more)"
    )


def test_refusal_has_everything_that_is_lacking_on_a_workload() -> None:
    invoked = replace(request("roles/run.invoker", SERVICE), exclusive=True, claim=True)
    managed_project = project(names=("flows", "shop"))
    both = guardrail_facts("flows", "shop")
    denied = decide(invoked, managed_project, both)
    assert "guardrails.workloads" in reason(denied)
    assert "guardrails.grants" in reason(denied)
    assert isinstance(denied, Denied)
    assert decide(invoked, patched(managed_project, denied), both) == Admitted()


def test_refusals_that_differ_in_members_become_one_entry() -> None:
    denials = [decided(request(member=member), project()) for member in ("user:a@x.com", "user:b@x.com")]
    proposals = [each for denied in denials if isinstance(denied, Denied) for each in denied.proposals]
    command = patch_command(proposals)
    assert command.count("/spec/guardrails/grants/-") == 1
    assert '"members":["user:a@x.com","user:b@x.com"]' in command


def test_entry_without_target_kinds_admits_nothing_and_is_named() -> None:
    incomplete = {key: value for key, value in FLOW_RUNNER.items() if key != "targetKinds"}
    decision = decided(request("roles/run.admin"), project(entry(), incomplete))
    assert decision == Denied(
        "spec.guardrails.grants[1] of ManagedProject payments-prod has no targetKinds and admits nothing; "
        "add targetKinds: [Project] to it",
        invalid_entry=True,
    )
    assert list(map(str, invalid_entries(project(entry(), incomplete)))) == [
        "spec.guardrails.grants[1] has no targetKinds and admits nothing"
    ]


def test_entry_without_namespaces_admits_only_in_a_project_of_one_namespace() -> None:
    assert is_admitted(request(), project(entry()))
    shared = project(entry(), names=("flows", "shop"))
    assert decided(request(), shared) == Denied(
        "spec.guardrails.grants[0] of ManagedProject payments-prod has no namespaces and admits nothing; "
        "add the namespaces that it is for to it",
        invalid_entry=True,
    )
    assert is_admitted(request(), project(entry(namespaces=["*"]), names=("flows", "shop")))


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
    assert "without exclusive" in reason(decided(exclusive, project(entry())))
    assert is_admitted(exclusive, project(entry(exclusive=True)))


def test_claim_of_existing_grants_requires_an_entry_with_claim() -> None:
    claiming = replace(request(), claim=True)
    assert "without claim, because spec.existingGrants is Claim" in reason(
        decided(claiming, project(entry()))
    )
    assert is_admitted(claiming, project(entry(claim=True)))


def test_default_grants_admit_no_claim() -> None:
    user = request("roles/iam.serviceAccountUser", OWN_ACCOUNT, "group:ops@example.com")
    assert not is_admitted(replace(user, claim=True), project())


def test_locations_of_an_entry_limit_its_workloads() -> None:
    public = entry(roles=["roles/run.invoker"], targetKinds=["Service"], members=["allUsers"])
    managed_project = project(public | {"locations": ["europe-*"]})
    assert is_admitted(request("roles/run.invoker", SERVICE, "allUsers"), managed_project)
    elsewhere = replace(SERVICE, location="us-central1")
    assert not is_admitted(request("roles/run.invoker", elsewhere, "allUsers"), managed_project)


@pytest.mark.parametrize(
    ("condition", "admits"),
    [
        (None, False),
        (IAMCondition("office hours", "", "request.time.getHours() < 18"), True),
        (IAMCondition("any title", "any text", "request.time.getHours() < 18"), True),
        (IAMCondition("office hours", "", "request.time.getHours() < 18 || true"), False),
    ],
)
def test_conditions_of_an_entry_compare_expressions_literally(
    condition: IAMCondition | None, admits: bool
) -> None:
    limited = project(entry(conditions=["request.time.getHours() < 18"]))
    conditional = replace(request(), condition=condition)
    assert is_admitted(conditional, limited) is admits
    assert is_admitted(conditional, project(entry()))


@pytest.mark.parametrize(
    ("member", "documented"),
    [
        (f"serviceAccount:{RUNNER_EMAIL}.", f"serviceAccount:{RUNNER_EMAIL}"),
        (f"serviceAccount:{RUNNER_EMAIL}\u200b", f"serviceAccount:{RUNNER_EMAIL}"),
        (f"user:{RUNNER_EMAIL}", f"serviceAccount:{RUNNER_EMAIL}"),
        (
            f"principal://iam.googleapis.com/projects/-/serviceAccounts/{RUNNER_EMAIL}",
            f"serviceAccount:{RUNNER_EMAIL}",
        ),
        ("principal://goog/subject/ann@example.com", "user:ann@example.com"),
        ("principalSet://goog/group/ops@example.com", "group:ops@example.com"),
        ("user:ann@example.com.", "user:ann@example.com"),
    ],
)
def test_second_way_to_write_an_identity_is_denied(member: str, documented: str) -> None:
    denied = decided(request(member=member), project(entry(members=["*", member])))
    assert reason(denied).endswith(f"; write it as {documented}")


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
    managed_project = project(listed, accounts=[{"email": LEGACY_EMAIL}])
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
        accounts=[{"email": LEGACY_EMAIL}],
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
    managed_project = project(anything, accounts=[{"email": OTHER_EMAIL}])
    assert reason(decided(request("roles/iam.serviceAccountUser", OTHER_ACCOUNT), managed_project)) == (
        f"ServiceAccount {OTHER_EMAIL} belongs to identity:shop/pricing: only objects in namespace shop "
        "may grant roles/iam.serviceAccountUser on it, not objects in flows"
    )


def test_undeclared_account_must_be_listed() -> None:
    user = request("roles/iam.serviceAccountUser", LEGACY_ACCOUNT)
    anything = entry(roles=["*"], targetKinds=["ServiceAccount"], allowEscalation=True)
    assert "guardrails.accounts" in reason(decided(user, project(anything)))
    assert is_admitted(user, project(anything, accounts=[{"email": LEGACY_EMAIL}]))
    assert not is_admitted(user, project(accounts=[{"email": LEGACY_EMAIL}]))


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
    shared = ("flows", "shop")
    assert "guardrails.workloads" in reason(decide(invoked, project(invoker, names=shared), both))
    usable = project(workloads=[{"namespaces": ["flows"], "names": ["checkout"]}], names=shared)
    assert decide(invoked, usable, both) == Admitted()


@pytest.mark.parametrize("target", [PROJECT, SECRET])
def test_nothing_is_granted_by_default_on_projects_and_secrets(target: Target) -> None:
    assert not is_admitted(request("roles/run.invoker", target), project())


def test_secrets_are_admitted_by_name_alone() -> None:
    access = request("roles/secretmanager.secretAccessor", SECRET)
    secret = entry(roles=["roles/secretmanager.*"], targetKinds=["Secret"])
    assert not is_admitted(access, project(secret))
    assert is_admitted(access, project(secret | {"names": ["api-*"]}))


HOURS = IAMCondition("office hours", "", "request.time.getHours() < 18")
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
        "claim": st.booleans(),
    },
    optional={
        "names": st.lists(st.sampled_from(["*", "check*", "payments-prod-1234", "api-token"]), min_size=1),
        "namespaces": st.lists(st.sampled_from(["flows", "shop", "*"]), min_size=1, max_size=2),
        "conditions": st.just([HOURS.expression]),
    },
)
guardrails = st.builds(
    lambda grants, default, accounts, names: project(
        *grants, names=names, defaultGrants=default, accounts=accounts
    ),
    st.lists(entries, max_size=4),
    st.booleans(),
    st.sampled_from([[], [{"email": "legacy@*", "namespaces": ["flows"]}]]),
    st.sampled_from([("flows",), ("flows", "shop")]),
)
targets = st.sampled_from([PROJECT, SERVICE, SECRET, OWN_ACCOUNT, OTHER_ACCOUNT, LEGACY_ACCOUNT])
requests = st.builds(
    lambda role, target, member, namespace, expanded, condition, exclusive, claim: GrantRequest(
        namespace,
        target,
        role,
        member,
        ROLES[role] if expanded else None,
        condition=condition,
        exclusive=exclusive,
        claim=claim,
    ),
    st.sampled_from(sorted(ROLES)),
    targets,
    st.sampled_from([RUNNER, OTHER, "group:ops@example.com", *PUBLIC, *TYPEWIDE, f"{POOL}/group/ci"]),
    st.sampled_from(["flows", "shop"]),
    st.booleans(),
    st.sampled_from([None, HOURS]),
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
    shuffled = with_grants(managed_project, grants)
    assert is_admitted(requested, shuffled) == is_admitted(requested, managed_project)


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
        {"claim": False},
        {"locations": ("us-*",)},
        {"conditions": (HOURS.expression,)},
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
def test_proposed_patch_admits_the_grant(requested: GrantRequest, managed_project: ManagedProject) -> None:
    denied = decided(requested, managed_project)
    assume(isinstance(denied, Denied) and denied.proposals)
    assert isinstance(denied, Denied)
    assert "\n" not in patch_command(denied.proposals)
    after = patched(managed_project, denied)
    admitted = GuardrailFacts(frozenset(after.spec.namespaces.names), IDENTITIES)
    decision = decide(requested, after, admitted)
    # A namespace that was not admitted learns what else is lacking once it is.
    if requested.namespace in managed_project.spec.namespaces.names:
        assert decision == Admitted()
    else:
        assert not isinstance(decision, Denied) or not decision.invalid_entry


@given(requests, guardrails)
def test_denial_without_proposal_is_final_or_invalid(
    requested: GrantRequest, managed_project: ManagedProject
) -> None:
    denied = decided(requested, managed_project)
    assume(isinstance(denied, Denied) and not denied.proposals and not denied.invalid_entry)
    everything = GrantAdmission(
        roles=(requested.role,),
        target_kinds=tuple(TargetKind),
        names=("*",),
        members=(str(requested.member), "*"),
        namespaces=("*",),
        allow_escalation=True,
        exclusive=True,
        claim=True,
    )
    assert not is_admitted(requested, with_grants(managed_project, [everything]))


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
