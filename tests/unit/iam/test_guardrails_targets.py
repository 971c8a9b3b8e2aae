"""Test guardrails on service accounts, workloads and secrets, with and without the default grants."""

from dataclasses import replace

import pytest

from cloudrun_identity.api import TargetKind
from cloudrun_identity.iam.admission import Admitted, DeclaredIdentity
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.guardrails import decide
from tests.target_resources import DATA_KINDS, resource_of
from tests.unit.iam.guardrail_requests import (
    LEGACY_ACCOUNT,
    LEGACY_EMAIL,
    OTHER,
    OTHER_ACCOUNT,
    OTHER_EMAIL,
    OWN_ACCOUNT,
    POOL,
    PROJECT,
    PUBLIC,
    RUNNER,
    SERVICE,
    TYPEWIDE,
    decided,
    entry,
    guardrail_facts,
    is_admitted,
    project,
    reason,
    request,
)

DATA = [resource_of(kind, "payments-prod-1234") for kind in DATA_KINDS]
FOLDER = Target(TargetKind.FOLDER, "payments-prod-1234", name="42")
ON_FOLDER: dict[str, object] = {
    "roles": ["*"],
    "members": ["*"],
    "names": ["42"],
    "namespaces": ["flows"],
    "targetKinds": ["Folder"],
}


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


@pytest.mark.parametrize("target", [PROJECT, *DATA, FOLDER], ids=str)
def test_nothing_is_granted_by_default_on_other_targets(target: Target) -> None:
    assert not is_admitted(request("roles/run.invoker", target), project())


@pytest.mark.parametrize("target", DATA, ids=str)
def test_resources_with_contents_are_admitted_by_name_alone(target: Target) -> None:
    access = request("roles/cloudsql.client", target)
    services = {"services": [target.service]} if target.service else {}
    kind = entry(roles=["roles/cloudsql.*"], targetKinds=[target.kind.value], **services)
    assert not is_admitted(access, project(kind))
    pattern = f"{target.short_name[:-2]}*"
    assert is_admitted(access, project(kind | {"names": [pattern]}))
    assert not is_admitted(access, project(kind | {"names": [f"other-{pattern}"]}))


@pytest.mark.parametrize(
    "change",
    [
        {"services": ["eventarc.googleapis.com"]},
        {"services": None},
        {"targetKinds": ["Service"]},
        {"locations": ["us-central1"]},
        {"names": ["payments-*"]},
        {"names": ["locations/*/triggers/*"]},
    ],
    ids=str,
)
def test_resource_is_admitted_only_with_its_api_location_and_name(change: dict[str, object]) -> None:
    target = resource_of(TargetKind.RESOURCE, "payments-prod-1234")
    admitting = entry(
        roles=["roles/cloudsql.*"],
        targetKinds=["Resource"],
        services=[target.service],
        locations=["europe-*"],
        names=["locations/*/functions/payments-*"],
    )
    access = request("roles/cloudsql.client", target)
    assert is_admitted(access, project(admitting))
    assert not is_admitted(access, project(admitting | change))


def test_role_on_a_resource_is_judged_as_on_the_project() -> None:
    target = resource_of(TargetKind.RESOURCE, "payments-prod-1234")
    admitting = entry(roles=["*"], targetKinds=["Resource"], services=[target.service], names=["*"])
    acting = request("roles/iam.serviceAccountUser", target)
    assert not is_admitted(acting, project(admitting))
    assert is_admitted(acting, project(admitting | {"allowEscalation": True}))


def test_nested_target_is_admitted_by_the_names_of_both() -> None:
    key = resource_of(TargetKind.KMS_CRYPTO_KEY, "payments-prod-1234")
    kind = entry(roles=["roles/cloudsql.*"], targetKinds=["KMSCryptoKey"])
    access = request("roles/cloudsql.client", key)
    assert is_admitted(access, project(kind | {"names": [f"{key.parent}/*"]}))
    assert not is_admitted(access, project(kind | {"names": [key.name]}))


@pytest.mark.parametrize(
    "lacking",
    [{"names": ["*"]}, {"names": ["4*"]}, {"namespaces": ["*"]}, {"namespaces": None}, {"names": None}],
    ids=str,
)
def test_folder_is_admitted_only_by_literal_names_and_namespaces(lacking: dict[str, object]) -> None:
    access = request("roles/cloudsql.client", FOLDER)
    assert is_admitted(access, project(ON_FOLDER))
    assert not is_admitted(access, project(ON_FOLDER | lacking))


def test_folder_has_no_exclusive_bindings_and_no_roles_of_a_project() -> None:
    admitting = project(ON_FOLDER | {"exclusive": True, "allowEscalation": True})
    exclusive = replace(request("roles/cloudsql.client", FOLDER), exclusive=True)
    assert "cannot be Exclusive" in reason(decide(exclusive, admitting, guardrail_facts("flows")))
    own = replace(request("roles/cloudsql.client", FOLDER), role="projects/payments-prod-1234/roles/runner")
    assert "belongs to a project" in reason(decide(own, admitting, guardrail_facts("flows")))
