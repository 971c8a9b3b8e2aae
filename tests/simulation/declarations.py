"""Names of the objects and resources of a history."""

from typing import Any, NamedTuple

Object = dict[str, Any]
Spec = dict[str, Any]

API_VERSION = "cloudrun-identity.dev/v1alpha1"
PLURALS = {
    "ManagedProject": "managedprojects",
    "CloudRunIdentity": "cloudrunidentities",
    "IAMBinding": "iambindings",
    "CustomRole": "customroles",
    "IdentityAttachment": "identityattachments",
    "IdentityKey": "identitykeys",
}
NAMESPACES = ("team-a", "team-b")
SHOP, DATA = "acme-shop", "acme-data"
PROJECTS = {"shop": SHOP, "data": DATA}
PROJECT_NUMBERS = {SHOP: "417203958816", DATA: "528860113547"}
DRIFT_INTERVAL = 60
"""Seconds between two reads of a policy."""
PROGRESS_DEADLINE = "1m"
"""Time after which a waiting object is Stalled: its last status is written then."""

CHECKOUT = f"projects/{SHOP}/locations/europe-west1/services/checkout"
BUCKET = f"projects/{SHOP}/buckets/acme-exports"
WRITER = "roles/storage.objectCreator"
"""Role that one binding of the pool declares with Exclusive authority."""
INVOKER, USER = "roles/run.invoker", "roles/iam.serviceAccountUser"
TOKEN_CREATOR = "roles/iam.serviceAccountTokenCreator"


class ObjectName(NamedTuple):
    """Kind, namespace (empty for a ManagedProject) and name."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


class Grant(NamedTuple):
    """One member of one role on one resource, which has its name in the emulator's snapshot."""

    resource: str
    role: str
    member: str


def manifest(name: ObjectName, spec: Spec) -> Object:
    """Return the object with this spec."""
    metadata = {"name": name.name} | ({"namespace": name.namespace} if name.namespace else {})
    spec = {"progressDeadline": PROGRESS_DEADLINE, **spec}
    return {"apiVersion": API_VERSION, "kind": name.kind, "metadata": metadata, "spec": spec}


def run_service_agent(project: str) -> str:
    """Return the e-mail of the Cloud Run service agent of a ManagedProject's project."""
    return f"service-{PROJECT_NUMBERS[PROJECTS[project]]}@serverless-robot-prod.iam.gserviceaccount.com"


def email(namespace: str, name: str, project: str) -> str:
    """Return the e-mail of an identity's account."""
    return f"{account_id(namespace, name)}@{PROJECTS[project]}.iam.gserviceaccount.com"


def account_id(namespace: str, name: str) -> str:
    """Return the account ID that an identity of the pool declares."""
    return f"{namespace}-{name}"
