"""Conditions as the page shows them (`Check`)."""

from dataclasses import dataclass

from cloudrun_identity.api import ConditionStatus
from cloudrun_identity.api.status import Condition
from cloudrun_identity.overview.history import NEGATIVE


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of an object."""

    type: str
    """Type."""
    status: str
    """True, False or Unknown."""
    reason: str
    """Reason."""
    message: str
    """Message."""
    good: bool
    """True if the status is the wanted one."""


def check_of(condition: Condition) -> Check:
    """Return a condition with whether its status is the wanted one."""
    wanted = ConditionStatus.FALSE if condition.type in NEGATIVE else ConditionStatus.TRUE
    return Check(
        condition.type,
        condition.status,
        condition.reason,
        condition.message,
        good=condition.status == wanted,
    )
