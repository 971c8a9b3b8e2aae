"""The JSON API of Cloud Storage: buckets and their policies, in a form that no other API has.

https://cloud.google.com/storage/docs/json_api/v1/buckets/getIamPolicy and `…/setIamPolicy`. `gcloud storage`
and most client libraries use it. Its errors have no canonical code: a stale etag is 412 `conditionNotMet`,
which Terraform retries like a 409 of other APIs
(https://github.com/GoogleCloudPlatform/magic-modules/blob/main/mmv1/third_party/terraform/transport/error_retry_predicates.go).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import grpc
from google.iam.v1 import iam_policy_pb2, policy_pb2
from google.protobuf import json_format

from cloudrun_identity_playground.emulator.apis.target_messages import GetRequest
from cloudrun_identity_playground.emulator.errors import GoogleError, NotServedError, invalid

Json = dict[str, Any]

_PREFIX = "/storage/v1/"
_BUCKET = re.compile(r"/storage/v1/b/(?P<bucket>[^/]+)(?P<rest>|/iam|/iam/testPermissions)")
_SERVICE = "google.storage.v2.Storage"
_STATUS_AND_REASON = {
    grpc.StatusCode.ABORTED: (HTTPStatus.PRECONDITION_FAILED, "conditionNotMet"),
    grpc.StatusCode.FAILED_PRECONDITION: (HTTPStatus.PRECONDITION_FAILED, "conditionNotMet"),
    grpc.StatusCode.INVALID_ARGUMENT: (HTTPStatus.BAD_REQUEST, "invalid"),
    grpc.StatusCode.NOT_FOUND: (HTTPStatus.NOT_FOUND, "notFound"),
    grpc.StatusCode.PERMISSION_DENIED: (HTTPStatus.FORBIDDEN, "forbidden"),
    grpc.StatusCode.UNAUTHENTICATED: (HTTPStatus.UNAUTHORIZED, "required"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (HTTPStatus.TOO_MANY_REQUESTS, "rateLimitExceeded"),
}


def is_storage(path: str) -> bool:
    """Return whether a URL is one of Cloud Storage."""
    return path.startswith(_PREFIX)


def storage_error(error: GoogleError) -> tuple[int, Json]:
    """Return the HTTP status and the body of an error in the form of Cloud Storage."""
    status, reason = _STATUS_AND_REASON.get(error.code, (error.http_status, "backendError"))
    detail = {"message": error.message, "domain": "global", "reason": reason}
    return status, {"error": {"code": int(status), "message": error.message, "errors": [detail]}}


class StorageJson:
    """Answers calls about buckets. `call` calls a method.

    `is_uniform` returns whether the bucket with a resource name has uniform bucket-level access.
    """

    def __init__(self, call: Callable[[str, Any], Any], is_uniform: Callable[[str], bool]) -> None:
        self._call = call
        self._is_uniform = is_uniform

    async def answer(self, verb: str, path: str, query: Mapping[str, Sequence[str]], body: Json) -> Json:
        """Return the response to a request.

        Raises GoogleError: as the methods of Storage v2, or the method is not served.
        """
        match = _BUCKET.fullmatch(path)
        resource = f"projects/_/buckets/{match['bucket']}" if match is not None else ""
        match verb, match["rest"] if match is not None else None:
            case "GET", "":
                return await self._bucket(resource)
            case "GET", "/iam":
                return await self._read(resource, query.get("optionsRequestedPolicyVersion", ("1",))[-1])
            case "PUT", "/iam":
                return await self._write(resource, body)
            case "GET", "/iam/testPermissions":
                tested = iam_policy_pb2.TestIamPermissionsRequest(
                    resource=resource, permissions=query.get("permissions", ())
                )
                answered = await self._call(f"{_SERVICE}/TestIamPermissions", tested)
                kind = {"kind": "storage#testIamPermissionsResponse"}
                return kind | ({"permissions": [*answered.permissions]} if answered.permissions else {})
        raise NotServedError(f"{verb} {path}")

    async def _bucket(self, resource: str) -> Json:
        found = await self._call(f"{_SERVICE}/GetBucket", GetRequest(name=resource))
        name = resource.rpartition("/")[2]
        created = json_format.MessageToDict(found)["createTime"]
        return {
            "kind": "storage#bucket",
            "selfLink": f"https://www.googleapis.com/storage/v1/b/{name}",
            "id": name,
            "name": name,
            "projectNumber": found.project.partition("/")[2],
            "timeCreated": created,
            "updated": created,
            "iamConfiguration": {
                "uniformBucketLevelAccess": {"enabled": self._is_uniform(resource)},
                "publicAccessPrevention": "inherited",
            },
        }

    async def _read(self, resource: str, version: str) -> Json:
        """Return a policy. The read of one with conditions fails without version 3."""
        options = {"requested_policy_version": 3}
        request = iam_policy_pb2.GetIamPolicyRequest(resource=resource, options=options)
        policy = await self._call(f"{_SERVICE}/GetIamPolicy", request)
        if policy.version == 3 and version != "3":
            raise invalid(
                "The policy has IAM Conditions; its version 3 must be requested with "
                "optionsRequestedPolicyVersion."
            )
        return _shown(resource, policy)

    async def _write(self, resource: str, body: Json) -> Json:
        content = {name: value for name, value in body.items() if name not in ("kind", "resourceId")}
        try:
            policy = json_format.ParseDict(content, policy_pb2.Policy())
        except json_format.ParseError as error:
            raise invalid(f"The policy is not valid: {error}") from error
        request = iam_policy_pb2.SetIamPolicyRequest(resource=resource, policy=policy)
        return _shown(resource, await self._call(f"{_SERVICE}/SetIamPolicy", request))


def _shown(resource: str, policy: policy_pb2.Policy) -> Json:
    shown = json_format.MessageToDict(policy)
    return {"kind": "storage#policy", "resourceId": resource, "version": policy.version or 1, **shown}
