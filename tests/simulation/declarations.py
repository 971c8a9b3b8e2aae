"""Objects that a history declares: a pool of names with several valid specs each, and the grants of a spec."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
}
NAMESPACES = ("team-a", "team-b")
SHOP, DATA = "acme-shop", "acme-data"
PROJECTS = {"shop": SHOP, "data": DATA}
DRIFT_INTERVAL = 60
"""Seconds between two reads of a policy."""
PROGRESS_DEADLINE = "1m"
"""Time after which a waiting object is Stalled: its last status is written then."""

CHECKOUT = f"projects/{SHOP}/locations/europe-west1/services/checkout"
BUCKET = f"projects/{SHOP}/buckets/acme-exports"
INVOKER, USER = "roles/run.invoker", "roles/iam.serviceAccountUser"

_OPEN = {
    "namespaces": {"names": list(NAMESPACES)},
    "locations": ["europe-west1"],
    "driftInterval": f"{DRIFT_INTERVAL}s",
    "guardrails": {
        "grants": [
            {
                "roles": ["roles/cloudsql.client", "roles/storage.objectViewer", f"projects/{SHOP}/roles/*"],
                "targetKinds": ["Project", "StorageBucket"],
                "names": ["*"],
                "namespaces": ["*"],
                "members": ["*"],
                "exclusive": True,
            }
        ],
        "workloads": [{"namespaces": ["*"], "names": ["*"]}],
        "customRoles": {
            "permissions": ["cloudsql.*", "storage.*"],
            "namespaces": ["*"],
            "roleIDs": ["*"],
        },
    },
}


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


@dataclass(frozen=True)
class Declared:
    """An object of the pool."""

    name: ObjectName
    project: str
    """ManagedProject that it belongs to."""
    specs: Sequence[Spec]
    """Valid specs, the first of which is usual."""


def manifest(name: ObjectName, spec: Spec) -> Object:
    """Return the object with this spec."""
    metadata = {"name": name.name} | ({"namespace": name.namespace} if name.namespace else {})
    spec = {"progressDeadline": PROGRESS_DEADLINE, **spec}
    return {"apiVersion": API_VERSION, "kind": name.kind, "metadata": metadata, "spec": spec}


def email(namespace: str, name: str, project: str) -> str:
    """Return the e-mail of an identity's account."""
    return f"{account_id(namespace, name)}@{PROJECTS[project]}.iam.gserviceaccount.com"


def account_id(namespace: str, name: str) -> str:
    """Return the account ID that an identity of the pool declares."""
    return f"{namespace}-{name}"


def project_spec(name: str, *, namespaces: Sequence[str] = NAMESPACES, suspend: bool = False) -> Spec:
    """Return the spec of a ManagedProject."""
    spec = {"projectID": PROJECTS[name], **_OPEN, "namespaces": {"names": list(namespaces)}}
    if suspend:
        spec["suspend"] = True
    return spec


def _projects() -> Iterator[Declared]:
    for name in PROJECTS:
        specs = [
            project_spec(name),
            project_spec(name, suspend=True),
            project_spec(name, namespaces=["team-a"]),
            {**project_spec(name), "managementPolicy": "Observe"},
        ]
        yield Declared(ObjectName("ManagedProject", "", name), name, specs)


def _identities() -> Iterator[Declared]:
    for namespace, name, project in (
        ("team-a", "web", "shop"),
        ("team-a", "worker", "data"),
        ("team-b", "web", "shop"),
    ):
        base = {"projectRef": {"name": project}, "accountID": account_id(namespace, name)}
        sql = {"role": "roles/cloudsql.client"}
        reader = {"role": "roles/storage.objectViewer", "target": {"kind": "StorageBucket", "name": "acme-exports"}}
        specs: list[Spec] = [
            {**base, "roles": [sql], "users": [{"principal": "group:deployers@example.com"}]},
            base,
            {**base, "roles": [sql] + ([reader] if project == "shop" else []), "displayName": "Two roles"},
            {
                **base,
                "users": [
                    {"principal": "group:deployers@example.com"},
                    {"principal": "user:ann@example.com"},
                ],
            },
            {**base, "roles": [sql], "disabled": True},
        ]
        if name == "worker":
            specs = [{**spec, "usableFrom": [{"projectRef": {"name": "shop"}}]} for spec in specs]
        yield Declared(ObjectName("CloudRunIdentity", namespace, name), project, specs)


def _bindings() -> Iterator[Declared]:
    service = {"kind": "Service", "location": "europe-west1", "name": "checkout"}
    bucket = {"kind": "StorageBucket", "name": "acme-exports"}
    callers = [{"principal": "group:callers@example.com"}, {"principal": "user:ann@example.com"}]
    for namespace in NAMESPACES:
        base = {"projectRef": {"name": "shop"}, "target": service, "role": INVOKER}
        yield Declared(
            ObjectName("IAMBinding", namespace, "callers"),
            "shop",
            [
                {**base, "members": callers[:1]},
                {**base, "members": callers},
                {**base, "members": callers[1:]},
                {**base, "members": [*callers, {"identityRef": {"name": "web"}}]},
            ],
        )
    base = {"projectRef": {"name": "shop"}, "target": bucket, "role": "roles/storage.objectViewer"}
    for namespace in NAMESPACES:
        yield Declared(
            ObjectName("IAMBinding", namespace, "readers"),
            "shop",
            [
                {**base, "members": [{"identityRef": {"name": "web"}}]},
                {**base, "members": [{"principal": "group:analysts@example.com"}]},
                {
                    **base,
                    "members": [
                        {"principal": "group:analysts@example.com"},
                        {"identityRef": {"name": "web"}},
                    ],
                },
            ],
        )
    base = {"projectRef": {"name": "shop"}, "target": {"kind": "Project"}, "customRoleRef": {"name": "reader"}}
    yield Declared(
        ObjectName("IAMBinding", "team-a", "special"),
        "shop",
        [
            {**base, "members": [{"principal": "group:analysts@example.com"}]},
            {**base, "members": [{"identityRef": {"name": "web"}}]},
        ],
    )


def _roles() -> Iterator[Declared]:
    base = {"projectRef": {"name": "shop"}, "roleID": "reader"}
    yield Declared(
        ObjectName("CustomRole", "team-a", "reader"),
        "shop",
        [
            {**base, "permissions": ["storage.objects.get"]},
            {**base, "permissions": ["storage.objects.get", "storage.objects.list"], "title": "Reader"},
            {**base, "permissions": ["cloudsql.instances.connect"]},
        ],
    )


def _attachments() -> Iterator[Declared]:
    workload = {"kind": "Service", "location": "europe-west1", "name": "checkout"}
    base = {"projectRef": {"name": "shop"}, "workload": workload}
    yield Declared(
        ObjectName("IdentityAttachment", "team-a", "checkout"),
        "shop",
        [{**base, "identityRef": {"name": "web"}}, {**base, "identityRef": {"name": "worker"}}],
    )


POOL: Mapping[ObjectName, Declared] = {
    each.name: each
    for group in (_projects(), _identities(), _bindings(), _roles(), _attachments())
    for each in group
}
"""All objects that a history may declare."""


def grants_of(name: ObjectName, spec: Spec, has_identity: Any) -> set[Grant]:
    """Return the grants that a spec declares, if the operator may make all of them.

    `has_identity(namespace, name)` returns the project of an identity that exists, or else None.
    """
    match name.kind:
        case "CloudRunIdentity":
            return set(_grants_of_identity(name, spec))
        case "IAMBinding":
            return set(_grants_of_binding(name, spec, has_identity))
    return set()


def _grants_of_identity(name: ObjectName, spec: Spec) -> Iterator[Grant]:
    project = PROJECTS[spec["projectRef"]["name"]]
    own = f"{spec['accountID']}@{project}.iam.gserviceaccount.com"
    for grant in spec.get("roles", ()):
        resource = _target(grant.get("target", {"kind": "Project"}), project)
        yield Grant(resource, grant["role"], f"serviceAccount:{own}")
    for user in spec.get("users", ()):
        yield Grant(f"projects/{project}/serviceAccounts/{own}", USER, user["principal"])


def _grants_of_binding(name: ObjectName, spec: Spec, has_identity: Any) -> Iterator[Grant]:
    project = PROJECTS[spec["projectRef"]["name"]]
    role = spec.get("role") or f"projects/{project}/roles/{spec['customRoleRef']['name']}"
    for member in spec["members"]:
        if principal := member.get("principal"):
            yield Grant(_target(spec["target"], project), role, principal)
        elif home := has_identity(name.namespace, member["identityRef"]["name"]):
            account = email(name.namespace, member["identityRef"]["name"], home)
            yield Grant(_target(spec["target"], project), role, f"serviceAccount:{account}")


def _target(target: Spec, project: str) -> str:
    match target["kind"]:
        case "Project":
            return f"projects/{project}"
        case "StorageBucket":
            return f"projects/{project}/buckets/{target['name']}"
        case "Service":
            return f"projects/{project}/locations/{target['location']}/services/{target['name']}"
    raise ValueError(target["kind"])
