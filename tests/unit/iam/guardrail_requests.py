"""Projects, requests and decisions of the tests of guardrails."""

from typing import Any

from cloudrun_identity.api import ManagedProject, TargetKind
from cloudrun_identity.iam.admission import Admitted, Decision, DeclaredIdentity, Denied, GuardrailFacts
from cloudrun_identity.iam.grant_matching import GrantRequest
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.guardrails import decide

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
OF_POOLS = [
    f"{POOL}/group/ci",
    f"{POOL}/attribute.team/Payments and Billing",
    "serviceAccount:p.hub.id.goog[jobs/prefect]",
]
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
