"""Fields of temporary grants: when a grant ends, and who enforces that."""

from enum import StrEnum
from typing import Annotated, Final

from .duration import Duration, at_least
from .schema import ApiModel, Deadline, Rule


class ExpiryEnforcement(StrEnum):
    """Parties that end a temporary grant."""

    OPERATOR = "Operator"
    OPERATOR_AND_GOOGLE = "OperatorAndGoogle"


TEMPORARY_GRANT_RULES: Final = (
    Rule(
        "!has(self.duration) || !has(self.expiresAt)",
        "must be unset where expiresAt is set: a grant has one end",
        field_path=".duration",
        reason="FieldValueForbidden",
    ),
    Rule(
        "!has(self.expiryEnforcedBy) || has(self.expiresAt) || has(self.duration)",
        "must be unset unless expiresAt or duration is set",
        field_path=".expiryEnforcedBy",
        reason="FieldValueForbidden",
    ),
)
"""Rules on an object with the fields of a temporary grant."""


class TemporaryGrantFields(ApiModel):
    """Base of the entries that declare a grant which may be temporary."""

    expires_at: Deadline | None = None
    """Time at which the operator removes the grant, in RFC 3339, such as `2030-01-31T18:00:00Z`. If unset,
    and duration is unset, the grant is permanent."""
    duration: Annotated[Duration, at_least("1s")] | None = None
    """Time for which the grant lasts from when the operator first made it. An edit of the duration keeps the
    start."""
    expiry_enforced_by: ExpiryEnforcement | None = None
    """Parties that end the grant. Operator removes it. OperatorAndGoogle also adds the IAM condition
    `request.time < timestamp("…")`, so that it ends even while the operator is down; the target must accept
    conditions. If unset, Operator."""

    @property
    def is_temporary(self) -> bool:
        """True if the grant ends at a time."""
        return self.expires_at is not None or self.duration is not None

    @property
    def is_enforced_by_google(self) -> bool:
        """True if an IAM condition ends the grant, too."""
        return self.expiry_enforced_by is ExpiryEnforcement.OPERATOR_AND_GOOGLE


def enforced_by_google(entry: str) -> str:
    """Return the CEL expression for an entry that needs an IAM condition."""
    return f"has({entry}.expiryEnforcedBy) && {entry}.expiryEnforcedBy == 'OperatorAndGoogle'"


ENFORCED_BY_GOOGLE: Final = enforced_by_google("self")
