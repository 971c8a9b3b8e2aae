"""Privilege escalation: the table of permissions that let their holder gain further permissions.

Permissions decide whether a role escalates, never its name. Google adds permissions to predefined roles, and
a custom role can contain any permission. Whether a permission escalates also depends on where it is granted:
see `Reach`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from cloudrun_identity.api import TARGET_KINDS, TargetKind

from .patterns import matches_any


class Reach(StrEnum):
    """Scope of a grant, as far as escalation is concerned."""

    PROJECT = "project"
    """A whole project: every secret, bucket, image and account in it."""
    RESOURCE = "resource"
    """One resource."""
    OWN_IDENTITY = "own identity"
    """Account of a CloudRunIdentity in the granting namespace, which decides who acts as the account."""


def reach_of(kind: TargetKind, *, own_identity: bool) -> Reach:
    """Return the scope of a grant on a target of a kind.

    `own_identity`: the target is the account of a CloudRunIdentity.
    """
    if TARGET_KINDS[kind].is_inherited:
        return Reach.PROJECT
    return Reach.OWN_IDENTITY if own_identity else Reach.RESOURCE


@dataclass(frozen=True, slots=True)
class Escalation:
    """One group of the table."""

    patterns: tuple[str, ...]
    """Patterns of permissions, in which `*` matches any run of characters."""
    reason: str
    """Reason why the permissions escalate, to follow "its holder"."""
    reaches: frozenset[Reach] = frozenset(Reach)
    """Scopes in which the permissions escalate."""


def escalating(permissions: Iterable[str], reach: Reach = Reach.PROJECT) -> frozenset[str]:
    """Return the permissions that escalate when granted in that scope."""
    return _escalating(frozenset(permissions), reach)


def reason_for(permission: str, reach: Reach = Reach.PROJECT) -> str:
    """Return why the permission escalates in that scope, to follow "its holder"; empty if it does not."""
    for group in TABLE:
        if reach in group.reaches and matches_any(permission, group.patterns):
            return group.reason
    return ""


# A role with thousands of permissions takes a tenth of a second, and each of its grants asks again.
@lru_cache(maxsize=256)
def _escalating(permissions: frozenset[str], reach: Reach) -> frozenset[str]:
    return frozenset(permission for permission in permissions if reason_for(permission, reach))


_EXCEPT_OWN_IDENTITY = frozenset(Reach) - {Reach.OWN_IDENTITY}
_WHOLE_PROJECT = frozenset({Reach.PROJECT})

TABLE: tuple[Escalation, ...] = (
    Escalation(("*.setIamPolicy",), "can grant any role to any principal"),
    Escalation(
        (
            "iam.serviceAccounts.actAs",
            "iam.serviceAccounts.getAccessToken",
            "iam.serviceAccounts.getOpenIdToken",
            "iam.serviceAccounts.signBlob",
            "iam.serviceAccounts.signJwt",
            "iam.serviceAccounts.implicitDelegation",
        ),
        "can act as service accounts",
        _EXCEPT_OWN_IDENTITY,
    ),
    Escalation(
        ("iam.serviceAccounts.enable", "iam.serviceAccounts.undelete"),
        "can restore service accounts together with their grants",
    ),
    Escalation(
        ("iam.serviceAccountKeys.create", "iam.serviceAccountKeys.upload"),
        "can create keys of service accounts, which outlive the grant",
    ),
    Escalation(
        ("iam.roles.create", "iam.roles.update", "iam.roles.undelete"),
        "can add permissions to roles that are already granted",
    ),
    # In older roles the permissions of pools have the service's full name: iam.googleapis.com/workload….
    Escalation(
        (
            "iam.*workloadIdentityPool*.create",
            "iam.*workloadIdentityPool*.update",
            "iam.*workloadIdentityPool*.undelete",
        ),
        "can decide which outside identities are trusted",
    ),
    Escalation(("orgpolicy.*",), "can remove the organization's constraints"),
    # Boundaries add up: one more extends what a principal can access. One more deny policy removes nothing.
    Escalation(
        (
            "iam.*denypolicies.delete",
            "iam.*denypolicies.update",
            "iam.*principalaccessboundarypolicies.bind",
            "iam.*principalaccessboundarypolicies.create",
            "iam.*principalaccessboundarypolicies.delete",
            "iam.*principalaccessboundarypolicies.unbind",
            "iam.*principalaccessboundarypolicies.update",
            "*.createPolicyBinding",
            "*.deletePolicyBinding",
            "*.updatePolicyBinding",
        ),
        "can remove policies that deny or restrict access",
    ),
    Escalation(
        ("*.createTagBinding", "*.deleteTagBinding", "resourcemanager.tagValueBindings.*"),
        "can fulfill conditions on tags",
    ),
    Escalation(
        ("storage.hmacKeys.create", "apikeys.keys.create", "iam.serviceAccountApiKeyBindings.create"),
        "can create credentials that outlive the grant",
    ),
    Escalation(("run.jobs.runWithOverrides",), "can run any command as a job's identity"),
    Escalation(
        (
            "run.*.ssh*",
            "*.exec",
            "container.pods.attach",
            "compute.instances.osLogin",
            "compute.instances.osAdminLogin",
            "composer.environments.executeAirflowCommand",
        ),
        "can run any command as the identity of a running workload",
    ),
    Escalation(
        (
            "cloudbuild.builds.create",
            "cloudbuild.builds.update",
            "cloudfunctions.functions.create",
            "cloudfunctions.functions.update",
            "cloudfunctions.functions.sourceCodeSet",
            "dataflow.jobs.create",
            "dataflow.jobs.updateContents",
            "composer.environments.create",
            "composer.environments.update",
            "dataproc.jobs.create",
            "deploymentmanager.deployments.create",
            "deploymentmanager.deployments.update",
            "aiplatform.*.create",
        ),
        "can run any code as the account of a service",
    ),
    Escalation(
        (
            "compute.*.setMetadata",
            "compute.projects.setCommonInstanceMetadata",
            "compute.instanceSettings.update",
        ),
        "can add startup scripts and SSH keys to machines",
    ),
    Escalation(("secretmanager.versions.access",), "can read every secret of the project", _WHOLE_PROJECT),
    Escalation(
        (
            "storage.objects.create",
            "storage.objects.update",
            "storage.objects.move",
        ),
        "can replace objects that other principals run or trust, in every bucket of the project",
        _WHOLE_PROJECT,
    ),
    Escalation(
        (
            "artifactregistry.repositories.uploadArtifacts",
            "artifactregistry.tags.create",
            "artifactregistry.tags.update",
        ),
        "can replace images that other principals run, in every repository of the project",
        _WHOLE_PROJECT,
    ),
)
"""Groups of permissions that escalate. A permission belongs to the first group that matches it."""
