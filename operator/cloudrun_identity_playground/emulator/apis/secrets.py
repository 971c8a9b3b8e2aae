"""Secret Manager: which secrets there are, and their policies. What is in a secret is no concern here."""

from __future__ import annotations

import re
from collections.abc import Iterator

from google.iam.v1 import iam_policy_pb2, policy_pb2

from cloudrun_identity_playground.emulator.errors import GoogleError, invalid, not_found

from .policies import Policies
from .policy_rules import ResourceKind
from .projects import Project, ProjectRegistry
from .rpc import serves

_NAME = re.compile(r"projects/([^/]+)/secrets/([A-Za-z0-9_-]{1,255})")


class Secrets:
    """The policy methods of `google.cloud.secretmanager.v1.SecretManagerService`.

    Secrets come from the seed alone: there is no method to create one.
    """

    def __init__(self, projects: ProjectRegistry, policies: Policies) -> None:
        self._projects = projects
        self._policies = policies
        self._names: set[str] = set()

    def add(self, project: Project, secret_id: str) -> None:
        """Make a secret exist.

        Raises GoogleError: INVALID_ARGUMENT, `secret_id` is no name of a secret.
        """
        name = f"projects/{project.id}/secrets/{secret_id}"
        if not _NAME.fullmatch(name):
            raise invalid(f"Invalid secret ID '{secret_id}': it has 1 to 255 letters, digits, - and _.")
        self._names.add(name)

    def __iter__(self) -> Iterator[str]:
        """The resource names, `projects/ID/secrets/NAME`."""
        return iter(sorted(self._names))

    @serves("google.cloud.secretmanager.v1.SecretManagerService/GetIamPolicy")
    def get_policy(self, request: iam_policy_pb2.GetIamPolicyRequest) -> policy_pb2.Policy:
        """Read a secret's policy."""
        return self._policies.read(self._find(request.resource), request)

    @serves("google.cloud.secretmanager.v1.SecretManagerService/SetIamPolicy")
    def set_policy(self, request: iam_policy_pb2.SetIamPolicyRequest) -> policy_pb2.Policy:
        """Write a secret's policy."""
        return self._policies.write(self._find(request.resource), ResourceKind.SECRET, request)

    @serves("google.cloud.secretmanager.v1.SecretManagerService/TestIamPermissions")
    def test_permissions(
        self, request: iam_policy_pb2.TestIamPermissionsRequest
    ) -> iam_policy_pb2.TestIamPermissionsResponse:
        """Everything asked for, on a secret that exists; the authorizer leaves what the caller has."""
        try:
            self._find(request.resource)
        except GoogleError:
            return iam_policy_pb2.TestIamPermissionsResponse()  # nothing is permitted on what does not exist
        return iam_policy_pb2.TestIamPermissionsResponse(permissions=request.permissions)

    def _find(self, resource: str) -> str:
        """The name of the secret, its project by id.

        Raises GoogleError: NOT_FOUND, INVALID_ARGUMENT, or as `ProjectRegistry.resolve`.
        """
        match = _NAME.fullmatch(resource)
        if match is None:
            raise invalid(f"Invalid secret name '{resource}'.")
        project = self._projects.resolve(match[1])
        name = f"projects/{project.id}/secrets/{match[2]}"
        if name not in self._names:
            raise not_found(f"Secret [projects/{project.number}/secrets/{match[2]}] not found.")
        return name
