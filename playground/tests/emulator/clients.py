"""Google's asynchronous clients, and requests that many tests make."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import grpc.aio
from google.api_core import exceptions, grpc_helpers_async
from google.cloud import iam_admin_v1 as iam
from google.cloud import orgpolicy_v2 as orgpolicy
from google.cloud import recommender_v1 as recommender
from google.cloud import resourcemanager_v3 as resourcemanager
from google.cloud import run_v2 as run
from google.iam.v1 import iam_policy_pb2, options_pb2, policy_pb2
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc import error_details_pb2
from google.type import expr_pb2

LOCATION = "projects/shop/locations/europe-west1"


class Clock:
    """A clock that only tests advance."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Bearer(grpc.aio.UnaryUnaryClientInterceptor):
    """Sends a bearer token with each call."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        metadata = (*(details.metadata or ()), ("authorization", f"Bearer {self._token}"))
        return await continuation(details._replace(metadata=grpc.aio.Metadata(*metadata)), request)


class SecretPolicies:
    """The policy methods of Secret Manager over plain stubs, because its library is not a dependency."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def get_iam_policy(self, request: iam_policy_pb2.GetIamPolicyRequest) -> policy_pb2.Policy:
        return await self._call("GetIamPolicy", request, policy_pb2.Policy)

    async def set_iam_policy(self, request: iam_policy_pb2.SetIamPolicyRequest) -> policy_pb2.Policy:
        return await self._call("SetIamPolicy", request, policy_pb2.Policy)

    async def test_iam_permissions(
        self, request: iam_policy_pb2.TestIamPermissionsRequest
    ) -> iam_policy_pb2.TestIamPermissionsResponse:
        return await self._call("TestIamPermissions", request, iam_policy_pb2.TestIamPermissionsResponse)

    async def _call(self, method: str, request: Any, response: Any) -> Any:
        stub = self._channel.unary_unary(
            f"/google.cloud.secretmanager.v1.SecretManagerService/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=response.FromString,
        )
        return await grpc_helpers_async.wrap_errors(stub)(request)


@dataclass(frozen=True)
class Clients:
    """The clients of one channel, and requests that most tests make."""

    channel: grpc.aio.Channel

    @cached_property
    def iam(self) -> iam.IAMAsyncClient:
        return self._client(iam.IAMAsyncClient)

    @cached_property
    def projects(self) -> resourcemanager.ProjectsAsyncClient:
        return self._client(resourcemanager.ProjectsAsyncClient)

    @cached_property
    def folders(self) -> resourcemanager.FoldersAsyncClient:
        return self._client(resourcemanager.FoldersAsyncClient)

    @cached_property
    def organizations(self) -> resourcemanager.OrganizationsAsyncClient:
        return self._client(resourcemanager.OrganizationsAsyncClient)

    @cached_property
    def services(self) -> run.ServicesAsyncClient:
        return self._client(run.ServicesAsyncClient)

    @cached_property
    def jobs(self) -> run.JobsAsyncClient:
        return self._client(run.JobsAsyncClient)

    @cached_property
    def worker_pools(self) -> run.WorkerPoolsAsyncClient:
        return self._client(run.WorkerPoolsAsyncClient)

    @cached_property
    def revisions(self) -> run.RevisionsAsyncClient:
        return self._client(run.RevisionsAsyncClient)

    @cached_property
    def executions(self) -> run.ExecutionsAsyncClient:
        return self._client(run.ExecutionsAsyncClient)

    @cached_property
    def org_policy(self) -> orgpolicy.OrgPolicyAsyncClient:
        return self._client(orgpolicy.OrgPolicyAsyncClient)

    @cached_property
    def recommender(self) -> recommender.RecommenderAsyncClient:
        return self._client(recommender.RecommenderAsyncClient)

    @cached_property
    def secrets(self) -> SecretPolicies:
        return SecretPolicies(self.channel)

    def _client(self, client: Any) -> Any:
        return client(transport=client.get_transport_class("grpc_asyncio")(channel=self.channel))

    async def recreate_account(self, name: str) -> iam.ServiceAccount:
        """Delete the account of that name, and create another one with the same e-mail."""
        await self.iam.delete_service_account(name=name)
        project, email = name.removeprefix("projects/").split("/serviceAccounts/")
        return await self.create_account(email.partition("@")[0], project)

    async def create_account(self, account_id: str = "checkout", project: str = "shop") -> iam.ServiceAccount:
        return await self.iam.create_service_account(name=f"projects/{project}", account_id=account_id)

    async def policy(self, resource: str = "projects/shop", version: int = 3) -> policy_pb2.Policy:
        request = iam_policy_pb2.GetIamPolicyRequest(
            resource=resource, options=options_pb2.GetPolicyOptions(requested_policy_version=version)
        )
        return await self._policy_client(resource).get_iam_policy(request)

    async def set_policy(
        self, policy: policy_pb2.Policy, resource: str = "projects/shop", mask: tuple[str, ...] = ()
    ) -> policy_pb2.Policy:
        request = iam_policy_pb2.SetIamPolicyRequest(
            resource=resource, policy=policy, update_mask=FieldMask(paths=mask)
        )
        return await self._policy_client(resource).set_iam_policy(request)

    async def grant(
        self,
        role: str,
        *members: str,
        resource: str = "projects/shop",
        condition: expr_pb2.Expr | None = None,
    ) -> policy_pb2.Policy:
        """Add one binding to the policy."""
        policy = await self.policy(resource)
        policy.version = 3
        policy.bindings.add(role=role, members=members, condition=condition)
        return await self.set_policy(policy, resource)

    async def create_service(self, service_id: str = "web", **template: Any) -> run.Service:
        operation = await self.services.create_service(
            parent=LOCATION,
            service_id=service_id,
            service=run.Service(template=revision_template(**template)),
        )
        return await operation.result()

    async def update_service(self, service: run.Service, *mask: str) -> run.Service:
        request = run.UpdateServiceRequest(service=service, update_mask=FieldMask(paths=mask))
        return await (await self.services.update_service(request)).result()

    async def create_job(self, job_id: str = "nightly", service_account: str = "") -> run.Job:
        task = run.TaskTemplate(service_account=service_account, containers=[run.Container(image="hello")])
        job = run.Job(template=run.ExecutionTemplate(template=task))
        return await (await self.jobs.create_job(parent=LOCATION, job_id=job_id, job=job)).result()

    async def create_worker_pool(self, pool_id: str = "queue", service_account: str = "") -> run.WorkerPool:
        template = run.WorkerPoolRevisionTemplate(
            service_account=service_account, containers=[run.Container(image="hello")]
        )
        operation = await self.worker_pools.create_worker_pool(
            parent=LOCATION, worker_pool_id=pool_id, worker_pool=run.WorkerPool(template=template)
        )
        return await operation.result()

    def _policy_client(self, resource: str) -> Any:
        name = {"serviceAccounts": "iam", "workerPools": "worker_pools"}
        collection = resource.split("/")[-2]
        return getattr(self, name.get(collection, collection))


def revision_template(**template: Any) -> run.RevisionTemplate:
    return run.RevisionTemplate(containers=[run.Container(image="hello")], **template)


def members(policy: policy_pb2.Policy, role: str) -> list[str]:
    return [member for binding in policy.bindings if binding.role == role for member in binding.members]


def retry_seconds(error: exceptions.GoogleAPICallError) -> float | None:
    """Return the seconds in the RetryInfo of an error; None without one."""
    found = (each for each in error.details if isinstance(each, error_details_pb2.RetryInfo))
    return next((float(each.retry_delay.ToTimedelta().total_seconds()) for each in found), None)
