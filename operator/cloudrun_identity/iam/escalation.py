"""Which permissions let their holder become more than they were given: the one table that decides it.

Escalation is judged by what a role holds, never by its name: Google adds permissions to predefined roles,
and a custom role may hold anything. Whether a permission escalates depends on where it is granted: `Reach`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from .patterns import matches_any


class Reach(StrEnum):
    """How far a grant reaches, as far as escalation is concerned."""

    PROJECT = "project"
    """A whole project: every secret, bucket, image and account in it."""
    RESOURCE = "resource"
    """One resource."""
    OWN_IDENTITY = "own identity"
    """The account of an identity that the granting namespace declares: to lend it is what it is there for."""


@dataclass(frozen=True, slots=True)
class Escalation:
    """One group of the table: permissions as patterns (`*` is any run of characters), and why they escalate.

    `reason` reads on after "its holder".
    """

    patterns: tuple[str, ...]
    reason: str
    reaches: frozenset[Reach] = frozenset(Reach)


def escalating(permissions: Iterable[str], reach: Reach = Reach.PROJECT) -> frozenset[str]:
    """Those of the permissions that escalate when granted that far."""
    return _escalating(frozenset(permissions), reach)


def reason_for(permission: str, reach: Reach = Reach.PROJECT) -> str:
    """Why the permission escalates when granted that far, to read on after "its holder"; empty if not."""
    for group in TABLE:
        if reach in group.reaches and matches_any(permission, group.patterns):
            return group.reason
    return ""


# A role of thousands of permissions takes a tenth of a second, and is asked about for every grant of it.
@lru_cache(maxsize=256)
def _escalating(permissions: frozenset[str], reach: Reach) -> frozenset[str]:
    return frozenset(permission for permission in permissions if reason_for(permission, reach))


_NOT_ONES_OWN = frozenset(Reach) - {Reach.OWN_IDENTITY}
_WHOLE_PROJECT = frozenset({Reach.PROJECT})

TABLE: tuple[Escalation, ...] = (
    Escalation(("*.setIamPolicy",), "can grant any role to anybody"),
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
        _NOT_ONES_OWN,
    ),
    Escalation(
        ("iam.serviceAccounts.enable", "iam.serviceAccounts.undelete"),
        "can bring back service accounts with all that they were granted",
    ),
    Escalation(
        ("iam.serviceAccountKeys.create", "iam.serviceAccountKeys.upload"),
        "can make keys of service accounts, which outlive the grant",
    ),
    Escalation(
        ("iam.roles.create", "iam.roles.update", "iam.roles.undelete"),
        "can put permissions into roles that are granted already",
    ),
    # The permissions of pools carry the service's full name in older roles: iam.googleapis.com/workload….
    Escalation(
        (
            "iam.*workloadIdentityPool*.create",
            "iam.*workloadIdentityPool*.update",
            "iam.*workloadIdentityPool*.undelete",
        ),
        "can decide which outside identities are trusted",
    ),
    Escalation(("orgpolicy.*",), "can lift the organization's constraints"),
    # Boundaries add up: another one widens what a principal may reach. One more deny policy lifts nothing.
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
        "can lift what denies access or bounds it",
    ),
    Escalation(
        ("*.createTagBinding", "*.deleteTagBinding", "resourcemanager.tagValueBindings.*"),
        "can make conditions on tags come true",
    ),
    Escalation(
        ("storage.hmacKeys.create", "apikeys.keys.create", "iam.serviceAccountApiKeyBindings.create"),
        "can make credentials that outlive the grant",
    ),
    Escalation(("run.jobs.runWithOverrides",), "can run commands of their own as a job's identity"),
    Escalation(
        (
            "run.*.ssh*",
            "*.exec",
            "container.pods.attach",
            "compute.instances.osLogin",
            "compute.instances.osAdminLogin",
            "composer.environments.executeAirflowCommand",
        ),
        "can run commands of their own as a running workload's identity",
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
        "can run code of their own as a service's account",
    ),
    Escalation(
        (
            "compute.*.setMetadata",
            "compute.projects.setCommonInstanceMetadata",
            "compute.instanceSettings.update",
        ),
        "can put startup scripts and SSH keys on machines",
    ),
    Escalation(("secretmanager.versions.access",), "can read every secret of the project", _WHOLE_PROJECT),
    Escalation(
        (
            "storage.objects.create",
            "storage.objects.update",
            "storage.objects.move",
        ),
        "can replace objects that others run or trust, in every bucket of the project",
        _WHOLE_PROJECT,
    ),
    Escalation(
        (
            "artifactregistry.repositories.uploadArtifacts",
            "artifactregistry.tags.create",
            "artifactregistry.tags.update",
        ),
        "can replace images that others run, in every repository of the project",
        _WHOLE_PROJECT,
    ),
)
"""Every permission that escalates, by why. A permission belongs to the first group that it matches."""
