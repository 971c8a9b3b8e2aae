"""The gcloud commands that grant the operator the permissions that it needs in a project."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cloudrun_identity.api import TARGET_KINDS, ManagedProject, TargetKind, kinds_where
from cloudrun_identity.api.predefined_roles import TOKEN_CREATOR, USER
from cloudrun_identity.gcp.operator_role import ROLE, SET_POLICY, add_permissions, bind_role, create_role
from cloudrun_identity.gcp.permissions import (
    ABOVE_PROJECTS,
    ACCOUNT_PERMISSIONS,
    CUSTOM_ROLES,
    FEATURES,
    needed,
)
from cloudrun_identity.iam.delegation import delegation, entries_on, policy_permissions

GRANTING_ROLE = "cloudrunIdentityGrants"
ACCOUNTS_ROLE = "cloudrunIdentityAccounts"
GRANTS_ON_PROJECT = TARGET_KINDS[TargetKind.PROJECT].feature


@dataclass(frozen=True, slots=True)
class OwnAccounts:
    """Service accounts that the operator is granted `ACCOUNT_PERMISSIONS` on, instead of on the project."""

    managed: Sequence[str] = ()
    """E-mails of accounts of the project that the operator manages or may name."""
    attached: Sequence[str] = ()
    """E-mails of accounts of other projects that workloads of the project run as."""
    patterns: Sequence[str] = ()
    """Patterns of e-mails in the guardrails, which do not name single accounts."""


def commands(project: ManagedProject, operator: str, own: OwnAccounts | None = None) -> Iterator[str]:
    """Yield the lines of a shell script that grants the operator its permissions in the project.

    With `own`, the permissions on service accounts are granted on these accounts only.
    """
    project_id = project.project_id
    credentials = project.spec.credentials
    member = f"serviceAccount:{credentials.impersonate_service_account}" if credentials else operator
    yield f"# ManagedProject {project.metadata.name}: {member} in project {project_id}"
    if credentials:
        yield from _chain(operator, [*credentials.delegates, credentials.impersonate_service_account])
    features = needed(project)
    plain = {
        permission for feature in features if feature != GRANTS_ON_PROJECT for permission in FEATURES[feature]
    }
    if CUSTOM_ROLES in features:
        yield (
            "# guardrails.customRoles: iam.roles.update permits changes of every custom role of the project, "
            f"{ROLE} included; to protect {ROLE}, create it in the organization"
        )
    for service, permissions in policy_permissions(project).items():
        yield _of_resources(service, permissions)
        plain |= {*permissions}
    yield create_role(project_id, ROLE, plain - ACCOUNT_PERMISSIONS if own else plain)
    yield bind_role(project_id, ROLE, member)
    if GRANTS_ON_PROJECT in features:
        yield from _on_the_project(project, member)
    if own:
        yield from _on_accounts(project_id, own, plain & ACCOUNT_PERMISSIONS, member)
    yield from _above_the_project(project, member)


def _of_resources(service: str, permissions: Iterable[str]) -> str:
    """Return a comment on the permissions for target.resource, which are those of predefined roles."""
    listed = ", ".join(permissions)
    if listed:
        return f"# guardrails.grants lists {service} for target.resource: {listed}"
    return (
        f"# guardrails.grants lists {service} for target.resource: no predefined role has permissions on its "
        "policies, so look up getIamPolicy and setIamPolicy of its resources and add them: "
        "https://cloud.google.com/iam/docs/permissions-reference"
    )


def additions(project: ManagedProject, operator: str, missing: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a shell script that grants the operator missing permissions in the project."""
    project_id, permissions = project.project_id, set(missing)
    credentials = project.spec.credentials
    member = f"serviceAccount:{credentials.impersonate_service_account}" if credentials else operator
    if plain := permissions - {SET_POLICY}:
        yield from add_permissions(project_id, member, plain)
    if SET_POLICY in permissions and GRANTS_ON_PROJECT in needed(project):
        yield from _on_the_project(project, member)


def _on_the_project(project: ManagedProject, member: str) -> Iterator[str]:
    """Yield the grant to change the project's policy, limited to the roles in the guardrails."""
    admitted = delegation(project)
    yield create_role(project.project_id, GRANTING_ROLE, FEATURES[GRANTS_ON_PROJECT])
    for pattern in admitted.patterns:
        yield (
            f"# guardrails.grants admits the pattern {pattern}, which a condition cannot express: name the "
            "roles there, or omit the condition of this grant"
        )
    yield "cat >condition.yaml <<'EOF'"
    yield "title: cloudrun-identity"
    yield "description: Only the roles in the guardrails"
    yield f'expression: "{admitted.expression}"'
    yield "EOF"
    yield bind_role(project.project_id, GRANTING_ROLE, member, "--condition-from-file=condition.yaml")


def _above_the_project(project: ManagedProject, member: str) -> Iterator[str]:
    """Yield the grants on the folders and organizations that the guardrails list."""
    for kind in kinds_where(lambda kind: kind.contains_projects):
        descriptor = TARGET_KINDS[kind]
        collection = descriptor.resource_pattern.partition("/")[0]
        numbers = {name for entry in entries_on(project, kind) for name in entry.names or ()}
        for number in sorted(numbers):
            yield (
                f"# {', '.join(ABOVE_PROJECTS[descriptor.feature])}: in a role of the organization, or in "
                "this one"
            )
            yield (
                f"gcloud {_GROUPS[collection]} add-iam-policy-binding {shlex.quote(number)} "
                f"--member={shlex.quote(member)} --role={_ADMINS[collection]} --condition=None"
            )


_GROUPS: Mapping[str, str] = {
    "folders": "resource-manager folders",
    "organizations": "organizations",
}
"""gcloud's command groups, by collection."""

_ADMINS: Mapping[str, str] = {
    "folders": "roles/resourcemanager.folderIamAdmin",
    "organizations": "roles/resourcemanager.organizationAdmin",
}
"""Predefined roles with the permissions to change the policy, by collection."""


def _on_accounts(project_id: str, own: OwnAccounts, permissions: Iterable[str], member: str) -> Iterator[str]:
    """Yield the grants on single accounts. The operator creates accounts, but cannot grant itself these."""
    yield create_role(project_id, ACCOUNTS_ROLE, permissions)
    for pattern in own.patterns:
        yield f"# guardrails.accounts admits the pattern {pattern}: grant the role on these accounts, too"
    if not own.managed and not own.attached:
        yield "# The manifests name no service account of this project"
        return
    yield "# An account must exist: run these again when the operator has created further accounts"
    for email in own.managed:
        yield _account_binding(email, member, f"projects/{project_id}/roles/{ACCOUNTS_ROLE}")
    for email in own.attached:
        yield _account_binding(email, member, USER)


def _account_binding(email: str, member: str, role: str) -> str:
    return (
        f"gcloud iam service-accounts add-iam-policy-binding {shlex.quote(email)} "
        f"--member={shlex.quote(member)} --role={shlex.quote(role)} --condition=None"
    )


def _chain(operator: str, accounts: Iterable[str]) -> Iterator[str]:
    """Yield the grants of a delegation chain: each account may be impersonated by the one before it."""
    before = operator
    for account in accounts:
        yield (
            f"gcloud iam service-accounts add-iam-policy-binding {shlex.quote(account)} "
            f"--member={shlex.quote(before)} --role={TOKEN_CREATOR}"
        )
        before = f"serviceAccount:{account}"
