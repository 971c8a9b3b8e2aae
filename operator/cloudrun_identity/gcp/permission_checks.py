"""Who seems to be permitted what, as far as the operator may look: hints, shared by everybody who asks."""

from collections.abc import Awaitable
from enum import Enum
from typing import TypeVar

from google.iam.v1 import policy_pb2

from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.principals import PrincipalKind, is_public, parse, same_member

from .errors import GoogleError
from .policies import Policies
from .roles import Roles
from .single_flight_cache import CacheTable, Clock

HINTS_AGE = 15.0
"""Seconds for which an answer is good enough for advice: whoever mends something soon sees that it helped."""

ANSWERS_KEPT = 1000
"""Answers of each kind that are remembered: what is asked about is named by workloads, and they change."""


class Hint(Enum):
    """Whether somebody is permitted something; UNKNOWN also where the operator may not look."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class PermissionChecks:
    """Answers at most `HINTS_AGE` old, unless asked otherwise, by one call for all who ask alike."""

    def __init__(self, policies: Policies, roles: Roles, clock: Clock) -> None:
        self._policies = policies
        self._roles = roles
        self._tested: CacheTable[tuple[Target, str, str], frozenset[str]] = CacheTable(clock, ANSWERS_KEPT)
        self._read: CacheTable[Target, policy_pb2.Policy] = CacheTable(clock, ANSWERS_KEPT)

    async def operator_may(
        self, permission: str, target: Target, acting_in: str, max_age: float = HINTS_AGE
    ) -> Hint:
        """Whether the operator itself holds a permission on the target, as whom it acts in that project."""
        held = await _answer(
            self._tested.get(
                (target, permission, acting_in),
                lambda: self._policies.test_permissions(target, [permission], acting_in),
                max_age,
            )
        )
        if held is None:
            return Hint.UNKNOWN
        return Hint.YES if permission in held else Hint.NO

    async def permits(self, member: str, permission: str, *targets: Target) -> Hint:
        """Whether any of the targets' own policies gives a member a permission.

        UNKNOWN also where a condition decides, or where somebody holds it who may be a group of the member's.
        """
        hints = set()
        for target in targets:
            hints.add(await self._permits(target, member, permission))
            if Hint.YES in hints:
                return Hint.YES
        return Hint.UNKNOWN if Hint.UNKNOWN in hints else Hint.NO

    async def _permits(self, target: Target, member: str, permission: str) -> Hint:
        policy = await _answer(self._read.get(target, lambda: self._policies.get(target), HINTS_AGE))
        if policy is None:
            return Hint.UNKNOWN
        hint = Hint.NO
        for binding in policy.bindings:
            entry = _holding(binding, member)
            if entry is Hint.NO or not await self._is_in(binding.role, permission, target.project_id):
                continue
            if entry is Hint.YES:
                return Hint.YES
            hint = Hint.UNKNOWN
        return hint

    async def _is_in(self, role: str, permission: str, project_id: str) -> bool:
        try:
            return permission in await self._roles.permissions(role, project_id)
        except GoogleError:  # nobody's role, or nobody tells: it is no proof
            return False


Value = TypeVar("Value")


async def _answer(asked: Awaitable[Value]) -> Value | None:
    try:
        return await asked
    except GoogleError:  # whatever is wrong, it must not hold up what the hint is for
        return None


def _holding(binding: policy_pb2.Binding, member: str) -> Hint:
    """Whether the binding is the member's."""
    if any(same_member(each, member) or is_public(each) for each in binding.members):
        return Hint.UNKNOWN if binding.HasField("condition") else Hint.YES
    is_a_crowds = any(parse(each).kind in _CROWDS for each in binding.members)
    return Hint.UNKNOWN if is_a_crowds else Hint.NO


_CROWDS = (PrincipalKind.GROUP, PrincipalKind.DOMAIN, PrincipalKind.PRINCIPAL_SET)
