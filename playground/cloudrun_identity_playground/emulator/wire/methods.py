"""Methods of Google's APIs and their messages, read from the installed client libraries.

Every generated transport declares its methods as `channel.unary_unary("/package.Service/Method",
request_serializer=…, response_deserializer=…)`. A channel that only records these calls returns a table of
methods without any .proto file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import grpc.aio
from google.cloud.iam_admin_v1.services.iam.transports import IAMGrpcAsyncIOTransport
from google.cloud.iam_credentials_v1.services.iam_credentials.transports import (
    IAMCredentialsGrpcAsyncIOTransport,
)
from google.cloud.iam_v2.services.policies.transports import PoliciesGrpcAsyncIOTransport
from google.cloud.iam_v3.services.policy_bindings.transports import PolicyBindingsGrpcAsyncIOTransport
from google.cloud.orgpolicy_v2.services.org_policy.transports import OrgPolicyGrpcAsyncIOTransport
from google.cloud.resourcemanager_v3.services.folders.transports import FoldersGrpcAsyncIOTransport
from google.cloud.resourcemanager_v3.services.organizations.transports import (
    OrganizationsGrpcAsyncIOTransport,
)
from google.cloud.resourcemanager_v3.services.projects.transports import ProjectsGrpcAsyncIOTransport
from google.cloud.run_v2.services.executions.transports import ExecutionsGrpcAsyncIOTransport
from google.cloud.run_v2.services.jobs.transports import JobsGrpcAsyncIOTransport
from google.cloud.run_v2.services.revisions.transports import RevisionsGrpcAsyncIOTransport
from google.cloud.run_v2.services.services.transports import ServicesGrpcAsyncIOTransport
from google.cloud.run_v2.services.worker_pools.transports import WorkerPoolsGrpcAsyncIOTransport
from google.iam.v1 import iam_policy_pb2, policy_pb2
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport

from cloudrun_identity.api import TARGET_KINDS
from cloudrun_identity_playground.emulator.apis.target_messages import MESSAGES, GetRequest
from cloudrun_identity_playground.emulator.log_router import messages as log_router

_TRANSPORTS = (
    IAMGrpcAsyncIOTransport,
    IAMCredentialsGrpcAsyncIOTransport,
    PoliciesGrpcAsyncIOTransport,
    PolicyBindingsGrpcAsyncIOTransport,
    OrgPolicyGrpcAsyncIOTransport,
    ProjectsGrpcAsyncIOTransport,
    FoldersGrpcAsyncIOTransport,
    OrganizationsGrpcAsyncIOTransport,
    ServicesGrpcAsyncIOTransport,
    JobsGrpcAsyncIOTransport,
    WorkerPoolsGrpcAsyncIOTransport,
    RevisionsGrpcAsyncIOTransport,
    ExecutionsGrpcAsyncIOTransport,
    PublisherGrpcAsyncIOTransport,
    SubscriberGrpcAsyncIOTransport,
)

# The serializer of a plain protobuf message has no reference to its class.
_PLAIN_REQUESTS = {
    "SetIamPolicy": iam_policy_pb2.SetIamPolicyRequest,
    "GetIamPolicy": iam_policy_pb2.GetIamPolicyRequest,
    "TestIamPermissions": iam_policy_pb2.TestIamPermissionsRequest,
    "GetOperation": operations_pb2.GetOperationRequest,
    "ListOperations": operations_pb2.ListOperationsRequest,
    "DeleteOperation": operations_pb2.DeleteOperationRequest,
    "WaitOperation": operations_pb2.WaitOperationRequest,
    "CancelOperation": operations_pb2.CancelOperationRequest,
}


@dataclass(frozen=True)
class Method:
    """One RPC with its message classes, either proto-plus or plain protobuf."""

    service: str
    """Name of the service, such as `google.cloud.run.v2.Services`."""
    name: str
    """Name of the method."""
    request: Any
    """Class of the request."""
    response: Any
    """Class of the response."""
    is_stream: bool = False
    """True if requests and responses are streams."""

    @property
    def rpc(self) -> str:
        """Name of the RPC, such as `google.cloud.run.v2.Services/GetService`."""
        return f"{self.service}/{self.name}"

    @property
    def deserialize_request(self) -> Any:
        """Return a function from bytes to the request message."""
        return getattr(self.request, "deserialize", None) or self.request.FromString

    @property
    def serialize_response(self) -> Any:
        """Return a function from the response message to bytes."""
        return getattr(self.response, "serialize", None) or self.response.SerializeToString


_POLICY_METHODS = {
    "GetIamPolicy": policy_pb2.Policy,
    "SetIamPolicy": policy_pb2.Policy,
    "TestIamPermissions": iam_policy_pb2.TestIamPermissionsResponse,
}
"""The responses of the policy methods, which are the same for every target kind."""


@cache
def methods() -> Mapping[str, Method]:
    """Return every known method by its RPC.

    A target kind's client library need not be a dependency: the operator has its own stub for its methods.
    """
    policy_methods = (
        Method(descriptor.policy_service, name, _PLAIN_REQUESTS[name], response)
        for descriptor in TARGET_KINDS.values()
        for name, response in _POLICY_METHODS.items()
    )
    get_methods = (Method(*_split(method), GetRequest, response) for method, response in MESSAGES.items())
    log_methods = (Method(*_split(method), *each) for method, each in log_router.METHODS.items())
    own = (*policy_methods, *get_methods, *log_methods)
    return {method.rpc: method for method in own} | library_methods()


def _split(rpc: str) -> tuple[str, str]:
    service, _, name = rpc.partition("/")
    return service, name


@cache
def library_methods() -> dict[str, Method]:
    """Return the methods of the installed client libraries by their RPC."""
    found: dict[str, Method] = {}
    for transport in _TRANSPORTS:
        found.update(_methods_of(transport))
    return found


def as_protobuf(message: Any) -> Any:
    """Return the plain protobuf message of a proto-plus or plain one."""
    return type(message).pb(message) if hasattr(type(message), "pb") else message


def _methods_of(transport: Any) -> dict[str, Method]:
    recorder = _RecordingChannel()
    transport(channel=recorder)
    return {
        method.rpc: method
        for path, (serializer, deserializer) in recorder.declared.items()
        for method in [_method(path, serializer, deserializer, is_stream=path in recorder.streams)]
    }


def _method(path: str, serializer: Any, deserializer: Any, *, is_stream: bool) -> Method:
    service, name = path.removeprefix("/").split("/")
    request = _PLAIN_REQUESTS.get(name) or serializer.__self__
    # The libraries declare no deserializer for a response that they ignore.
    response = deserializer.__self__ if deserializer is not None else empty_pb2.Empty
    if name == "WaitOperation":
        response = operations_pb2.Operation
    return Method(service, name, request, response, is_stream)


class _RecordingChannel(grpc.aio.Channel):  # type: ignore[misc]  # grpc ships no types
    """A channel without a connection, which records the methods declared on it."""

    def __init__(self) -> None:
        self.declared: dict[str, tuple[Any, Any]] = {}
        self.streams: set[str] = set()
        self._unary_unary_interceptors: list[Any] = []  # transports add theirs to this list

    def unary_unary(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        *_: Any,
        **__: Any,
    ) -> Any:
        self.declared[method] = (request_serializer, response_deserializer)
        return self._never

    unary_stream = stream_unary = unary_unary

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        self.streams.add(method)
        return self.unary_unary(method, *args, **kwargs)

    async def _never(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError

    async def close(self, grace: float | None = None) -> None:
        pass

    def get_state(self, *_: Any, **__: Any) -> grpc.ChannelConnectivity:
        return grpc.ChannelConnectivity.IDLE

    async def wait_for_state_change(self, last_observed_state: Any) -> None:
        raise NotImplementedError

    async def channel_ready(self) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass
