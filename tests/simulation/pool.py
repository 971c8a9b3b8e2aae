"""Pool of the objects that a history declares, with several valid specs each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .declarations import (
    DRIFT_INTERVAL,
    INVOKER,
    NAMESPACES,
    PROJECTS,
    SHOP,
    WRITER,
    ObjectName,
    Spec,
    account_id,
)

_OTHERS = {"shop": "data", "data": "shop"}
"""The other ManagedProject of each."""

REMOVAL_LIMIT = 2
"""Unmanaged members that may be removed from Exclusive bindings in an hour."""

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
        "maxRemovalsPerHour": REMOVAL_LIMIT,
        "workloads": [{"namespaces": ["*"], "names": ["*"]}],
        "keys": "Allowed",
        "keyNamespaces": ["*"],
        "restoreToDefaultAccount": True,
        "customRoles": {
            "permissions": ["cloudsql.*", "storage.*"],
            "namespaces": ["*"],
            "roleIDs": ["*"],
        },
    },
}


@dataclass(frozen=True)
class Declared:
    """An object of the pool."""

    name: ObjectName
    project: str
    """ManagedProject that it belongs to."""
    specs: Sequence[Spec]
    """Valid specs, the first of which is usual."""


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
            {**base, "roles": [sql], "disableBeforeDelete": "20s"},
            {**base, "roles": [sql], "whenDeleted": "Recreate"},
            {**base, "roles": [sql, {**sql, "projectRef": {"name": _OTHERS[project]}}]},
            {**base, "roles": [sql], "suspend": True},
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
                {**base, "members": callers[:1], "suspend": True},
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
            {**base, "members": [{**guest, "duration": "3m"}]},
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
            {**base, "permissions": ["storage.objects.get"], "deletionPolicy": "Abandon"},
        ],
    )


def _attachments() -> Iterator[Declared]:
    workload = {"kind": "Service", "location": "europe-west1", "name": "checkout"}
    base = {"projectRef": {"name": "shop"}, "workload": workload}
    yield Declared(
        ObjectName("IdentityAttachment", "team-a", "checkout"),
        "shop",
        [
            {**base, "identityRef": {"name": "web"}},
            {**base, "identityRef": {"name": "worker"}},
            {**base, "identityRef": {"name": "web"}, "deletionPolicy": "Restore"},
        ],
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
            {**base, "deletionPolicy": "Abandon"},
        ],
    )


POOL: Mapping[ObjectName, Declared] = {
    each.name: each
    for group in (_projects(), _identities(), _bindings(), _roles(), _attachments(), _keys())
    for each in group
}
"""All objects that a history may declare."""
