"""Google Cloud as far as it can be known without a connection (`OfflineGoogle`).

A reconcile over it decides everything that depends on the manifests alone: references, guardrails, names and
conflicts. Projects exist and nothing is in them. A read whose answer would depend on more is UNAVAILABLE.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from google.cloud.iam_admin_v1 import types as iam_types
from google.cloud.orgpolicy_v2 import types as org_policy_types
from google.cloud.resourcemanager_v3 import types as project_types
from google.cloud.run_v2 import types as run_types
from google.iam.v1 import iam_policy_pb2, policy_pb2

from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.role_catalog import known_permissions, role_catalog

Response = TypeVar("Response")


class OfflineGoogle(GoogleClients):
    """Clients that answer reads without a connection, and refuse to write."""

    def __init__(self) -> None:
        super().__init__(_NOWHERE, _Unobserved(), read_only=True)

    def with_credential(self, *_: object) -> "OfflineGoogle":
        """Return these clients: without a connection, all credentials see the same."""
        return self

    async def call(
        self,
        api: str,  # noqa: ARG002
        method: str,
        invoke: Callable[..., Awaitable[Response]],  # noqa: ARG002
        request: object,
        **_: object,
    ) -> Response:
        """Answer one request.

        Raises:
            GoogleError: NOT_FOUND for a resource of a project; UNAVAILABLE if the answer is not known.

        """
        name = method.rpartition("/")[2]
        answer = _ANSWERS.get(name)
        if answer:
            return answer(request)  # type: ignore[return-value]
        raise GoogleError(Fault.NOT_FOUND if name.startswith("Get") else Fault.UNAVAILABLE, method, OFFLINE)


OFFLINE = "not known without Google Cloud"
"""Message of the errors."""

UNKNOWN_NUMBER = re.compile(r"number-of-([a-z][a-z0-9.:-]*)")
"""Placeholder of the number of a project. E-mails that contain it are not known."""

_NOWHERE = "127.0.0.1:9"
"""Endpoint to which no request is sent."""


class _Unobserved:
    """Ignores calls."""

    def observed(self, method: str, code: str, seconds: float) -> None:
        """Ignore the call."""


def _role(request: Any) -> iam_types.Role:
    role = role_catalog().get(request.name)
    if role is None:
        is_custom = not request.name.startswith("roles/")
        fault = Fault.NOT_FOUND if is_custom else Fault.UNAVAILABLE
        raise GoogleError(fault, "google.iam.admin.v1.IAM/GetRole", OFFLINE)
    return iam_types.Role(name=role.name, title=role.title, included_permissions=role.permissions)


def _project(request: Any) -> project_types.Project:
    project_id = request.name.partition("/")[2]
    return project_types.Project(
        name=f"projects/number-of-{project_id}",
        project_id=project_id,
        state=project_types.Project.State.ACTIVE,
    )


def _permissions(_: Any) -> iam_types.QueryTestablePermissionsResponse:
    supported = iam_types.Permission.CustomRolesSupportLevel.SUPPORTED
    return iam_types.QueryTestablePermissionsResponse(
        permissions=[
            iam_types.Permission(name=name, custom_roles_support_level=supported)
            for name in sorted(known_permissions())
        ]
    )


_ANSWERS: Mapping[str, Callable[[Any], object]] = {
    "GetRole": _role,
    "GetProject": _project,
    "GetIamPolicy": lambda _: policy_pb2.Policy(etag=b"offline", version=3),
    "TestIamPermissions": lambda request: iam_policy_pb2.TestIamPermissionsResponse(
        permissions=request.permissions
    ),
    "ListRoles": lambda _: iam_types.ListRolesResponse(),
    "ListServiceAccounts": lambda _: iam_types.ListServiceAccountsResponse(),
    "ListServiceAccountKeys": lambda _: iam_types.ListServiceAccountKeysResponse(),
    "ListServices": lambda _: run_types.ListServicesResponse(),
    "ListJobs": lambda _: run_types.ListJobsResponse(),
    "ListWorkerPools": lambda _: run_types.ListWorkerPoolsResponse(),
    "QueryTestablePermissions": _permissions,
    "GetEffectivePolicy": lambda request: org_policy_types.Policy(name=request.name),
}
