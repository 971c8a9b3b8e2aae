"""The gcloud commands that grant the operator the permissions that it needs in a project."""

import shlex
from collections.abc import Iterable, Iterator

from cloudrun_identity.api import TARGET_KINDS, KeyAdmission, ManagedProject, TargetKind
from cloudrun_identity.api.predefined_roles import TOKEN_CREATOR
from cloudrun_identity.gcp.permissions import (
    CUSTOM_ROLES,
    FEATURES,
    KEYS,
)
from cloudrun_identity.iam.delegation import delegation, entries_on

ROLE = "cloudrunIdentityOperator"
GRANTING_ROLE = "cloudrunIdentityGrants"
GRANTS_ON_PROJECT = TARGET_KINDS[TargetKind.PROJECT].feature


def commands(project: ManagedProject, operator: str) -> Iterator[str]:
    """Yield the lines of a shell script that grants the operator its permissions in the project."""
    project_id = project.project_id
    credentials = project.spec.credentials
    member = f"serviceAccount:{credentials.impersonate_service_account}" if credentials else operator
    yield f"# ManagedProject {project.metadata.name}: {member} in project {project_id}"
    if credentials:
        yield from _chain(operator, [*credentials.delegates, credentials.impersonate_service_account])
    plain = [
        permission
        for feature in needed(project)
        if feature != GRANTS_ON_PROJECT
        for permission in FEATURES[feature]
    ]
    yield from _role(project_id, ROLE, plain)
    yield from _binding(project_id, ROLE, member, "--condition=None")
    if GRANTS_ON_PROJECT in needed(project):
        yield from _on_the_project(project, member)


def needed(project: ManagedProject) -> tuple[str, ...]:
    """Return the features that the project's guardrails allow to use."""
    unused = set()
    if not project.spec.guardrails.custom_roles.permissions:
        unused.add(CUSTOM_ROLES)
    if project.spec.guardrails.keys is KeyAdmission.DENIED:
        unused.add(KEYS)
    unused |= {
        descriptor.feature
        for kind, descriptor in TARGET_KINDS.items()
        if not descriptor.default_roles and not entries_on(project, kind)
    }
    return tuple(feature for feature in FEATURES if feature not in unused)


def _on_the_project(project: ManagedProject, member: str) -> Iterator[str]:
    """Yield the grant to change the project's policy, limited to the roles in the guardrails."""
    admitted = delegation(project)
    yield from _role(project.project_id, GRANTING_ROLE, FEATURES[GRANTS_ON_PROJECT])
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
    yield from _binding(project.project_id, GRANTING_ROLE, member, "--condition-from-file=condition.yaml")


def _chain(operator: str, accounts: Iterable[str]) -> Iterator[str]:
    """Yield the grants of a delegation chain: each account may be impersonated by the one before it."""
    before = operator
    for account in accounts:
        yield (
            f"gcloud iam service-accounts add-iam-policy-binding {shlex.quote(account)} "
            f"--member={shlex.quote(before)} --role={TOKEN_CREATOR}"
        )
        before = f"serviceAccount:{account}"


def _role(project_id: str, role: str, listed: Iterable[str]) -> Iterator[str]:
    yield (
        f"gcloud iam roles create {role} --project={shlex.quote(project_id)} "
        f"--title=cloudrun-identity --permissions={','.join(sorted(listed))}"
    )


def _binding(project_id: str, role: str, member: str, condition: str) -> Iterator[str]:
    project = shlex.quote(project_id)
    yield (
        f"gcloud projects add-iam-policy-binding {project} --member={shlex.quote(member)} "
        f"--role=projects/{project}/roles/{role} {condition}"
    )
