"""The results of syncs: of one desired grant, of one policy, and of all grants of one object."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from cloudrun_identity.api import GrantState
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.owners import Owner

from .backoff import GrantBackoff


@dataclass(frozen=True, slots=True)
class GrantResult:
    """The result of one desired grant."""

    grant: Grant
    """The grant as it was declared."""
    state: GrantState
    """Its state."""
    backoff: GrantBackoff | None = None
    """The delay of the grant; None if it is present, or was not tried yet."""
    registered_member: str | None = None
    """The member as which Google Cloud registered it; None if the policy shows it as declared."""
    expires_at: datetime | None = None
    """The recorded end of a temporary grant; None for a permanent one."""


@dataclass(frozen=True, slots=True)
class SyncResult:
    """The result of one sync, or of the failed attempt at one."""

    began: float
    """The event loop time at which the sync began."""
    present: frozenset[Grant] = frozenset()
    """The grants in the policy after the sync."""
    backoffs: Mapping[Grant, GrantBackoff] = field(default_factory=dict)
    """The delayed grants."""
    unmanaged: tuple[Grant, ...] = ()
    """The unmanaged grants that remain in exclusive bindings."""
    conflicting: Mapping[str, Grant] = field(default_factory=dict)
    """By owner key, a grant of another object in an exclusive binding of the owner."""
    missing: bool = False
    """True if the target does not exist."""
    replaced: bool = False
    """True if the target is an account that another client created in the place of an identity's."""
    fault: GoogleError | None = None
    """The error that ended the sync."""
    all_in_sync: bool = False
    """True if it is known that every object has the grants that it desires, and no unmanaged one remains."""

    def grant_result(self, grant: Grant) -> GrantResult:
        """Return the result of a desired grant."""
        if grant in self.present:
            return GrantResult(grant, GrantState.GRANTED)
        backoff = self.backoffs.get(grant)
        refused = backoff is not None and backoff.error is not None and not backoff.propagating
        return GrantResult(grant, GrantState.REJECTED if refused else GrantState.PENDING, backoff)


@dataclass(frozen=True, slots=True)
class ResyncResult:
    """The result of syncing all policies of a project."""

    drifted: frozenset[Owner] = frozenset()
    """The objects with drift or with desired grants that are not present."""
    has_failed: bool = False
    """True if a sync failed for another reason than that its target does not exist."""


@dataclass(frozen=True, slots=True)
class GrantSyncResult:
    """The result of syncing the grants of one object."""

    grant_results: tuple[GrantResult, ...] = ()
    """The result of each desired grant."""
    drifted: tuple[Grant, ...] = ()
    """Desired grants that another writer removed since the last report."""
    removed_unmanaged: tuple[Grant, ...] = ()
    """Unmanaged grants that were removed from exclusive bindings since the last report."""
    made_by_others: tuple[Grant, ...] = ()
    """Desired grants that another writer made while the operator was about to, since the last report."""
    releasing: tuple[Grant, ...] = ()
    """Released grants that are still present."""
    halted: tuple[Grant, ...] = ()
    """Released grants in suspended projects, whose policies are not read."""
    unmanaged: tuple[Grant, ...] = ()
    """Unmanaged grants that remain in exclusive bindings."""
    conflicting: tuple[Grant, ...] = ()
    """A grant of another object in an exclusive binding, for each policy with one."""
    missing: tuple[Target, ...] = ()
    """Targets that do not exist."""
    replaced: tuple[Target, ...] = ()
    """Accounts that another client created in the place of an identity's."""
    faults: Mapping[Target, GoogleError] = field(default_factory=dict)
    """Errors that ended the sync of a policy. The grants on it have their last known state."""
