"""Grants that the specs of the pool declare, and those of other clients."""

from collections.abc import Callable, Iterator

from .declarations import (
    BUCKET,
    CHECKOUT,
    DATA,
    INVOKER,
    PROJECTS,
    SHOP,
    TOKEN_CREATOR,
    USER,
    WRITER,
    Grant,
    ObjectName,
    Spec,
    email,
    run_service_agent,
)
from .pool import POOL

UNMANAGED = (
    Grant(CHECKOUT, INVOKER, "group:testers@example.com"),
    Grant(CHECKOUT, INVOKER, "allAuthenticatedUsers"),
    Grant(f"projects/{SHOP}", "roles/viewer", "group:auditors@example.com"),
    Grant(f"projects/{SHOP}", "roles/cloudsql.client", "user:eve@example.com"),
    Grant(BUCKET, "roles/storage.objectViewer", "user:eve@example.com"),
    Grant(f"projects/{DATA}", "roles/cloudsql.client", "group:auditors@example.com"),
)
"""Grants that no object of the pool declares."""

INTRUDERS = tuple(
    Grant(BUCKET, WRITER, member)
    for member in ("group:intruders@example.com", "user:mallory@example.com", "user:trudy@example.com")
)
"""Grants that an Exclusive binding removes: more than the limit of an hour."""

DECLARED = (
    Grant(CHECKOUT, INVOKER, "group:callers@example.com"),
    Grant(CHECKOUT, INVOKER, "user:ann@example.com"),
    Grant(BUCKET, "roles/storage.objectViewer", "group:analysts@example.com"),
    Grant(f"projects/{SHOP}", f"projects/{SHOP}/roles/reader", "group:analysts@example.com"),
)
"""Grants of users and groups that objects of the pool declare."""

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
        where = PROJECTS[grant.get("projectRef", spec["projectRef"])["name"]]
        resource = _target(grant.get("target", {"kind": "Project"}), where)
        yield Grant(resource, grant["role"], f"serviceAccount:{own}")
    account = f"projects/{project}/serviceAccounts/{own}"
    for user in spec.get("users", ()):
        yield Grant(account, USER, user["principal"])
    for use in spec.get("usableFrom", ()):
        agent = run_service_agent(use["projectRef"]["name"])
        yield Grant(account, TOKEN_CREATOR, f"serviceAccount:{agent}")


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
