"""The steps of a policy plan: one value for each grant that a sync adds, releases, removes or retains.

A sync executes the steps, and a dry run prints them. Each step has the grant and the owner key of the object
on behalf of which the step is planned; the owner key is empty if the ledger names no owner.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from cloudrun_identity.iam.grants import Grant


class RetainReason(StrEnum):
    """The reason why a grant that no object desires stays in the policy."""

    OWNERS_PENDING = "some objects have not declared their grants since the operator started"
    OWNER_UNKNOWN = "an owner of the grant has not declared its grants"
    OWNER_NOT_WRITABLE = "an owner of the grant is suspended or only observed"
    OWNER_RETAINS = "an owner of the grant has an unresolved reference, or a guardrail refuses the grant"
    PROJECT_OBSERVED = "the project is only observed"
    OPERATOR = "the operator acts as the member"
    ABANDONED = "the deletionPolicy of an owner is Abandon"
    RESTORED = "the ledger was restored, and another user may have made the grant since it was backed up"
    PRESENT_BEFORE = "the grant was present before the operator managed it"


@dataclass(frozen=True, slots=True)
class AddGrant:
    """Add a desired grant to the policy."""

    grant: Grant
    owner_key: str


@dataclass(frozen=True, slots=True)
class ReleaseGrant:
    """Remove a managed grant from the policy, in every form that it is present in."""

    grant: Grant
    owner_key: str


@dataclass(frozen=True, slots=True)
class RemoveUnmanaged:
    """Remove an unmanaged member from an exclusive binding, within the hourly limit."""

    grant: Grant
    owner_key: str

    @property
    def namespace(self) -> str:
        """Namespace of the object that declares the binding. The removal counts against its share."""
        return self.owner_key.split("/")[1]


@dataclass(frozen=True, slots=True)
class RetainGrant:
    """Leave a grant in the policy that the ledger records and no object desires."""

    grant: Grant
    owner_key: str
    reason: RetainReason


GrantStep: TypeAlias = AddGrant | ReleaseGrant | RemoveUnmanaged | RetainGrant
