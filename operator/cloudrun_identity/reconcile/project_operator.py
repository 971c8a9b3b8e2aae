"""The operator of a project: one of several operators on a cluster acts on a ManagedProject and its objects.

`status.operator` of the ManagedProject names it. Two operators on one project would undo each other's work,
because each of them treats the grants and accounts in the other one's ledgers as unmanaged.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeAlias

from cloudrun_identity.api import ProjectOperator
from cloudrun_identity.iam.wording import some
from cloudrun_identity.kube.lease_observer import LeaseState, ObservedLease
from cloudrun_identity.kube.resources import Object
from cloudrun_identity.ledger.elsewhere import LedgersOfProject

from .cluster_state import ObjectKey
from .requeue import Requeue


@dataclass(frozen=True, slots=True)
class Operates:
    """Decision to act on the project: its status names this operator."""


@dataclass(frozen=True, slots=True)
class Claims:
    """Decision to write this operator into the status of the project, and to act on it after that."""

    predecessor: ProjectOperator | None = None
    """Operator that the status or the ledgers name, which no longer works; None if there is none."""


@dataclass(frozen=True, slots=True)
class OperatedElsewhere:
    """Decision to act on no object of the project."""

    by: ProjectOperator
    """The other operator."""
    message: str
    """Reason, and the remedy."""
    at_work: bool
    """True if the other operator may be at work; false if it ended without a takeover."""


Decision: TypeAlias = Operates | Claims | OperatedElsewhere


def operator_of(
    own: ProjectOperator, recorded: ProjectOperator | None, ledgers: LedgersOfProject
) -> ProjectOperator:
    """Return the operator that a project belongs to.

    A status without an operator was never claimed, or was lost. The ledgers then show the operator.
    """
    if recorded is not None:
        return recorded
    if ledgers.own or not ledgers.elsewhere:
        return own
    return ProjectOperator(namespace=min(ledgers.elsewhere), lease=own.lease)


def decide(
    own: ProjectOperator,
    recorded: ProjectOperator | None,
    ledgers: LedgersOfProject,
    lease: ObservedLease | None,
) -> Decision:
    """Return whether this operator may act on a project.

    `recorded` is the operator in the status of the project. `lease` is the Lease of `operator_of(…)`, or None
    if this is the operator itself.

    An operator whose Lease ended is replaced only if this operator has all of its ledgers. Otherwise it would
    treat the accounts and grants of the project as unmanaged.
    """
    if recorded == own:
        return Operates()
    other = operator_of(own, recorded, ledgers)
    if other == own or lease is None:
        return Claims()
    if lease.state is not LeaseState.ENDED:
        return OperatedElsewhere(other, _at_work(own, other, lease), at_work=True)
    if missing := ledgers.not_imported(other.namespace):
        return OperatedElsewhere(other, _not_imported(own, other, missing), at_work=False)
    return Claims(other)


class OperatorGate(Protocol):
    """Access to projects: `manager.project_operators.ProjectOperators`."""

    async def admit(self, key: ObjectKey, raw: Object) -> Requeue | None:
        """Claim the project of an object if that is necessary and possible.

        Return None if this operator acts on the object, otherwise when to ask again.
        """
        ...

    def operates(self, key: ObjectKey, raw: Object) -> bool:
        """Return whether this operator acts on the object, as far as the cache shows."""
        ...

    def forget(self, key: ObjectKey) -> None:
        """Drop what is remembered of a deleted object."""
        ...


def recorded_operator(raw_project: Object) -> ProjectOperator | None:
    """Return the operator in the status of a ManagedProject, which may not fit its kind."""
    status = raw_project.get("status")
    match status.get("operator") if isinstance(status, dict) else None:
        case {"namespace": str(namespace), "lease": str(lease)}:
            return _operator(namespace, lease)
        case _:
            return None


@lru_cache(maxsize=64)
def _operator(namespace: str, lease: str) -> ProjectOperator:
    """Return an operator, validated once: each reconcile asks several times for that of its project."""
    return ProjectOperator(namespace=namespace, lease=lease)


def _at_work(own: ProjectOperator, other: ProjectOperator, lease: ObservedLease) -> str:
    use = f"{lease.holder} renews" if lease.holder else "it renews"
    if lease.state is LeaseState.UNKNOWN:
        use = f"this operator cannot read ({lease.problem})"
    return (
        f"the operator in namespace {other.namespace} acts on it, and {use} Lease "
        f"{other.namespace}/{other.lease}; uninstall one of the two operators. To move the project to "
        f"namespace {own.namespace}, stop the other operator and run `{import_command(own, other)}`"
    )


def _not_imported(own: ProjectOperator, other: ProjectOperator, missing: tuple[str, ...]) -> str:
    return (
        f"the operator in namespace {other.namespace} no longer renews its Lease, but only its ledgers "
        f"({some(missing)}) record what it manages there; start it again, or move the ledgers with "
        f"`{import_command(own, other)}`"
    )


def import_command(own: ProjectOperator, other: ProjectOperator) -> str:
    """Return the command that copies the ledgers of another operator to this one."""
    return (
        f"cloudrun-identity ledgers export --operator-namespace {other.namespace} | "
        f"cloudrun-identity ledgers import --operator-namespace {own.namespace} -f -"
    )
