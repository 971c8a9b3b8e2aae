"""The custom role of the operator in a project, and the gcloud commands that grant permissions with it."""

import shlex
from collections.abc import Iterable, Iterator
from typing import Final

ROLE: Final = "cloudrunIdentityOperator"
"""Role with all permissions in a project but the one to change its policy."""

SET_POLICY: Final = "resourcemanager.projects.setIamPolicy"
"""Permission to change the policy of a project. It is granted with a condition that limits the roles."""


def create_role(project_id: str, role: str, permissions: Iterable[str]) -> str:
    """Return the command that creates a custom role."""
    return (
        f"gcloud iam roles create {role} --project={shlex.quote(project_id)} "
        f"--title=cloudrun-identity --permissions={','.join(sorted(permissions))}"
    )


def bind_role(project_id: str, role: str, member: str, condition: str = "--condition=None") -> str:
    """Return the command that grants a member a custom role of the project."""
    project = shlex.quote(project_id)
    return (
        f"gcloud projects add-iam-policy-binding {project} --member={shlex.quote(member)} "
        f"--role=projects/{project}/roles/{role} {condition}"
    )


def add_permissions(project_id: str, member: str, permissions: Iterable[str]) -> Iterator[str]:
    """Yield the commands that grant further permissions, whether or not the project has the role already."""
    listed = sorted(permissions)
    update = f"gcloud iam roles update {ROLE} --project={shlex.quote(project_id)}"
    yield f"{create_role(project_id, ROLE, listed)} || {update} --add-permissions={','.join(listed)}"
    yield bind_role(project_id, ROLE, member)


def add_permissions_in_one_line(project_id: str, member: str, permissions: Iterable[str]) -> str:
    """Return `add_permissions` as one command, for a message."""
    change, grant = add_permissions(project_id, member, permissions)
    return f"({change}) && {grant}"
