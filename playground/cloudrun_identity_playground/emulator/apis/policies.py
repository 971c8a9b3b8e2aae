"""IAM policies of all resources: reads, writes, etags, conditions and limits."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from google.iam.v1 import iam_policy_pb2, policy_pb2
from google.protobuf import wrappers_pb2

from cloudrun_identity_playground.emulator.errors import GoogleError, aborted, invalid
from cloudrun_identity_playground.emulator.lag import Lag
from cloudrun_identity_playground.emulator.switches import Switches

from .members import AccountMember, Accounts, Member, WorkspaceMember, bind, parse, render
from .policy_rules import Binding, PolicyRules, check_binding, check_limits
from .role_table import RoleTable
from .workspace import Workspace, WorkspacePrincipal

_NEVER_WRITTEN = b"\x00\x20\x01"  # "ACAB", Google's etag of a policy that was never written
_NEVER_WRITTEN_OF_BUCKET = b"\x08\x01"  # "CAE="
_BUCKET = re.compile(r"projects/[^/]+/buckets/[^/]+")
_DEFAULT_MASK = frozenset({"bindings", "etag"})
_MASK_PATHS = _DEFAULT_MASK | {"audit_configs", "version"}


@dataclass
class _Policy:
    etag: bytes = _NEVER_WRITTEN
    bindings: Sequence[Binding] = ()
    audit_configs: Sequence[Any] = ()

    @property
    def is_conditional(self) -> bool:
        return any(binding.condition is not None for binding in self.bindings)


@dataclass
class _Replaced:
    """Policy before a write, and the number of reads since."""

    policy: _Policy
    at: float
    reads: int = 0


@dataclass(frozen=True, slots=True)
class PolicyWrite:
    """Bindings before and after a write of a policy."""

    before: Sequence[Binding]
    after: Sequence[Binding]


class Sharing(Protocol):
    """Organization policy that restricts members: `sharing.DomainRestrictedSharing`."""

    def check(self, resource: str, added: Iterable[Member]) -> None:
        """Check that `added` may become members of the policy of `resource`.

        Raises GoogleError: FAILED_PRECONDITION.
        """


class Policies:
    """The policies of all resources, by resource name (`projects/ID`, `projects/ID/locations/L/jobs/J`, …).

    The switch `tombstone_conflict` refuses a policy with both an account and a deleted member of the same
    e-mail, as reported in 2020. Google's current documentation shows both in one policy.

    The switch `stale_ids` hides the deleted form if another account has the e-mail: the member reads as the
    new account and means the old one. Writing it changes nothing until a write has removed it. Google's
    documentation said so before 2020.
    """

    def __init__(
        self,
        accounts: Accounts,
        workspace: Workspace,
        roles: RoleTable,
        sharing: Sharing,
        lag: Lag,
        clock: Callable[[], float],
        switches: Switches,
    ) -> None:
        self._lag = lag
        self._switches = switches
        self._accounts = accounts
        self._workspace = workspace
        self._roles = roles
        self._sharing = sharing
        self._clock = clock
        self._checking = True
        self._policies: dict[str, _Policy] = {}
        self._replaced: dict[str, _Replaced] = {}
        self._last_stamp = 0
        self.last_write: PolicyWrite | None = None
        """The last write, for the audit log."""

    def read(self, resource: str, request: iam_policy_pb2.GetIamPolicyRequest) -> policy_pb2.Policy:
        """Return the policy of `resource` in the requested version."""
        version = request.options.requested_policy_version
        if version not in (0, 1, 3):
            raise invalid(f"Invalid requested policy version {version}; use 0, 1 or 3.")
        return self._view(self._seen(resource), version)

    def _seen(self, resource: str) -> _Policy:
        """Return the policy that a read shows: after a write, every second read shows the one before.

        A read right after a write may return an older version
        (https://cloud.google.com/iam/docs/overview#consistency).
        """
        current, replaced = self._current(resource), self._replaced.get(resource)
        if replaced is None or self._clock() >= replaced.at + self._switches.stale_reads.total_seconds():
            return current
        replaced.reads += 1
        return replaced.policy if replaced.reads % 2 else current

    def write(
        self, resource: str, kind: PolicyRules, request: iam_policy_pb2.SetIamPolicyRequest
    ) -> policy_pb2.Policy:
        """Replace the policy of `resource` and return the new one. Equal content gets a new etag too."""
        current = self._current(resource)
        mask = _mask(request)
        _check_etag(request.policy, current)
        _check_version(request.policy, current)
        audit_configs = (
            list(request.policy.audit_configs) if "audit_configs" in mask else current.audit_configs
        )
        bindings = current.bindings
        if "bindings" in mask:
            bindings = self._bindings(request.policy.bindings, current)
        if self._checking:
            check_limits(bindings, self._named, audit_configs)
            if "bindings" in mask:
                self._check(bindings, kind, resource, current)
        for grant in _grants_of(bindings) - _grants_of(current.bindings):
            self._lag.begin(_event(resource, *grant))
        written = _Policy(self._next_etag(resource, current), bindings, audit_configs)
        self._policies[resource] = written
        self.last_write = PolicyWrite(current.bindings, bindings)
        if self._switches.stale_reads:
            self._replaced[resource] = _Replaced(current, self._clock())
        return self._view(written, 3)

    @contextmanager
    def unchecked(self) -> Iterator[None]:
        """Accept members in writes inside the block that Google refuses. Any later write is refused."""
        self._checking = False
        try:
            yield
        finally:
            self._checking = True

    def bind(self, principal: WorkspacePrincipal) -> None:
        """Bind members that were written before the workspace knew the user or group."""
        spelled = {f"{principal.kind}:{address}" for address in principal.addresses}
        for policy in self._policies.values():
            for binding in policy.bindings:
                binding.members = [
                    bind(member, self._workspace)
                    if isinstance(member, str) and member.lower() in spelled
                    else member
                    for member in binding.members
                ]

    def drop(self, resource: str) -> None:
        """Remove the policy of a deleted resource."""
        self._policies.pop(resource, None)
        self._replaced.pop(resource, None)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the resources whose policies were written."""
        return iter(sorted(self._policies))

    def bindings(self, resource: str) -> Sequence[Binding]:
        """Return the bindings of a policy, with the accounts of their members."""
        return self._policies.get(resource, _Policy()).bindings

    def shown_member(self, member: Member) -> str:
        """Return the form of a member that a read shows."""
        return self._render(member)

    def is_effective(self, resource: str, binding: Binding, member: Member) -> bool:
        """Return whether a grant is in effect: not during the lag after the write that added it.

        https://cloud.google.com/iam/docs/access-change-propagation
        """
        return not self._lag.lasts(_event(resource, *binding.key, member))

    def shown(self, resource: str) -> policy_pb2.Policy:
        """Return a policy in version 3."""
        return self._view(self._current(resource), 3)

    def bound_ids(self, resource: str) -> Sequence[Mapping[str, str]]:
        """Return, for each shown binding, the unique ids of its accounts by shown member."""
        return [
            {
                self._render(member): member.unique_id
                for member in binding.members
                if isinstance(member, AccountMember)
            }
            for binding in self.bindings(resource)
        ]

    def _bindings(self, sent: Iterable[Any], current: _Policy) -> Sequence[Binding]:
        """Return the sent bindings, with equal bindings merged, equal members once, and no empty bindings."""
        stale = {binding.key: self._stale(binding) for binding in current.bindings}
        merged: dict[tuple[str, bytes], Binding] = {}
        for each in sent:
            binding = Binding(each.role, each.condition if each.HasField("condition") else None)
            binding = merged.setdefault(binding.key, binding)
            kept = stale.get(binding.key, {})
            members = (kept.get(member.lower()) or self._parse(member) for member in each.members)
            binding.members = list(dict.fromkeys([*binding.members, *members]))
        return [binding for binding in merged.values() if binding.members]

    def _stale(self, binding: Binding) -> Mapping[str, Member]:
        """Return members that mean a replaced account, by their shown form in lower case."""
        if not self._switches.stale_ids:
            return {}
        return {
            f"serviceAccount:{member.email}".lower(): member
            for member in binding.members
            if isinstance(member, AccountMember) and not self._accounts.is_live(member.unique_id)
        }

    def _parse(self, member: str) -> Member:
        try:
            return parse(member, self._accounts, self._workspace)
        except GoogleError:
            if self._checking:
                raise
            return member

    def _render(self, member: Member) -> str:
        return render(member, self._accounts, self._workspace, stale_ids=self._switches.stale_ids)

    def _named(self, member: Member) -> Member:
        """Return a user or group by its address; other members unchanged."""
        return self._render(member) if isinstance(member, WorkspaceMember) else member

    def _check(self, bindings: Sequence[Binding], kind: PolicyRules, resource: str, current: _Policy) -> None:
        present = {binding.role for binding in current.bindings}
        for binding in bindings:
            check_binding(binding, kind)
            if binding.role not in present:
                self._roles.check_grantable(binding.role, resource, kind.permission_prefix)
        if self._switches.tombstone_conflict:
            self._check_tombstones(bindings)
        self._sharing.check(resource, map(self._named, _added(bindings, current.bindings)))

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
        if policy.etag in (_NEVER_WRITTEN, _NEVER_WRITTEN_OF_BUCKET):
            return policy_pb2.Policy(etag=policy.etag)
        shown = policy_pb2.Policy(etag=policy.etag, audit_configs=policy.audit_configs, version=1)
        for binding in policy.bindings:
            role, condition = binding.role, binding.condition
            if condition is not None and version < 3:
                role, condition = f"{role}_withcond_{_hash(condition)}", None
            members = dict.fromkeys(map(self._render, binding.members))
            shown.bindings.add(role=role, members=members, condition=condition)
        if policy.is_conditional and version == 3:
            shown.version = 3
        return shown

    def _current(self, resource: str) -> _Policy:
        return self._policies.get(resource) or _Policy(
            _NEVER_WRITTEN_OF_BUCKET if _BUCKET.fullmatch(resource) else _NEVER_WRITTEN
        )

    def _next_etag(self, resource: str, current: _Policy) -> bytes:
        """Return the etag of a written policy: the microseconds of the write after a byte 7, as Google does.

        That of a bucket is a number in a protobuf message, such as `CAI=` after `CAE=`:
        https://cloud.google.com/storage/docs/access-control/using-iam-permissions.
        """
        if _BUCKET.fullmatch(resource):
            counter = wrappers_pb2.Int64Value.FromString(current.etag)
            counter.value += 1
            return bytes(counter.SerializeToString())
        self._last_stamp = max(int(self._clock() * 1e6), self._last_stamp + 1)
        return b"\x07" + self._last_stamp.to_bytes(7)


def _added(after: Iterable[Binding], before: Iterable[Binding]) -> Iterable[Member]:
    standing = {binding.key: frozenset(binding.members) for binding in before}
    for binding in after:
        for member in binding.members:
            if member not in standing.get(binding.key, ()):
                yield member


def _grants_of(bindings: Iterable[Binding]) -> set[tuple[str, bytes, Member]]:
    return {(*binding.key, member) for binding in bindings for member in binding.members}


def _event(resource: str, role: str, condition: bytes, member: Member) -> str:
    return f"{resource} {role} {condition.hex()} {member}"


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
    # Without an etag, an older version overwrites a conditional policy, and the conditions are lost.
    if current.is_conditional and sent.version != 3 and sent.etag:
        raise invalid("The policy has conditions and must be written with version 3.")


def _hash(condition: Any) -> str:
    return hashlib.sha256(condition.SerializeToString(deterministic=True)).hexdigest()[:20]


def _quoted(etag: bytes) -> str:
    return "".join(f"\\{byte:03o}" for byte in etag)
