"""The differences that entries show: of a policy, and of the permissions of a custom role.

`google.iam.v1.logging.AuditData` (google/iam/v1/logging/audit_data.proto) and
`google.iam.admin.v1.AuditData` (google/iam/admin/v1/audit_data.proto).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf import json_format

from cloudrun_identity_playground.emulator.apis.members import Member
from cloudrun_identity_playground.emulator.apis.policies import PolicyWrite
from cloudrun_identity_playground.emulator.apis.policy_rules import Binding

from .record import Record
from .subjects import Subject

Json = dict[str, Any]

_WITH_DELTA = frozenset(
    {"iam.googleapis.com", "cloudresourcemanager.googleapis.com", "storage.googleapis.com"}
)
"""Services with published entries that have a difference of the policy."""


def service_data(record: Record, subject: Subject, shown: Callable[[Member], str]) -> Json:
    """Return `serviceData` of an entry; empty if it has none. `shown` returns the text of a member."""
    if record.policy is not None and subject.service in _WITH_DELTA:
        deltas = list(_deltas(record.policy, shown))
        return {
            "@type": "type.googleapis.com/google.iam.v1.logging.AuditData",
            "policyDelta": {"bindingDeltas": deltas} if deltas else {},
        }
    if record.error is None and record.rpc.endswith(("/CreateRole", "/UpdateRole")):
        after = frozenset(record.response.included_permissions)
        before = frozenset(record.before.permissions)
        changes = {"addedPermissions": after - before, "removedPermissions": before - after}
        return {
            "@type": "type.googleapis.com/google.iam.admin.v1.AuditData",
            "permissionDelta": {name: sorted(changed) for name, changed in changes.items() if changed},
        }
    return {}


def _deltas(write: PolicyWrite, shown: Callable[[Member], str]) -> Iterator[Json]:
    """Yield the changed grants, as `google.iam.v1.BindingDelta`."""
    before, after = _grants(write.before), _grants(write.after)
    for action, bindings, others in (("REMOVE", write.before, after), ("ADD", write.after, before)):
        for binding in bindings:
            for member in binding.members:
                if (*binding.key, member) not in others:
                    delta = {"action": action, "role": binding.role, "member": shown(member)}
                    yield {**delta, **_condition(binding)}


def _grants(bindings: Any) -> set[tuple[str, bytes, Member]]:
    return {(*binding.key, member) for binding in bindings for member in binding.members}


def _condition(binding: Binding) -> Json:
    condition = binding.condition
    return {"condition": json_format.MessageToDict(condition)} if condition is not None else {}
