"""IAM policies of every kind of target, read and written through one generic stub.

Every IAM policy method of every Google service takes and answers google.iam.v1 messages; only the path of the
method differs.
"""

from collections.abc import Iterable
from typing import Any, TypeVar
from urllib.parse import quote

from google.iam.v1 import iam_policy_pb2, options_pb2, policy_pb2
from google.protobuf import field_mask_pb2

from cloudrun_identity.api import TargetKind
from cloudrun_identity.iam.grants import Target

from .clients import ProjectClients
from .ratelimit import Api

_VERSION = 3
"""An older read hides conditions behind made-up role names, and writing that back destroys them."""


class Policies:
    """Reads and writes whole policies; merging and retrying are the caller's."""

    def __init__(self, clients: ProjectClients) -> None:
        self._clients = clients

    async def get(self, target: Target) -> policy_pb2.Policy:
        """The policy with its conditions and the etag to write it back with.

        Raises:
            GoogleError: NOT_FOUND, the target does not exist; and the others.

        """
        request = iam_policy_pb2.GetIamPolicyRequest(
            resource=target.resource,
            options=options_pb2.GetPolicyOptions(requested_policy_version=_VERSION),
        )
        return await self._call(target, "GetIamPolicy", request, policy_pb2.Policy, target.project_id)

    async def set(self, target: Target, policy: policy_pb2.Policy) -> policy_pb2.Policy:
        """Replace the bindings, leaving audit configs alone, and return the policy that then stands.

        Raises:
            ValueError: `policy` has no etag; writing it would overwrite whatever stands there.
            GoogleError: ABORTED, somebody wrote since `policy` was read; UNAVAILABLE, it may have been
                written all the same; and the others.

        """
        if not policy.etag:
            raise ValueError(f"the policy of {target} has no etag and cannot be written")
        versioned = policy_pb2.Policy()
        versioned.CopyFrom(policy)
        versioned.version = _VERSION
        request = iam_policy_pb2.SetIamPolicyRequest(
            resource=target.resource,
            policy=versioned,
            update_mask=field_mask_pb2.FieldMask(paths=["bindings", "etag"]),
        )
        return await self._call(target, "SetIamPolicy", request, policy_pb2.Policy, target.project_id)

    async def test_permissions(
        self, target: Target, permissions: Iterable[str], acting_in: str = ""
    ) -> frozenset[str]:
        """Those of `permissions` that the operator seems to hold on the target.

        It asks as whom it acts in the project `acting_in`, by default the target's own. A hint: Google may
        fail open, and answers nothing for a target that does not exist.

        Raises:
            GoogleError: the question could not be asked.

        """
        asked = sorted(set(permissions))
        held: set[str] = set()
        for start in range(0, len(asked), _PERMISSIONS_AT_ONCE):
            request = iam_policy_pb2.TestIamPermissionsRequest(
                resource=target.resource, permissions=asked[start : start + _PERMISSIONS_AT_ONCE]
            )
            reply = await self._call(
                target,
                "TestIamPermissions",
                request,
                iam_policy_pb2.TestIamPermissionsResponse,
                acting_in or target.project_id,
            )
            held.update(reply.permissions)
        return frozenset(held)

    async def _call(
        self, target: Target, verb: str, request: Any, response: type["Reply"], acting_in: str
    ) -> "Reply":
        api, service = _SERVICES[target.kind]
        method = f"{service}/{verb}"
        clients = self._clients.for_project(acting_in)
        return await clients.call(
            api,
            method,
            clients.stub(api, method, response, target.location),
            request,
            region=target.location,
            metadata=(("x-goog-request-params", f"resource={quote(target.resource, safe='')}"),),
        )


Reply = TypeVar("Reply")

_PERMISSIONS_AT_ONCE = 100

_SERVICES = {
    TargetKind.PROJECT: (Api.RESOURCE_MANAGER, "google.cloud.resourcemanager.v3.Projects"),
    TargetKind.SERVICE_ACCOUNT: (Api.IAM, "google.iam.admin.v1.IAM"),
    TargetKind.SERVICE: (Api.RUN, "google.cloud.run.v2.Services"),
    TargetKind.JOB: (Api.RUN, "google.cloud.run.v2.Jobs"),
    TargetKind.WORKER_POOL: (Api.RUN, "google.cloud.run.v2.WorkerPools"),
    TargetKind.SECRET: (Api.SECRET_MANAGER, "google.cloud.secretmanager.v1.SecretManagerService"),
}
