"""Declarations of another tool, in the operator's terms (`Declarations`)."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from google.cloud.run_v2 import types

from cloudrun_identity.api import WorkloadKind
from cloudrun_identity.exporting.selection import LeftOut
from cloudrun_identity.exporting.survey import DeclaredKey
from cloudrun_identity.gcp.custom_roles import CustomRoleState
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.gcp.workloads import Workload, WorkloadState, state_of, workload_template
from cloudrun_identity.iam.grants import Grant, IAMCondition, Target


class Tool(Enum):
    """Tools that the operator takes over from."""

    CONFIG_CONNECTOR = auto()
    TERRAFORM = auto()


class Conversion(Enum):
    """Ways in which the other tool gives up what the operator now manages."""

    HANDED_OVER = auto()
    """The other tool forgets it, without deleting anything in Google Cloud."""
    SHARED = auto()
    """The other tool keeps it: it deploys the workload, and the operator manages one field of it."""
    REPLACED = auto()
    """The other tool deletes it after its clients use the replacement. A key cannot be handed over."""


@dataclass(frozen=True, slots=True)
class Source:
    """A resource of the other tool."""

    tool: Tool
    """Tool that manages it."""
    address: str
    """Address in Terraform's state, or `KIND.GROUP/NAME` as kubectl takes it."""
    namespace: str = ""
    """Namespace of a manifest; empty for Terraform."""
    conversion: Conversion = Conversion.HANDED_OVER
    """Way in which its tool gives it up."""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.address}" if self.namespace else self.address


Declared = ServiceAccount | CustomRoleState | WorkloadState | Grant | DeclaredKey
"""One thing that a resource declares."""


@dataclass(slots=True)
class Declarations:
    """Accounts, roles, workloads, grants and keys in files, with the resources that declare them."""

    found: dict[Declared, list[Source]] = field(default_factory=dict)
    """Resources by what they declare, in the order of the files."""
    left_out: list[LeftOut] = field(default_factory=list)
    """Resources, or parts of them, that are not converted."""
    notes: list[LeftOut] = field(default_factory=list)
    """Differences between a resource and the objects that replace it."""
    incomplete: set[Source] = field(default_factory=set)
    """Resources of which a part is not converted. The other tool must keep them."""

    def add(self, source: Source, *declared: Declared) -> None:
        """Add what a resource declares."""
        for each in declared:
            self.found.setdefault(each, []).append(source)

    def leave_out(self, source: Source, why: str) -> None:
        """Leave out a resource, or a part of it."""
        self.left_out.append(LeftOut(str(source), why))
        self.incomplete.add(source)

    def of(self, kind: type[Declared]) -> Iterator[Declared]:
        """Yield everything of one type."""
        return (each for each in self.found if isinstance(each, kind))


@dataclass(frozen=True, slots=True)
class Binding:
    """One binding, as both tools declare it: a role on a target, with members and a condition."""

    target: Target
    role: str
    members: tuple[str, ...]
    condition: IAMCondition | None = None

    def grants(self) -> Iterator[Grant]:
        """Yield the grants of the binding."""
        return (Grant(self.target, self.role, member, self.condition) for member in self.members)


def condition_in(declared: Mapping[str, object] | None) -> IAMCondition | None:
    """Return the condition in a resource; None without one."""
    if not declared or not declared.get("expression"):
        return None
    return IAMCondition(*(str(declared.get(each) or "") for each in ("title", "description", "expression")))


def running_as(workload: Workload, account: str) -> WorkloadState:
    """Return the state of a workload of which only the account is known."""
    message = _NEW_MESSAGE[workload.kind]()
    workload_template(workload.kind, message).service_account = account
    return state_of(workload, message)


AUTHORITATIVE_BINDING = (
    "removes members that it does not list, and the IAMBinding does not; `authority: Exclusive` does"
)
"""Note on a resource that manages all members of a role."""

AUTHORITATIVE_POLICY = (
    "replaces the whole policy; the objects manage their own grants only, so later grants of others stay"
)
"""Note on a resource that manages all grants on a target."""

_NEW_MESSAGE: Mapping[WorkloadKind, Callable[[], Any]] = {
    WorkloadKind.SERVICE: types.Service,
    WorkloadKind.JOB: types.Job,
    WorkloadKind.WORKER_POOL: types.WorkerPool,
}
