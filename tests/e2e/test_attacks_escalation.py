"""Attack guardrails with roles that escalate: each group of docs/reference/escalation.md, in every way.

The project of these attempts admits all roles, members, targets and permissions, but not `allowEscalation`.
A group that is added to the table is attacked, too.
"""

from collections.abc import Iterator

import pytest

from cloudrun_identity.iam.escalation import TABLE, Escalation, Reach, group_of
from cloudrun_identity.iam.role_catalog import known_permissions
from tests.e2e.attempts import Attempts
from tests.e2e.tenants import READING_A_ROLE, Attempt, Tenants

ABOVE_PROJECTS = (
    "resourcemanager.folders.",
    "resourcemanager.organizations.",
    "resourcemanager.projects.list",
)
"""Permissions that a project's custom role cannot have."""

BASIC = ("roles/owner", "roles/editor", "roles/viewer")
PREDEFINED = (
    "roles/cloudbuild.builds.editor",
    "roles/compute.instanceAdmin.v1",
    "roles/container.developer",
    "roles/iam.roleAdmin",
    "roles/iam.securityAdmin",
    "roles/iam.serviceAccountKeyAdmin",
    "roles/iam.serviceAccountTokenCreator",
    "roles/iam.serviceAccountUser",
    "roles/iam.workloadIdentityUser",
    "roles/resourcemanager.projectIamAdmin",
    "roles/run.admin",
    "roles/secretmanager.secretAccessor",
    "roles/storage.objectAdmin",
)
BINDING = (
    "{projectRef: {name: $careless}, target: %s, role: '%s', members: [{principal: 'user:m@example.com'}]}"
)
DEFINITION = "{projectRef: {name: $careless}, roleID: %s, permissions: [run.jobs.get, %s]}"
OWN_ACCOUNT = "{kind: ServiceAccount, identityRef: {name: careless}}"
WITHOUT = "without allowEscalation, because"


def short(permission: str) -> str:
    """Return a permission without the domain of its service: the form that a CustomRole can have."""
    return permission.replace(".googleapis.com/", ".")


def permissions_by_group() -> dict[str, str]:
    """Return for each group of the table a permission that a project's custom role can have."""
    found: dict[str, str] = {}
    for permission in sorted(known_permissions()):
        group = group_of(short(permission))
        if group and not permission.startswith(ABOVE_PROJECTS):
            found.setdefault(group.name, permission)
    return {group.name: found[group.name] for group in TABLE}


def role_id(group: Escalation) -> str:
    return f"has_{group.name.replace('-', '_')}"


def binding(target: str, role: str, refusal: str) -> Attempt:
    return Attempt(BINDING % (target, role), refusal, may_call=(READING_A_ROLE,))


PERMISSIONS = permissions_by_group()
ON_PROJECT = {f"{role} on the project": binding("{kind: Project}", role, WITHOUT) for role in PREDEFINED} | {
    f"{role} on the project": binding("{kind: Project}", role, f"does not admit {role}") for role in BASIC
}
CUSTOM = {
    f"custom role with {permission} on the project": binding(
        "{kind: Project}", f"projects/$careless/roles/has_{name.replace('-', '_')}", f"({permission})"
    )
    for name, permission in PERMISSIONS.items()
}
ON_OWN_ACCOUNT = {
    f"custom role with {PERMISSIONS[group.name]} on an own account": binding(
        OWN_ACCOUNT, f"projects/$careless/roles/{role_id(group)}", f"({PERMISSIONS[group.name]})"
    )
    for group in TABLE
    if Reach.OWN_IDENTITY in group.reaches
}
DEFINITIONS = {
    f"define a custom role with {permission}": Attempt(
        DEFINITION % (f"own_{name.replace('-', '_')}", short(permission)),
        f"does not admit {short(permission)}",
        "CustomRole",
    )
    for name, permission in PERMISSIONS.items()
}
UNKNOWN = {
    f"define a custom role with {permission}": Attempt(
        DEFINITION % (f"unknown{number}", permission), "does not know", "CustomRole"
    )
    for number, permission in enumerate(
        (
            "iam.serviceAccounts.actAsInDisguise",
            "run.googleapis.com/jobs.runWithOverrides".replace("/", "."),
            "iam.googleapis.com.serviceAccounts.actAs",
        )
    )
}
ATTACKS = ON_PROJECT | CUSTOM | ON_OWN_ACCOUNT | DEFINITIONS | UNKNOWN


@pytest.fixture(scope="module")
def attempts(two_teams: Tenants) -> Iterator[Attempts]:
    for group in TABLE:
        two_teams.scene.cloud.create_role(two_teams.careless, role_id(group), [PERMISSIONS[group.name]])
    made = Attempts(two_teams, ATTACKS)
    yield made
    made.end()


@pytest.mark.parametrize("title", ATTACKS)
def test_role_that_escalates_is_refused_in_every_way(attempts: Attempts, title: str) -> None:
    assert "this permits privilege escalation" in attempts.check(title)
