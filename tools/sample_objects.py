"""Objects as the API server returns them, for samples of the web page and for its tests."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from cloudrun_identity.kube.resources import Object

NOW = datetime.now(UTC)

USER, TOKENS = "roles/iam.serviceAccountUser", "roles/iam.serviceAccountTokenCreator"
WORKLOAD_IDENTITY = "roles/iam.workloadIdentityUser"


def ago(**duration: float) -> str:
    """Return a time before now, as the API server writes it."""
    return (NOW - timedelta(**duration)).isoformat(timespec="seconds").replace("+00:00", "Z")


def condition(
    kind: str, status: str = "True", reason: str = "UpToDate", message: str = "", since: str = ""
) -> Object:
    """Return a condition of a status."""
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since or ago(days=6),
        "observedGeneration": 1,
    }


READY = (
    condition("Ready", message="The account, its grants and its users are as declared."),
    condition("InSync", message="Google Cloud is as declared."),
)


def custom_object(
    kind: str, namespace: str, name: str, spec: Object, status: Object, created: str = ""
) -> Object:
    """Return an object that the operator has reconciled."""
    metadata = {
        "name": name,
        "uid": f"{kind}-{namespace}-{name}",
        "resourceVersion": "1",
        "generation": 1,
        "creationTimestamp": created or ago(days=41),
    }
    if namespace:
        metadata["namespace"] = namespace
    return {
        "apiVersion": "cloudrun-identity.dev/v1alpha1",
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
        "status": {"observedGeneration": 1, "conditions": list(READY), **status},
    }


def project(name: str, number: int, **status: Any) -> Object:
    """Return a ManagedProject."""
    known = {"projectID": name, "projectNumber": str(number)}
    return custom_object("ManagedProject", "", name, {"namespaces": {"names": ["payments"]}}, known | status)


def email(account: str, project_id: str) -> str:
    """Return the e-mail of an account."""
    return f"{account}@{project_id}.iam.gserviceaccount.com"


def grant(role: str, member: str, target: str, state: str = "Granted", **more: str) -> Object:
    """Return a grant in a status."""
    return {"role": role, "member": member, "target": target, "state": state, **more}


def identity(
    namespace: str,
    name: str,
    project_id: str,
    *,
    users: Iterable[tuple[str, str]] = (),
    roles: Iterable[tuple[str, str]] = (),
    runs: Iterable[str] = (),
    **status: Any,
) -> Object:
    """Return a CloudRunIdentity. `users` are (role, member), `roles` are (role, target)."""
    account = email(name, project_id)
    member = f"serviceAccount:{account}"
    grants = [
        *(grant(role, user, f"ServiceAccount {account}") for role, user in users),
        *(grant(role, member, target) for role, target in roles),
    ]
    known = {
        "email": account,
        "member": member,
        "name": f"projects/{project_id}/serviceAccounts/{account}",
        "uniqueID": str(abs(hash(account)))[:21],
        "origin": "Created",
        "projectID": project_id,
        "grants": grants,
        "grantCounts": {"granted": len(grants)},
        "lastGrantedTime": ago(days=6, minutes=2),
        "attachedTo": [
            {"projectID": project_id, "kind": kind, "location": "europe-west1", "name": workload}
            for kind, _, workload in (run.partition(" ") for run in runs)
        ],
    }
    spec = {"projectRef": {"name": project_id}, "displayName": name.replace("-", " ").capitalize()}
    return custom_object("CloudRunIdentity", namespace, name, spec, known | status)


def binding(namespace: str, name: str, project_id: str, *grants: Object, **status: Any) -> Object:
    """Return an IAMBinding with these grants."""
    spec = {
        "projectRef": {"name": project_id},
        "target": {"kind": "Project"},
        "role": grants[0]["role"],
        "members": [{"principal": "allUsers"}],
    }
    known = {"grants": list(grants), "projectID": project_id, "role": grants[0]["role"]}
    return custom_object("IAMBinding", namespace, name, spec, known | status)


def attachment(namespace: str, name: str, project_id: str, account: str, **status: Any) -> Object:
    """Return an IdentityAttachment of a service with the name of the object."""
    spec = {
        "projectRef": {"name": project_id},
        "workload": {"kind": "Service", "location": "europe-west1", "name": name},
        "identityRef": {"name": account},
    }
    known = {"projectID": project_id, "identity": account, "workload": f"Service europe-west1/{name}"}
    return custom_object("IdentityAttachment", namespace, name, spec, known | status)


def key(namespace: str, name: str, project_id: str, account: str) -> Object:
    """Return an IdentityKey that was rotated two days ago."""
    keys = [
        {"id": "9f2c41d07be84a11", "state": "Active", "createdTime": ago(days=2)},
        {"id": "5e1180cc93d24f70", "state": "Overlap", "createdTime": ago(days=32)}
        | {"disableAfter": ago(days=-1), "deleteAfter": ago(days=-8)},
    ]
    return custom_object(
        "IdentityKey",
        namespace,
        name,
        {
            "projectRef": {"name": project_id},
            "identityRef": {"name": account},
            "secretName": f"{name}-key",
        },
        {"projectID": project_id, "keys": keys, "activeKeyID": keys[0]["id"]}
        | {"nextRotationTime": ago(days=-28)},
    )


def drift(count: int, *changes: str, detected: str, repaired: str = "") -> Object:
    """Return the drift of a status."""
    known: Object = {"count": count, "lastDetectedTime": detected, "changes": list(changes)}
    return known | ({"lastRepairedTime": repaired} if repaired else {})


def refused(reason: str, message: str, since: str) -> list[Object]:
    """Return the conditions of an object that needs a person."""
    return [
        condition("Ready", "False", reason, message, since),
        condition("Stalled", "True", reason, message, since),
        condition("InSync", "Unknown", reason, message, since),
    ]


def event(obj: Object, reason: str, message: str, at: str, *, warning: bool = False) -> Object:
    """Return an Event about an object."""
    metadata = obj["metadata"]
    name = f"{metadata['name']}.{reason.lower()}"
    return {
        "metadata": {"name": name, "uid": f"event-{metadata['uid']}-{name}", "resourceVersion": "1"},
        "involvedObject": {"kind": obj["kind"], "name": metadata["name"], "uid": metadata["uid"]},
        "reason": reason,
        "message": message,
        "type": "Warning" if warning else "Normal",
        "lastTimestamp": at,
        "count": 1,
    }
