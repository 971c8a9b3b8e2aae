"""Test that attempts to exceed the guardrails are refused without calls to Google Cloud.

Each attempt here is a single object; `test_tenancy_steps` has attempts with several steps.
"""

import json

import pytest
from kubernetes.client import ApiException

from tests.e2e.tenants import (
    ATTACH,
    ON_ACCOUNT,
    ON_OWN_SERVICE,
    ON_PROJECT,
    READING_A_ROLE,
    RUN_AS,
    TO,
    Attempt,
    Tenants,
)

LOOKING_AFTER_ONES_OWN = ("IAM/GetServiceAccount", "IAM/ListServiceAccountKeys")
"""The older of two conflicting objects is reconciled again when the other one is deleted."""


EXCLUSIVELY = (
    "{authority: Exclusive, managementPolicy: %s, target: {kind: Project}, role: roles/run.invoker, "
    + ("members: [{principal: 'user:mallory@example.com'}]}")
)

ATTEMPTS = {
    "adopt a powerful account": Attempt(
        "{accountID: powerful, adoption: Adopt}", "does not list $powerful", "CloudRunIdentity"
    ),
    "adopt the account that the operator acts as": Attempt(
        "{accountID: credential, adoption: Adopt}", "the operator acts as", "CloudRunIdentity"
    ),
    "grant on a powerful account by its e-mail": Attempt(
        ON_ACCOUNT % "$powerful", "does not list $powerful", may_call=(READING_A_ROLE,)
    ),
    "grant on a default account, though it is listed": Attempt(
        ON_ACCOUNT % "$default", "is a default service account"
    ),
    "grant on the operator's account, though it is listed": Attempt(
        ON_ACCOUNT % "$credential", "the operator acts as"
    ),
    "grant on another team's identity by its e-mail": Attempt(
        ON_ACCOUNT % "checkout@$scene.iam.gserviceaccount.com", "belongs to identity:$scene/checkout"
    ),
    "attach to another team's workload": Attempt(
        ATTACH % ("checkout", "{name: mallory}"), "guardrails.workloads", "IdentityAttachment"
    ),
    "attach another team's identity to one's own workload": Attempt(
        ATTACH % ("mallory-web", "{name: checkout, namespace: $scene}"),
        "does not list namespace $mallory in allowedNamespaces",
        "IdentityAttachment",
    ),
    "run as a powerful account by its e-mail": Attempt(
        RUN_AS % "$powerful", "does not list $powerful", "IdentityAttachment"
    ),
    "run as a default account, though it is listed": Attempt(
        RUN_AS % "$default", "is a default service account", "IdentityAttachment"
    ),
    "run as the operator's account, though it is listed": Attempt(
        RUN_AS % "$credential", "the operator acts as", "IdentityAttachment"
    ),
    "run as another team's identity by its e-mail": Attempt(
        RUN_AS % "checkout@$scene.iam.gserviceaccount.com", "allowedNamespaces", "IdentityAttachment"
    ),
    "name another team's identity as a member": Attempt(
        TO % "{identityRef: {name: checkout, namespace: $scene}}", "allowedNamespaces"
    ),
    "name another team's identity as a member by its e-mail": Attempt(
        TO % "{principal: 'serviceAccount:checkout@$scene.iam.gserviceaccount.com'}", "allowedNamespaces"
    ),
    "a predefined role that escalates": Attempt(
        ON_PROJECT % "roles/run.admin", "without allowEscalation", may_call=(READING_A_ROLE,)
    ),
    "a custom role that escalates": Attempt(
        ON_PROJECT % "projects/$scene/roles/harmless", "setIamPolicy", may_call=(READING_A_ROLE,)
    ),
    "a role that no guardrail admits": Attempt(
        ON_PROJECT % "roles/owner", "does not admit roles/owner", may_call=(READING_A_ROLE,)
    ),
    "a role that escalates under a condition that is always true": Attempt(
        "{target: {kind: Project}, role: roles/run.admin, "
        "members: [{principal: 'user:mallory@example.com'}], "
        "condition: {title: always, expression: 'true || false'}}",
        "without allowEscalation",
        may_call=(READING_A_ROLE,),
    ),
    "a role of another project": Attempt(
        ON_PROJECT % "projects/$vault/roles/any", "belongs to another project"
    ),
    "the public": Attempt(ON_OWN_SERVICE % "allUsers", "allUsers", may_call=(READING_A_ROLE,)),
    "every authenticated user": Attempt(
        ON_OWN_SERVICE % "allAuthenticatedUsers", "allAuthenticatedUsers", may_call=(READING_A_ROLE,)
    ),
    "all accounts of a project": Attempt(
        ON_OWN_SERVICE % "principalSet://cloudresourcemanager.googleapis.com/projects/42/type/ServiceAccount",
        "type/ServiceAccount",
        may_call=(READING_A_ROLE,),
    ),
    "a whole identity pool": Attempt(
        ON_OWN_SERVICE
        % "principalSet://iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/p/*",
        "workloadIdentityPools/p/*",
        may_call=(READING_A_ROLE,),
    ),
    "a whole domain": Attempt(
        ON_OWN_SERVICE % "domain:example.com", "domain:example.com", may_call=(READING_A_ROLE,)
    ),
    "the service agent of a project that is not delegated": Attempt(
        TO % "{cloudRunServiceAgentOf: {projectRef: {name: $vault}}}", "does not admit namespace $mallory"
    ),
    "the service agent of a project that is not delegated, by its e-mail": Attempt(
        TO % "{principal: 'serviceAccount:$vault_agent'}", "does not admit namespace $mallory"
    ),
    "a project that is not delegated": Attempt(
        "{projectRef: {name: $vault}, target: {kind: Project}, role: roles/viewer, "
        "members: [{principal: 'user:mallory@example.com'}]}",
        "does not admit namespace $mallory",
    ),
    "an identity in a project that is not delegated": Attempt(
        "{projectRef: {name: $vault}, accountID: mallory-account}",
        "does not admit namespace $mallory",
        "CloudRunIdentity",
    ),
    "reading who holds a role, by observing it": Attempt(
        "{managementPolicy: Observe, target: {kind: Project}, role: roles/owner, "
        "members: [{principal: 'user:mallory@example.com'}]}",
        "does not admit roles/owner",
        may_call=(READING_A_ROLE,),
    ),
    "emptying a binding": Attempt(EXCLUSIVELY % "Manage", "without exclusive", may_call=(READING_A_ROLE,)),
    "reading a binding by observing it exclusively": Attempt(
        EXCLUSIVELY % "Observe", "without exclusive", may_call=(READING_A_ROLE,)
    ),
    "another team's account, by declaring it too": Attempt(
        "{accountID: checkout}",
        "An object of another namespace declares the same resource",
        "CloudRunIdentity",
        "Conflict",
        may_call=LOOKING_AFTER_ONES_OWN,
    ),
}

REFUSED_AT_ONCE = {
    "a path in an account's id": ("CloudRunIdentity", "{accountID: ../../x}"),
    "a path in a role": ("IAMBinding", ON_PROJECT % "projects/x/roles/../../y/roles/z"),
    "a path in an e-mail": ("IAMBinding", ON_ACCOUNT % "x/../../../victim/serviceAccounts/y@z"),
    "a path in a location": (
        "IAMBinding",
        "{target: {kind: Service, location: europe-west1/services/x, name: y}, role: roles/run.invoker, "
        "members: [{principal: 'user:a@example.com'}]}",
    ),
    "a path in a workload's name": ("IdentityAttachment", ATTACH % ("../jobs/x", "{name: mallory}")),
    "a path in a secret's name": (
        "IAMBinding",
        "{target: {kind: Secret, name: ../../victim/secrets/x}, role: roles/secretmanager.secretAccessor, "
        "members: [{principal: 'user:a@example.com'}]}",
    ),
    "a tombstone as a member": (
        "IAMBinding",
        TO % "{principal: 'deleted:serviceAccount:a@b.iam.gserviceaccount.com?uid=1'}",
    ),
    "a condition on a basic role": (
        "IAMBinding",
        "{target: {kind: Project}, role: roles/viewer, members: [{principal: 'user:a@example.com'}], "
        "condition: {title: t, expression: 'true'}}",
    ),
}


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS)
def test_attempt_is_refused_without_calls_to_google(tenants: Tenants, attempt: Attempt) -> None:
    tenants.refuse(attempt)


@pytest.mark.parametrize(("kind", "spec"), REFUSED_AT_ONCE.values(), ids=REFUSED_AT_ONCE)
def test_crafted_names_are_refused_by_the_api_server(tenants: Tenants, kind: str, spec: str) -> None:
    with pytest.raises(ApiException) as raised:
        tenants.scene.create(json.dumps(tenants.manifest(kind, spec, "trick")).replace("$", "$$"))
    assert raised.value.status == 422
