"""Manifests of the exported objects: one function per kind."""

from collections.abc import Iterable, Mapping

from cloudrun_identity.api.group import API_VERSION
from cloudrun_identity.gcp.custom_roles import CustomRoleState
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.gcp.workloads import WorkloadState
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.iam.principals import email, lower_email
from cloudrun_identity.iam.spec_forms import Manifest, condition_manifest, target_manifest

from .survey import DeclaredKey

Declared = Mapping[str, str]
"""Names of declared objects: of identities by lower-case e-mail, of custom roles by full name."""


def project_manifest(
    name: str, namespace: str, project_id: str, locations: Iterable[str], guardrails: Mapping[str, object]
) -> Manifest:
    """Return a ManagedProject for one namespace."""
    where = list(locations)
    return {
        "apiVersion": API_VERSION,
        "kind": "ManagedProject",
        "metadata": {"name": name},
        "spec": {
            "projectID": project_id,
            **({"locations": where} if where else {}),
            "namespaces": {"names": [namespace]},
            "guardrails": dict(guardrails),
        },
    }


def identity_manifest(
    name: str,
    namespace: str,
    project: str,
    account: ServiceAccount,
    roles: Iterable[Grant],
    members: Mapping[str, Iterable[str]],
    declared: Declared,
) -> Manifest:
    """Return a CloudRunIdentity that adopts the account unchanged.

    `roles` are its grants on its project. `members` are the members that may use it, by field.
    """
    text = {"displayName": account.display_name, "description": account.description}
    lists = {
        "roles": [{**_role(grant.role, declared), **condition_manifest(grant.condition)} for grant in roles],
        **{
            field: [_member(member, {} if field == _FROM_OUTSIDE else declared) for member in named]
            for field, named in members.items()
        },
    }
    return _manifest(
        "CloudRunIdentity",
        name,
        namespace,
        project,
        {
            "accountID": account.email.partition("@")[0],
            **{field: value for field, value in text.items() if value},
            **({"disabled": True} if account.disabled else {}),
            "adoption": "Adopt",
            "existingGrants": "Claim",
            **{field: entries for field, entries in lists.items() if entries},
        },
    )


def binding_manifest(
    name: str, namespace: str, project: str, grants: Iterable[Grant], declared: Declared
) -> Manifest:
    """Return an IAMBinding for grants that differ only in their members."""
    grants = list(grants)
    first = grants[0]
    return _manifest(
        "IAMBinding",
        name,
        namespace,
        project,
        {
            "target": target_manifest(first.target, declared),
            **_role(first.role, declared),
            "members": [_member(grant.member, declared) for grant in grants],
            **condition_manifest(first.condition),
            "existingGrants": "Claim",
        },
    )


def attachment_manifest(
    name: str, namespace: str, project: str, state: WorkloadState, declared: Declared
) -> Manifest:
    """Return an IdentityAttachment for the identity that the workload already runs as."""
    workload = state.workload
    return _manifest(
        "IdentityAttachment",
        name,
        namespace,
        project,
        {
            "workload": {
                "kind": workload.kind.value,
                "location": workload.location,
                "name": workload.name,
            },
            "identityRef": {"name": declared[lower_email(state.service_account)]},
        },
    )


def key_manifest(name: str, namespace: str, project: str, key: DeclaredKey, declared: Declared) -> Manifest:
    """Return an IdentityKey that creates a key, and a Secret of a name that no other tool uses."""
    return _manifest(
        "IdentityKey",
        name,
        namespace,
        project,
        {"identityRef": {"name": declared[lower_email(key.account)]}, "secretName": f"{name}-rotated"},
    )


def role_manifest(name: str, namespace: str, project: str, role: CustomRoleState) -> Manifest:
    """Return a CustomRole that adopts the role unchanged, and keeps it when the object is deleted."""
    text = {"title": role.title, "description": role.description}
    return _manifest(
        "CustomRole",
        name,
        namespace,
        project,
        {
            "roleID": role.role_id,
            **{field: value for field, value in text.items() if value},
            "stage": role.stage,
            "permissions": sorted(role.permissions),
            "adoption": "Adopt",
            "deletionPolicy": "Abandon",
        },
    )


_FROM_OUTSIDE = "workloadIdentityUsers"
"""The list that takes principals alone."""


def _manifest(kind: str, name: str, namespace: str, project: str, spec: Mapping[str, object]) -> Manifest:
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"projectRef": {"name": project}, **spec},
    }


def _role(role: str, declared: Declared) -> Manifest:
    return {"customRoleRef": {"name": declared[role]}} if role in declared else {"role": role}


def _member(member: str, declared: Declared) -> Manifest:
    name = declared.get(lower_email(email(member)))
    return {"identityRef": {"name": name}} if name else {"principal": member}
