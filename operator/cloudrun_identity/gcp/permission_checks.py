"""Advisory checks whether a principal has a permission, as far as the operator can see."""

from collections.abc import Awaitable
from enum import Enum
from typing import TypeVar

from google.iam.v1 import policy_pb2

from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.principals import PrincipalKind, is_public, parse, same_member

from .errors import Fault, GoogleError
from .policies import Policies
from .roles import Roles
from .single_flight_cache import Clock, KeyedSingleFlightCache
from .unique_ids import UniqueIDs

ADVISORY_MAX_AGE = 15.0
"""Maximum age in seconds of an advisory answer, so that users soon see the effect of a grant."""

CACHE_SIZE = 1000
"""Maximum number of cached answers of each kind."""


class AccessState(Enum):
    """Access of a principal to a resource, in the terms of Google's Policy Troubleshooter."""

    GRANTED = "granted"
    NOT_GRANTED = "not granted"
    UNKNOWN = "unknown"
    """Also if the operator is not permitted to check."""


class PermissionChecks:
    """Permission checks that are cached for `ADVISORY_MAX_AGE`. Concurrent equal checks share one call."""

    def __init__(self, policies: Policies, roles: Roles, unique_ids: UniqueIDs, clock: Clock) -> None:
        self._policies = policies
        self._roles = roles
        self._unique_ids = unique_ids
        self._tested: KeyedSingleFlightCache[tuple[Target, str, str], frozenset[str]] = (
            KeyedSingleFlightCache(clock, CACHE_SIZE)
        )
        self._read: KeyedSingleFlightCache[Target, policy_pb2.Policy] = KeyedSingleFlightCache(
            clock, CACHE_SIZE
        )

    async def operator_access(
        self, permission: str, target: Target, acting_in: str, max_age: float = ADVISORY_MAX_AGE
    ) -> AccessState:
        """Return whether the operator has a permission on the target, with its credential for `acting_in`."""
        held = await _answer(
            self._tested.get(
                (target, permission, acting_in),
                lambda: self._policies.test_permissions(target, [permission], acting_in),
                max_age,
            )
        )
        if held is None:
            return AccessState.UNKNOWN
        return AccessState.GRANTED if permission in held else AccessState.NOT_GRANTED

    async def member_access(
        self, member: str, permission: str, *targets: Target, condition: str = ""
    ) -> AccessState:
        """Return whether the policy of any of the targets grants the permission to the member.

        Inherited policies are not read. UNKNOWN also if a condition decides, or if a group or another set of
        principals has the permission, which the member may belong to. A binding with exactly the expression
        `condition` counts as unconditional: it is the condition of the access that is asked for.
        """
        states = set()
        for target in targets:
            states.add(await self._member_access(target, member, permission, condition))
            if AccessState.GRANTED in states:
                return AccessState.GRANTED
        return AccessState.UNKNOWN if AccessState.UNKNOWN in states else AccessState.NOT_GRANTED

    async def is_missing(self, target: Target) -> bool:
        """Return whether the target certainly does not exist."""
        try:
            await self._policy(target)
        except GoogleError as error:
            return error.fault is Fault.NOT_FOUND
        return False

    async def _policy(self, target: Target) -> policy_pb2.Policy:
        """Return the policy of a target, if it belongs to its project. Raises GoogleError."""

        async def read() -> policy_pb2.Policy:
            if target.descriptor.project_number_field is not None:
                await self._unique_ids.of_target(target)
            return await self._policies.get(target)

        return await self._read.get(target, read, ADVISORY_MAX_AGE)

    async def _member_access(
        self, target: Target, member: str, permission: str, condition: str
    ) -> AccessState:
        policy = await _answer(self._policy(target))
        if policy is None:
            return AccessState.UNKNOWN
        state = AccessState.NOT_GRANTED
        for binding in policy.bindings:
            membership = _membership(binding, member, condition)
            if membership is AccessState.NOT_GRANTED or not await self._role_includes(
                binding.role, permission, target.project_id
            ):
                continue
            if membership is AccessState.GRANTED:
                return AccessState.GRANTED
            state = AccessState.UNKNOWN
        return state

    async def _role_includes(self, role: str, permission: str, project_id: str) -> bool:
        try:
            return permission in await self._roles.permissions(role, project_id)
        except GoogleError:  # the role does not exist or cannot be read: no evidence
            return False


Value = TypeVar("Value")


async def _answer(call: Awaitable[Value]) -> Value | None:
    try:
        return await call
    except GoogleError:  # an advisory check must not fail its caller
        return None


def _membership(binding: policy_pb2.Binding, member: str, condition: str) -> AccessState:
    """Return whether the binding applies to the member, where `condition` is true."""
    if any(same_member(each, member) or is_public(each) for each in binding.members):
        holds = not binding.HasField("condition") or binding.condition.expression == condition
        return AccessState.GRANTED if holds else AccessState.UNKNOWN
    has_set = any(parse(each).kind in _PRINCIPAL_SETS for each in binding.members)
    return AccessState.UNKNOWN if has_set else AccessState.NOT_GRANTED


_PRINCIPAL_SETS = (
    PrincipalKind.GROUP,
    PrincipalKind.KUBERNETES_WORKLOADS,
    PrincipalKind.DOMAIN,
    PrincipalKind.PRINCIPAL_SET,
)
