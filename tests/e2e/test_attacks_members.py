"""Attack members: the public and whole types, identities of others, and each way to disguise one of them."""

from collections.abc import Iterator

import pytest

from tests.e2e.attempts import Attempts, refused_at_once
from tests.e2e.tenants import CARE_OF_AN_ACCOUNT, ON_OWN_SERVICE, READING_A_ROLE, TO, Attempt, Tenants

POOL = "principalSet://iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/p.svc.id.goog"
CLUSTER = "kubernetes.cluster/https://container.googleapis.com/v1/projects/p/locations/l/clusters/c"
ON_OWN_ACCOUNT = """{target: {kind: ServiceAccount, identityRef: {name: mallory}},
                     role: roles/iam.serviceAccountTokenCreator, members: [{principal: '%s'}]}"""
IDENTITY_WITH = "{accountID: %s, %s: [{principal: '%s'}]}"

TYPE_WIDE = {
    "a domain": "domain:example.com",
    "everybody in another form": "principalSet://goog/public:all",
    "everybody as one principal": "principal://goog/public:all",
    "all principals of an organization": "principalSet://cloudresourcemanager.googleapis.com/organizations/123",
    "all principals of a folder": "principalSet://cloudresourcemanager.googleapis.com/folders/123",
    "all principals of a project": "principalSet://cloudresourcemanager.googleapis.com/projects/42",
    "all accounts of a project": (
        "principalSet://cloudresourcemanager.googleapis.com/projects/42/type/ServiceAccount"
    ),
    "all service agents of a project": (
        "principalSet://cloudresourcemanager.googleapis.com/projects/42/type/ServiceAgent"
    ),
    "a Workspace customer": "principalSet://goog/cloudIdentityCustomerId/C01abc35",
    "all workloads of a cluster": f"{POOL}/{CLUSTER}",
    "all workloads of a pool": f"{POOL}/*",
    "all workloads of a pool as one principal": f"{POOL.replace('principalSet', 'principal')}/*",
    "all values of an attribute": f"{POOL}/attribute.repository/*",
    "all groups of a pool": f"{POOL}/group/*",
    "all namespaces of a pool": f"{POOL}/namespace/*",
    "a pool in another casing": f"{POOL.replace('iam.googleapis', 'IAM.googleapis')}/group/staff",
    "a whole workforce pool": "principalSet://iam.googleapis.com/locations/global/workforcePools/staff/*",
    "a form that Google adds later": "principal://iam.googleapis.com/a-form-of-the-future",
    "all workloads of a pool as a group": "group:p.svc.id.goog:/allAuthenticatedUsers/",
    "all values of an attribute, behind a blank": f"{POOL}/attribute.team/A *",
}
PUBLIC = {"the public": "allUsers", "every authenticated user": "allAuthenticatedUsers"}
ANOTHER_FORM = {
    "an identity as a resource": (
        "principal://iam.googleapis.com/projects/-/serviceAccounts/checkout@$scene.iam.gserviceaccount.com"
    ),
    "an identity as a resource in another casing": (
        "principal://iam.googleapis.com/projects/-/ServiceAccounts/checkout@$scene.iam.gserviceaccount.com/"
    ),
    "an account as a user": "user:$powerful",
    "an account as a group": "group:$powerful",
    "an identity in the form of deny policies": (
        "principal://iam.googleapis.com/projects/-/serviceAccounts/$powerful"
    ),
}
OF_ANOTHER_TEAM = {
    "an identity by its e-mail": (
        "{principal: 'serviceAccount:checkout@$scene.iam.gserviceaccount.com'}",
        "allowedNamespaces",
    ),
    "an identity in capitals": (
        "{principal: 'serviceAccount:CHECKOUT@$scene.iam.gserviceaccount.com'}",
        "allowedNamespaces",
    ),
    "an identity with a domain in capitals": (
        "{principal: 'serviceAccount:checkout@$scene.IAM.GServiceAccount.COM'}",
        "allowedNamespaces",
    ),
    "an identity by reference": ("{identityRef: {name: checkout, namespace: $scene}}", "allowedNamespaces"),
    "the service agent of a project that is not delegated": (
        "{cloudRunServiceAgentOf: {projectRef: {name: $vault}}}",
        "does not admit namespace $mallory",
    ),
    "the service agent of a project that is not delegated, by its service": (
        "{serviceAgentOf: {projectRef: {name: $vault}, service: pubsub.googleapis.com}}",
        "does not admit namespace $mallory",
    ),
    "another service agent of a project that is not delegated, by its e-mail": (
        "{principal: 'serviceAccount:service-${vault_number}@gcp-sa-eventarc.iam.gserviceaccount.com'}",
        "does not admit namespace $mallory",
    ),
    "a Google-managed account of a project that is not delegated, in capitals": (
        "{principal: 'serviceAccount:${vault_number}@CloudBuild.gserviceaccount.com'}",
        "does not admit namespace $mallory",
    ),
    "the service agent of a project that is not delegated, by its e-mail": (
        "{principal: 'serviceAccount:$vault_agent'}",
        "does not admit namespace $mallory",
    ),
    "the service agent of a project that is not delegated, as a user": (
        "{principal: 'user:$vault_agent'}",
        "does not admit namespace $mallory",
    ),
    "the service agent of a project that is not delegated, in capitals": (
        "{principal: 'serviceAccount:Service-${vault_number}@Serverless-Robot-Prod.iam.gserviceaccount.com'}",
        "does not admit namespace $mallory",
    ),
}
ATTACKS = {
    **{
        f"on an own account: {name}": Attempt(ON_OWN_ACCOUNT % member, "name each member")
        for name, member in TYPE_WIDE.items()
    },
    **{
        f"on an own service: {name}": Attempt(
            ON_OWN_SERVICE % member, "guardrails.grants", may_call=(READING_A_ROLE,)
        )
        for name, member in (TYPE_WIDE | PUBLIC).items()
    },
    **{
        f"on an own service: {name}": Attempt(ON_OWN_SERVICE % member, "write it as serviceAccount:")
        for name, member in ANOTHER_FORM.items()
    },
    **{
        f"of another team: {name}": Attempt(TO % member, refusal)
        for name, (member, refusal) in OF_ANOTHER_TEAM.items()
    },
    "on the own project: a service agent of no service": Attempt(
        TO % "{serviceAgentOf: {projectRef: {name: $scene}, service: nothing.googleapis.com}}",
        "nothing.googleapis.com has no service agent",
        reason="InvalidSpec",
    ),
    "on an own service: an identity of another team as a user": Attempt(
        ON_OWN_SERVICE % "user:checkout@$scene.iam.gserviceaccount.com", "allowedNamespaces"
    ),
    "on an own service: a user in the form of deny policies": Attempt(
        ON_OWN_SERVICE % "principal://goog/subject/ann@example.com", "write it as user:ann@example.com"
    ),
    "on a service of another team: a product that calls as an own identity": Attempt(
        "{target: {kind: Service, location: europe-west1, name: checkout}, role: roles/run.invoker, "
        "members: [{cloudSchedulerOf: {identityRef: {name: mallory}}}]}",
        "guardrails.workloads",
        may_call=(READING_A_ROLE,),
    ),
    "on the own project: a product that calls as an own identity": Attempt(
        TO.replace("roles/cloudsql.client", "roles/iam.serviceAccountTokenCreator")
        % "{cloudTasksOf: {identityRef: {name: mallory}}}",
        "guardrails.grants",
        may_call=(READING_A_ROLE,),
    ),
    "on an own service: a group in the form of deny policies": Attempt(
        ON_OWN_SERVICE % "principalSet://goog/group/ops@example.com", "write it as group:ops@example.com"
    ),
    **{
        f"as a token creator of an own identity: {name}": Attempt(
            IDENTITY_WITH % (f"type-wide-{number}", "tokenCreators", member),
            "name each member",
            "CloudRunIdentity",
            may_call=CARE_OF_AN_ACCOUNT,
        )
        for number, (name, member) in enumerate(TYPE_WIDE.items())
    },
    **{
        f"as a user of an own identity: {name}": Attempt(
            IDENTITY_WITH % (f"used-by-all-{number}", "users", member),
            "name each member",
            "CloudRunIdentity",
            may_call=CARE_OF_AN_ACCOUNT,
        )
        for number, (name, member) in enumerate(TYPE_WIDE.items())
    },
    "as a user of an own identity: the agent of a project that is not delegated": Attempt(
        "{accountID: mallory-agent, tokenCreators: [{cloudRunServiceAgentOf: {projectRef: {name: $vault}}}]}",
        "does not admit namespace $mallory",
        "CloudRunIdentity",
        may_call=CARE_OF_AN_ACCOUNT,
    ),
    "as a user of an own identity: a project that is not delegated": Attempt(
        "{accountID: mallory-from, usableFrom: [{projectRef: {name: $vault}}]}",
        "does not admit namespace $mallory",
        "CloudRunIdentity",
        may_call=CARE_OF_AN_ACCOUNT,
    ),
    "as a user of an own identity: a cluster of a project that is not delegated": Attempt(
        "{accountID: mallory-k8s, workloadIdentityUsers: "
        "[{kubernetes: {projectRef: {name: $vault}, namespace: default, serviceAccount: default}}]}",
        "does not admit namespace $mallory",
        "CloudRunIdentity",
        may_call=CARE_OF_AN_ACCOUNT,
    ),
}

ACCOUNT = "checkout@$scene.iam.gserviceaccount.com"
REFUSED_AT_ONCE = {
    "an identity with a dot at its end": f"serviceAccount:{ACCOUNT}.",
    "an identity with two dots": f"serviceAccount:{ACCOUNT.replace('.iam', '..iam')}",
    "an identity with a zero-width space": f"serviceAccount:{ACCOUNT}\u200b",
    "an identity with a zero-width joiner": f"serviceAccount:check\u200dout@{ACCOUNT.partition('@')[2]}",
    "an identity with a change of direction": f"serviceAccount:\u202e{ACCOUNT}",
    "an identity in Cyrillic letters": f"serviceAccount:\u0441heckout@{ACCOUNT.partition('@')[2]}",
    "an identity with a Kelvin sign": f"serviceAccount:chec\u212aout@{ACCOUNT.partition('@')[2]}",
    "an identity in full-width letters": f"serviceAccount:\uff43heckout@{ACCOUNT.partition('@')[2]}",
    "an identity with a blank": f"serviceAccount: {ACCOUNT}",
    "an identity with a line break": f"serviceAccount:{ACCOUNT}\n",
    "an identity with a null character": f"serviceAccount:{ACCOUNT}\0",
    "an identity with a query": f"serviceAccount:{ACCOUNT}?uid=1",
    "an identity in angle brackets": f"serviceAccount:x<{ACCOUNT}>",
    "two members in one": f"user:a@example.com,serviceAccount:{ACCOUNT}",
    "a prefix in another casing": f"ServiceAccount:{ACCOUNT}",
    "the public in another casing": "AllUsers",
    "the public with a blank": "allUsers ",
    "owners of the project": "projectOwner:$scene",
    "a tombstone": "deleted:serviceAccount:a@b.iam.gserviceaccount.com?uid=1",
    "all workloads of a pool in another casing": "group:p.svc.id.goog:/allauthenticatedusers/",
    "all workloads of a pool in capitals": "group:P.SVC.ID.GOOG:/allAuthenticatedUsers/",
    "a subject that ends with a blank": f"{POOL.replace('principalSet', 'principal')}/subject/ann ",
    "a pattern": "*",
    "an identity as guardrails name it": "identity:$scene/checkout",
    "a Kubernetes account with a pattern": "serviceAccount:p.svc.id.goog[*/default]",
    "a fleet account with a pattern": "serviceAccount:p.hub.id.goog[*/default]",
    "editors of the project": "projectEditor:$scene",
    "viewers of the project": "projectViewer:$scene",
}


@pytest.fixture(scope="module")
def attempts(two_teams: Tenants) -> Iterator[Attempts]:
    made = Attempts(two_teams, ATTACKS)
    yield made
    made.end()


@pytest.mark.parametrize("title", ATTACKS)
def test_member_is_refused_without_calls_to_google(attempts: Attempts, title: str) -> None:
    attempts.check(title)


@pytest.mark.parametrize("member", REFUSED_AT_ONCE.values(), ids=REFUSED_AT_ONCE)
def test_member_in_disguise_is_refused_by_the_api_server(tenants: Tenants, member: str) -> None:
    manifest = tenants.manifest("IAMBinding", ON_OWN_SERVICE % "user:mallory@example.com")
    manifest["spec"]["members"] = [{"principal": tenants.text(member)}]
    refused_at_once(tenants, manifest, "spec.members[0].principal")
