"""Objects that a history declares: a pool of names with several valid specs, and the grants of a spec."""

from collections.abc import Callable, Iterator, Mapping, Sequence
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
    "IdentityKey": "identitykeys",
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
WRITER = "roles/storage.objectCreator"
"""Role that one binding of the pool declares with Exclusive authority."""
INVOKER, USER = "roles/run.invoker", "roles/iam.serviceAccountUser"

_OPEN = {
    "namespaces": {"names": list(NAMESPACES)},
    "locations": ["europe-west1"],
    "driftInterval": f"{DRIFT_INTERVAL}s",
    "guardrails": {
        "grants": [
            {
                "roles": [
                    "roles/cloudsql.client",
                    "roles/storage.objectViewer",
                    WRITER,
                    f"projects/{SHOP}/roles/*",
                ],
                "targetKinds": ["Project", "StorageBucket"],
                "names": ["*"],
                "namespaces": ["*"],
                "members": ["*"],
                "exclusive": True,
            }
        ],
        "workloads": [{"namespaces": ["*"], "names": ["*"]}],
        "keys": "Allowed",
        "keyNamespaces": ["*"],
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
    spec: Spec = {"projectID": PROJECTS[name], **_OPEN, "namespaces": {"names": list(namespaces)}}
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
            {**project_spec(name), "guardrails": {}},
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
        reader = {
            "role": "roles/storage.objectViewer",
            "target": {"kind": "StorageBucket", "name": "acme-exports"},
        }
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
            {**base, "roles": [sql], "deletionPolicy": "Abandon"},
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
                {**base, "members": callers, "deletionPolicy": "Abandon"},
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
    base = {
        "projectRef": {"name": "shop"},
        "target": {"kind": "Project"},
        "customRoleRef": {"name": "reader"},
    }
    yield Declared(
        ObjectName("IAMBinding", "team-a", "special"),
        "shop",
        [
            {**base, "members": [{"principal": "group:analysts@example.com"}]},
            {**base, "members": [{"identityRef": {"name": "web"}}]},
        ],
    )

    base = {"projectRef": {"name": "shop"}, "target": service, "role": INVOKER}
    guest = {"principal": "user:guest@example.com"}
    yield Declared(
        ObjectName("IAMBinding", "team-b", "visitors"),
        "shop",
        [
            {**base, "members": [{**guest, "expiresAt": "2030-01-01T00:04:00Z"}]},
            {**base, "members": [{**guest, "expiresAt": "2030-01-01T00:09:00Z"}]},
            {**base, "members": [guest]},
        ],
    )
    base = {"projectRef": {"name": "shop"}, "target": bucket, "role": WRITER, "authority": "Exclusive"}
    yield Declared(
        ObjectName("IAMBinding", "team-a", "writers"),
        "shop",
        [
            {**base, "members": [{"principal": "group:writers@example.com"}]},
            {
                **base,
                "members": [{"principal": "group:writers@example.com"}, {"identityRef": {"name": "web"}}],
            },
            {**base, "members": [{"principal": "group:writers@example.com"}], "authority": "Additive"},
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


def _keys() -> Iterator[Declared]:
    base = {
        "projectRef": {"name": "shop"},
        "identityRef": {"name": "web"},
        "secretName": "web-key",
        "rotation": {"period": "1h", "overlap": "1m"},
    }
    yield Declared(
        ObjectName("IdentityKey", "team-a", "web"),
        "shop",
        [
            base,
            {**base, "rotation": {"period": "1h", "overlap": "1m", "generation": 1}},
            {**base, "rotation": {"period": "1h", "overlap": "1m", "generation": 2}},
        ],
    )


POOL: Mapping[ObjectName, Declared] = {
    each.name: each
    for group in (_projects(), _identities(), _bindings(), _roles(), _attachments(), _keys())
    for each in group
}
"""All objects that a history may declare."""


IdentityHome = Callable[[str, str], str | None]
"""Returns the ManagedProject of an identity, by namespace and name; None if it is not declared."""


def home_in_pool(namespace: str, name: str) -> str | None:
    """Return the ManagedProject of an identity of the pool."""
    declared = POOL.get(ObjectName("CloudRunIdentity", namespace, name))
    return declared.project if declared else None


def grants_of(name: ObjectName, spec: Spec, home: IdentityHome, now: str = "") -> set[Grant]:
    """Return the grants that a spec declares at a time (RFC 3339), if the operator may make all of them."""
    match name.kind:
        case "CloudRunIdentity":
            return set(_grants_of_identity(spec))
        case "IAMBinding":
            return set(_grants_of_binding(name, spec, home, now))
    return set()


def all_grants_of(name: ObjectName) -> set[Grant]:
    """Return every grant that an object of the pool may declare."""
    return {grant for spec in POOL[name].specs for grant in grants_of(name, spec, home_in_pool)}


def grants_of_account(name: ObjectName) -> set[Grant]:
    """Return every grant of, or on, the account of an identity."""
    account = email(name.namespace, name.name, POOL[name].project)
    return {grant for grant in ALL_GRANTS if account in grant.resource or account in grant.member}


def _grants_of_identity(spec: Spec) -> Iterator[Grant]:
    project = PROJECTS[spec["projectRef"]["name"]]
    own = f"{spec['accountID']}@{project}.iam.gserviceaccount.com"
    for grant in spec.get("roles", ()):
        resource = _target(grant.get("target", {"kind": "Project"}), project)
        yield Grant(resource, grant["role"], f"serviceAccount:{own}")
    for user in spec.get("users", ()):
        yield Grant(f"projects/{project}/serviceAccounts/{own}", USER, user["principal"])


def _grants_of_binding(name: ObjectName, spec: Spec, home: IdentityHome, now: str) -> Iterator[Grant]:
    project = PROJECTS[spec["projectRef"]["name"]]
    role = spec.get("role") or f"projects/{project}/roles/{spec['customRoleRef']['name']}"
    for member in spec["members"]:
        if now and member.get("expiresAt", "9") <= now:
            continue
        if principal := member.get("principal"):
            yield Grant(_target(spec["target"], project), role, principal)
        elif project_of := home(name.namespace, member["identityRef"]["name"]):
            account = email(name.namespace, member["identityRef"]["name"], project_of)
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


ALL_GRANTS = frozenset(grant for name in POOL for grant in all_grants_of(name))
"""Every grant that an object of the pool may declare."""
