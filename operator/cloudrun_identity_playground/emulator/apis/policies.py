"""IAM policies of every resource: reading, writing, etags, conditions, limits."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from google.iam.v1 import iam_policy_pb2, policy_pb2

from cloudrun_identity_playground.emulator.errors import aborted, invalid

from .members import PUBLIC, AccountMember, Accounts, Member, parse, render
from .role_table import BASIC_ROLES, RoleTable

MAX_PRINCIPALS = 1500
MAX_GROUPS = 250
MAX_CONDITIONS_OF_ONE_GRANT = 20

_NEVER_WRITTEN = b"\x00\x20\x01"  # reads "ACAB": Google's etag of a policy that nobody wrote yet
_DEFAULT_MASK = frozenset({"bindings", "etag"})
_MASK_PATHS = _DEFAULT_MASK | {"audit_configs", "version"}


class ResourceKind(Enum):
    """What a policy is attached to, as far as it decides what the policy may hold."""

    PROJECT = "project"
    SERVICE_ACCOUNT = "serviceAccount"
    RUN_SERVICE = "service"
    RUN_JOB = "job"
    RUN_WORKER_POOL = "workerPool"

    @property
    def takes_conditions(self) -> bool:
        """Of Cloud Run, services alone take conditions."""
        return self not in (ResourceKind.RUN_JOB, ResourceKind.RUN_WORKER_POOL)

    @property
    def takes_public_members(self) -> bool:
        """Whether `allUsers` and `allAuthenticatedUsers` may be members."""
        return self in (ResourceKind.RUN_SERVICE, ResourceKind.SERVICE_ACCOUNT)

    @property
    def permission_prefix(self) -> str:
        """A role can be granted on the resource if one of its permissions begins so."""
        match self:
            case ResourceKind.PROJECT:
                return ""
            case ResourceKind.SERVICE_ACCOUNT:
                return "iam.serviceAccount"
            case _:
                return "run."


@dataclass
class Binding:
    """A role and a condition with their members, in the order they were written."""

    role: str
    condition: Any = None  # google.type.Expr
    members: list[Member] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, bytes]:
        """Bindings of one key are one binding."""
        condition = (
            self.condition.SerializeToString(deterministic=True) if self.condition is not None else b""
        )
        return self.role, condition


@dataclass
class _Policy:
    etag: bytes = _NEVER_WRITTEN
    bindings: Sequence[Binding] = ()
    audit_configs: Sequence[Any] = ()

    @property
    def is_conditional(self) -> bool:
        return any(binding.condition is not None for binding in self.bindings)


class Policies:
    """The policies of all resources, by resource name (`projects/ID`, `projects/ID/locations/L/jobs/J`, …).

    `tombstone_conflict` refuses a policy that holds both a live account and a tombstone of its e-mail,
    as reported in 2020; Google's documentation of today shows both in one policy.
    """

    def __init__(
        self,
        accounts: Accounts,
        roles: RoleTable,
        clock: Callable[[], float],
        *,
        tombstone_conflict: bool = False,
    ) -> None:
        self.tombstone_conflict = tombstone_conflict
        self._accounts = accounts
        self._roles = roles
        self._clock = clock
        self._policies: dict[str, _Policy] = {}
        self._last_stamp = 0

    def read(self, resource: str, request: iam_policy_pb2.GetIamPolicyRequest) -> policy_pb2.Policy:
        """The policy of `resource` as of now, in the version asked for."""
        version = request.options.requested_policy_version
        if version not in (0, 1, 3):
            raise invalid(f"Invalid requested policy version {version}; use 0, 1 or 3.")
        return self._view(self._policies.get(resource, _Policy()), version)

    def write(
        self, resource: str, kind: ResourceKind, request: iam_policy_pb2.SetIamPolicyRequest
    ) -> policy_pb2.Policy:
        """Replace the policy of `resource` and answer the new one; equal content gets a new etag too."""
        current = self._policies.get(resource, _Policy())
        mask = _mask(request)
        _check_etag(request.policy, current)
        _check_version(request.policy, current)
        bindings = current.bindings
        if "bindings" in mask:
            bindings = self._bindings(request.policy.bindings)
            self._check(bindings, kind, resource, current)
        audit_configs = (
            list(request.policy.audit_configs) if "audit_configs" in mask else current.audit_configs
        )
        written = _Policy(self._stamp(), bindings, audit_configs)
        self._policies[resource] = written
        return self._view(written, 3)

    def drop(self, resource: str) -> None:
        """Forget the policy of a resource that is gone."""
        self._policies.pop(resource, None)

    def all(self) -> Iterator[tuple[str, policy_pb2.Policy]]:
        """Every policy that was ever written, with the name of its resource."""
        for resource in sorted(self._policies):
            yield resource, self._view(self._policies[resource], 3)

    def _bindings(self, sent: Iterable[Any]) -> Sequence[Binding]:
        """What a caller sent, with equal bindings merged, equal members once, and empty bindings gone."""
        merged: dict[tuple[str, bytes], Binding] = {}
        for each in sent:
            binding = Binding(each.role, each.condition if each.HasField("condition") else None)
            binding = merged.setdefault(binding.key, binding)
            members = (parse(member, self._accounts) for member in each.members)
            binding.members = list(dict.fromkeys([*binding.members, *members]))
        return [binding for binding in merged.values() if binding.members]

    def _check(
        self, bindings: Sequence[Binding], kind: ResourceKind, resource: str, current: _Policy
    ) -> None:
        _check_limits(bindings)
        present = {binding.role for binding in current.bindings}
        for binding in bindings:
            _check_condition(binding, kind)
            _check_public_members(binding, kind)
            if binding.role not in present:
                self._roles.check_grantable(binding.role, resource, kind.permission_prefix)
        if self.tombstone_conflict:
            self._check_tombstones(bindings)

    def _check_tombstones(self, bindings: Iterable[Binding]) -> None:
        accounts = [
            member for binding in bindings for member in binding.members if isinstance(member, AccountMember)
        ]
        live = {member.email.lower() for member in accounts if self._accounts.is_live(member.unique_id)}
        for member in accounts:
            if not self._accounts.is_live(member.unique_id) and member.email.lower() in live:
                raise invalid(
                    f"A policy cannot hold both serviceAccount:{member.email} and its deleted predecessor."
                )

    def _view(self, policy: _Policy, version: int) -> policy_pb2.Policy:
        shown = policy_pb2.Policy(etag=policy.etag, audit_configs=policy.audit_configs, version=1)
        for binding in policy.bindings:
            role, condition = binding.role, binding.condition
            if condition is not None and version < 3:
                role, condition = f"{role}_withcond_{_hash(condition)}", None
            members = [render(member, self._accounts) for member in binding.members]
            shown.bindings.add(role=role, members=members, condition=condition)
        if policy.is_conditional and version == 3:
            shown.version = 3
        return shown

    def _stamp(self) -> bytes:
        """A new etag: Google's are the microseconds of the write behind a byte 7."""
        self._last_stamp = max(int(self._clock() * 1e6), self._last_stamp + 1)
        return b"\x07" + self._last_stamp.to_bytes(7)


def _mask(request: iam_policy_pb2.SetIamPolicyRequest) -> frozenset[str]:
    mask = frozenset(request.update_mask.paths) or _DEFAULT_MASK
    if unknown := mask - _MASK_PATHS:
        raise invalid(f"Invalid field mask path '{min(unknown)}' of a policy.")
    return mask


def _check_etag(sent: policy_pb2.Policy, current: _Policy) -> None:
    if sent.etag and sent.etag != current.etag:
        raise aborted(
            "There were concurrent policy changes. Please retry the whole read-modify-write with exponential "
            f"backoff. The request's ETag '{_quoted(sent.etag)}' did not match the current policy's ETag "
            f"'{_quoted(current.etag)}'."
        )


def _check_version(sent: policy_pb2.Policy, current: _Policy) -> None:
    if sent.version not in (0, 1, 3):
        raise invalid(f"Invalid policy version {sent.version}; use 1 or 3.")
    conditional = any(binding.HasField("condition") for binding in sent.bindings)
    if conditional and sent.version != 3:
        raise invalid(f"A policy of version {sent.version} cannot contain conditions; use version 3.")
    # Without an etag Google lets an older version overwrite a conditional policy: the conditions are lost.
    if current.is_conditional and sent.version != 3 and sent.etag:
        raise invalid("The policy has conditions and must be written with version 3.")


def _check_limits(bindings: Sequence[Binding]) -> None:
    members = [member for binding in bindings for member in binding.members]
    if len(members) > MAX_PRINCIPALS:
        raise invalid(f"Policy members must be at most {MAX_PRINCIPALS}; the policy has {len(members)}.")
    groups = sum(isinstance(member, str) and member.startswith("group:") for member in members)
    if groups > MAX_GROUPS:
        raise invalid(f"Groups in a policy must be at most {MAX_GROUPS}; the policy has {groups}.")
    grants = Counter((binding.role, member) for binding in bindings for member in binding.members)
    if grants and max(grants.values()) > MAX_CONDITIONS_OF_ONE_GRANT:
        raise invalid(
            f"One role and member may stand in at most {MAX_CONDITIONS_OF_ONE_GRANT} conditional bindings."
        )


def _check_condition(binding: Binding, kind: ResourceKind) -> None:
    if binding.condition is None:
        return
    if not kind.takes_conditions:
        raise invalid(f"Conditions are not supported on this resource; role '{binding.role}' has one.")
    if binding.role in BASIC_ROLES:
        raise invalid(f"Conditions cannot be set on the basic role '{binding.role}'.")
    if not binding.condition.expression:
        raise invalid(f"The condition of role '{binding.role}' has no expression.")


def _check_public_members(binding: Binding, kind: ResourceKind) -> None:
    if kind.takes_public_members:
        return
    for member in binding.members:
        if member in PUBLIC:
            raise invalid(f"Member {member} is not allowed on this resource (role '{binding.role}').")


def _hash(condition: Any) -> str:
    return hashlib.sha256(condition.SerializeToString(deterministic=True)).hexdigest()[:20]


def _quoted(etag: bytes) -> str:
    return "".join(f"\\{byte:03o}" for byte in etag)
