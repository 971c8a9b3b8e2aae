"""Risk of a grant: how much control it gives over an account, from the permissions in its role."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

from cloudrun_identity.api import GrantState, TargetKind
from cloudrun_identity.api.predefined_roles import (
    OPEN_ID_TOKEN_CREATOR,
    TOKEN_CREATOR,
    USER,
    WORKLOAD_IDENTITY_USER,
)
from cloudrun_identity.iam.access_questions import ACT_AS, INVOKE
from cloudrun_identity.iam.escalation import escalating, reach_of
from cloudrun_identity.iam.principals import is_public
from cloudrun_identity.iam.role_catalog import role_catalog

HOW: Final = {
    USER: "attaches it to workloads",
    TOKEN_CREATOR: "creates tokens for it",
    OPEN_ID_TOKEN_CREATOR: "creates ID tokens for it",
    WORKLOAD_IDENTITY_USER: "impersonates it from outside Google Cloud",
}
"""Use of an account that a role on it permits, for the roles that have no other purpose."""


class Risk(StrEnum):
    """Risks of a grant, the most severe first."""

    PUBLIC = "Public"
    """Everyone on the internet has the role."""
    OWNER = "Owner"
    """The holder can gain further permissions: it can grant roles, or has another role that escalates."""
    KEYS = "Keys"
    """The holder can create keys of the account, which do not expire. Or such keys exist."""
    TOKENS = "Tokens"
    """The holder can create tokens of the account or sign data as it, from anywhere."""
    DEPLOY = "Deploy"
    """The holder can deploy workloads that run as the account."""
    NONE = "None"
    """The grant gives no use of an account, or is not effective."""


MEANING: Final = {
    Risk.PUBLIC: "Everyone on the internet has access",
    Risk.OWNER: "Can grant access, or gain more permissions",
    Risk.KEYS: "Keys exist, or can be created",
    Risk.TOKENS: "Can create tokens or signatures",
    Risk.DEPLOY: "Can deploy workloads that run as the identity",
    Risk.NONE: "No use of another identity",
}
"""Explanation of each risk, for a legend."""

_BY_ABILITY: Final = {"setPolicy": Risk.OWNER, "createKey": Risk.KEYS, "attach": Risk.DEPLOY}
"""Risk of the abilities that are not about tokens and signatures."""

_SEVERITY: Final = {risk: number for number, risk in enumerate(Risk)}

_EFFECTIVE: Final = (GrantState.GRANTED, GrantState.PENDING, GrantState.RELEASING)


def most_severe(risks: Iterable[Risk]) -> Risk:
    """Return the most severe risk; NONE without any."""
    return min(risks, key=_SEVERITY.__getitem__, default=Risk.NONE)


def by_severity(risks: Iterable[Risk]) -> tuple[Risk, ...]:
    """Return the distinct risks, the most severe first, without NONE."""
    return tuple(sorted({*risks} - {Risk.NONE}, key=_SEVERITY.__getitem__))


class Roles:
    """Uses and risks of roles, by their permissions."""

    def __init__(self, custom: Mapping[str, Iterable[str]]) -> None:
        """`custom` has the permissions of custom roles by full name."""
        self._custom = {role: frozenset(permissions) for role, permissions in custom.items()}
        self._uses: dict[str, str] = dict(HOW)
        self._risks: dict[str, Risk] = {}
        self._escalating: dict[tuple[str, TargetKind], bool] = {}

    def use_of(self, role: str) -> str:
        """Return the uses of an account that a role permits; empty if it permits none or is not known."""
        if role not in self._uses:
            permissions = self._permissions(role)
            found = (ability.text for ability in ACT_AS if ability.permission in permissions)
            self._uses[role] = ", ".join(found)
        return self._uses[role]

    def risk_of_use(self, role: str, member: str, state: GrantState) -> Risk:
        """Return the risk of a grant on an account, or on its project."""
        if state not in _EFFECTIVE:
            return Risk.NONE
        if role not in self._risks:
            permissions = self._permissions(role)
            self._risks[role] = most_severe(
                _BY_ABILITY.get(ability.name, Risk.TOKENS)
                for ability in ACT_AS
                if ability.permission in permissions
            )
        risk = self._risks[role]
        return Risk.PUBLIC if risk is not Risk.NONE and is_public(member) else risk

    def risk_of_grant(self, role: str, target: str, state: GrantState) -> Risk:
        """Return the risk of a grant to an account, on a target as a status writes it."""
        kind = _kind_of(target)
        if state not in _EFFECTIVE or kind is None:
            return Risk.NONE
        if (role, kind) not in self._escalating:
            reach = reach_of(kind, own_identity=False)
            self._escalating[role, kind] = bool(escalating(self._permissions(role), reach))
        if not self._escalating[role, kind]:
            return Risk.NONE
        return self.risk_of_use(role, "", state) if kind is TargetKind.SERVICE_ACCOUNT else Risk.OWNER

    def is_public_invocation(self, role: str, target: str, member: str) -> bool:
        """Return whether the grant lets everyone invoke a workload."""
        kind = _kind_of(target)
        return (
            is_public(member)
            and kind is not None
            and kind in INVOKE
            and INVOKE[kind].permission in self._permissions(role)
        )

    def _permissions(self, role: str) -> frozenset[str]:
        predefined = role_catalog().get(role)
        return frozenset(predefined.permissions) if predefined else self._custom.get(role, frozenset())


def _kind_of(target: str) -> TargetKind | None:
    """Return the kind of a target that a status writes as `KIND NAME`."""
    kind = target.partition(" ")[0]
    return TargetKind(kind) if kind in TargetKind.__members__.values() else None
