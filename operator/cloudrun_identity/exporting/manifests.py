"""Manifests of the exported objects: one function per kind."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cloudrun_identity.api.group import API_VERSION
from cloudrun_identity.gcp.custom_roles import CustomRoleState
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.gcp.workloads import WorkloadState
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.iam.principals import email, lower_email
from cloudrun_identity.iam.spec_forms import Manifest, condition_manifest, target_manifest

from .survey import DeclaredKey


@dataclass(frozen=True, slots=True)
class Declared:
    """References to declared objects, as an object in one namespace writes them."""

    identities: Mapping[str, Manifest] = field(default_factory=dict)
    """References to identities, by e-mail in lower case."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """Names of the custom roles in the namespace, by full name of the role."""


def project_manifest(
    name: str,
    namespaces: Iterable[str],
    project_id: str,
    locations: Iterable[str],
    guardrails: Mapping[str, object],
) -> Manifest:
    """Return a ManagedProject for the namespaces."""
    where = list(locations)
    return {
        "apiVersion": API_VERSION,
        "kind": "ManagedProject",
        "metadata": {"name": name},
        "spec": {
            "projectID": project_id,
            **({"locations": where} if where else {}),
            "namespaces": {"names": list(namespaces)},
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
    allowed_namespaces: Sequence[str],
    declared: Declared,
) -> Manifest:
    """Return a CloudRunIdentity that adopts the account unchanged.

    `roles` are its grants on its project. `members` are the members that may use it, by field.
    `allowed_namespaces` are the other namespaces with objects that refer to it.
    """
    text = {"displayName": account.display_name, "description": account.description}
    lists = {
        "roles": [{**_role(grant.role, declared), **condition_manifest(grant.condition)} for grant in roles],
        **{
            field: [_member(member, NONE if field == _FROM_OUTSIDE else declared) for member in named]
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
            **({"allowedNamespaces": list(allowed_namespaces)} if allowed_namespaces else {}),
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
            "target": target_manifest(first.target, _names_of(declared)),
            **_role(first.role, declared),
            "members": [_member(grant.member, declared) for grant in grants],
            **condition_manifest(first.condition),
            "existingGrants": "Claim",
        },
    )


def attachment_manifest(
    name: str, namespace: str, project: str, state: WorkloadState, declared: Declared
) -> Manifest:
    """Return an IdentityAttachment for the identity, or the e-mail, that the workload already runs as."""
    workload = state.workload
    account = lower_email(state.service_account)
    reference = declared.identities.get(account)
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
            **({"identityRef": reference} if reference else {"email": account}),
        },
    )


def key_manifest(name: str, namespace: str, project: str, key: DeclaredKey, declared: Declared) -> Manifest:
    """Return an IdentityKey that creates a key, and a Secret of a name that no other tool uses."""
    return _manifest(
        "IdentityKey",
        name,
        namespace,
        project,
        {"identityRef": declared.identities[lower_email(key.account)], "secretName": f"{name}-rotated"},
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


NONE = Declared()
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
    name = declared.roles.get(role)
    return {"customRoleRef": {"name": name}} if name else {"role": role}


def _member(member: str, declared: Declared) -> Manifest:
    reference = declared.identities.get(lower_email(email(member)))
    return {"identityRef": reference} if reference else {"principal": member}


def _names_of(declared: Declared) -> Mapping[str, str]:
    """Return the names of the identities in the namespace, which are the only ones that targets name."""
    return {key: each["name"] for key, each in declared.identities.items() if "namespace" not in each}
