"""Client for the IAM policies of every target kind.

The policy methods of every Google service take and return google.iam.v1 messages. Only the path of the method
and the routing header differ: see `api.target_kinds`.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import quote

from google.iam.v1 import iam_policy_pb2, options_pb2, policy_pb2
from google.protobuf import field_mask_pb2

from cloudrun_identity.iam.grants import Grant, Target

from .clients import ProjectClients
from .errors import GoogleError
from .mutations import log_mutation
from .ratelimit import Reservation

_VERSION = 3
"""An older read shows conditions as invented role names. Writing that back destroys the conditions."""

_PERMISSIONS_AT_ONCE = 100
"""Maximum number of permissions in one request."""

MAX_WAIT = 20.0
"""The longest time in seconds for which `get_soon` waits for a read of another caller."""

KEPT_FOR = 60.0
"""Seconds for which a policy that was read is kept for `get_soon`: longer than `MAX_WAIT`, because quotas
delay the reconciles of many projects."""

Reply = TypeVar("Reply")


class Policies:
    """Reads and writes whole policies. The caller merges grants and retries conflicts."""

    def __init__(self, clients: ProjectClients) -> None:
        self._clients = clients
        self._awaited: dict[Target, asyncio.Future[policy_pb2.Policy | None]] = {}
        self._recent: dict[Target, tuple[float, policy_pb2.Policy]] = {}

    async def get(self, target: Target) -> policy_pb2.Policy:
        """Return the policy with its conditions, and with the etag for the next write.

        Raises:
            GoogleError: NOT_FOUND if the target does not exist, or another error of the API.

        """
        request = iam_policy_pb2.GetIamPolicyRequest(
            resource=target.resource,
            options=options_pb2.GetPolicyOptions(requested_policy_version=_VERSION),
        )
        policy: policy_pb2.Policy | None = None
        try:
            policy = await self._call(target, "GetIamPolicy", request, policy_pb2.Policy, target.project_id)
        finally:
            self._share(target, policy)
        return policy

    async def get_soon(self, target: Target, max_wait: float) -> policy_pb2.Policy:
        """Return the policy as another caller reads it within `max_wait` seconds, or has read it recently.

        Read it after that time, or after the read of the other caller failed. `max_wait` is at most
        `MAX_WAIT`; 0 reads it now.

        Raises:
            GoogleError: as `get`.

        """
        if max_wait > 0:
            recent = self._recent.get(target)
            if recent and recent[0] > _now() - KEPT_FOR:
                return recent[1]
            awaited = self._awaited.get(target)
            if awaited is None:
                awaited = self._awaited[target] = asyncio.get_running_loop().create_future()
            await asyncio.wait([awaited], timeout=max_wait)
            if self._awaited.get(target) is awaited:
                del self._awaited[target]
            if awaited.done() and (policy := awaited.result()):
                return policy
        return await self.get(target)

    async def set(self, target: Target, policy: policy_pb2.Policy) -> policy_pb2.Policy:
        """Replace the bindings, keep the audit configs, and return the resulting policy.

        Raises:
            ValueError: `policy` has no etag, so that the write would overwrite concurrent changes.
            GoogleError: ABORTED if the policy changed since it was read; UNAVAILABLE if the outcome is
                unknown; or another error of the API.

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

    @asynccontextmanager
    async def reserve(self, target: Target) -> AsyncIterator[Reservation]:
        """Wait until the rate limiter admits a write of a policy, for the first write in the block.

        Raises:
            GoogleError: the credential of the project is not known.

        """
        clients = self._clients.for_project(target.project_id)
        async with clients.reserved_write(target.host, target, target.region) as reservation:
            yield reservation

    def spacing(self, target: Target) -> tuple[float, bool]:
        """Return the seconds between two writes of a policy with which the rate limit suffices for all.

        Also return whether less than half of a burst is left. 0 if the project's credential is not known.
        """
        try:
            clients = self._clients.for_project(target.project_id)
        except GoogleError:
            return 0.0, False
        return clients.write_spacing(target.host, target.region)

    def _share(self, target: Target, policy: policy_pb2.Policy | None) -> None:
        """Pass a policy to the callers of `get_soon`; None after a failed read. Keep it for `KEPT_FOR`."""
        awaited = self._awaited.pop(target, None)
        if awaited and not awaited.done():
            awaited.set_result(policy)
        self._recent.pop(target, None)
        if policy is not None:
            self._recent[target] = (_now(), policy)
        for old in [each for each, (at, _) in self._recent.items() if at <= _now() - KEPT_FOR]:
            del self._recent[old]

    def log_write(self, target: Target, *, removed: Collection[Grant], added: Collection[Grant]) -> None:
        """Write the line of the mutation log for a write that took effect.

        Only the caller knows the changes, and whether a write without a reply took effect.
        """
        log_mutation("set policy of", target.full_name, before=_listed(removed), after=_listed(added))

    async def test_permissions(
        self, target: Target, permissions: Iterable[str], acting_in: str = ""
    ) -> frozenset[str]:
        """Return the permissions that the operator seems to have on the target.

        The call uses the operator's identity in project `acting_in`, by default the target's project. The
        result is a hint: Google may fail open, and returns nothing for a target that does not exist.

        Raises:
            GoogleError: the call failed.

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
        self, target: Target, verb: str, request: Any, response: type[Reply], acting_in: str
    ) -> Reply:
        descriptor = target.descriptor
        api, method = target.host, f"{descriptor.policy_service}/{verb}"
        clients = self._clients.for_project(acting_in)
        routing = f"{descriptor.routing_parameter}={quote(target.resource, safe='')}"
        return await clients.call(
            api,
            method,
            clients.stub(api, method, response, target.region),
            request,
            region=target.region,
            project_id=target.project_id,
            has_etag=True,  # of the only write
            metadata=(("x-goog-request-params", routing),),
        )


def _now() -> float:
    return asyncio.get_running_loop().time()


def _listed(grants: Collection[Grant]) -> str:
    return ", ".join(sorted(f"{grant.role} {grant.member}" for grant in grants)) or "nothing"
