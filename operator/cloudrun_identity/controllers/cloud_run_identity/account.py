"""A service account as declared and as seen."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from cloudrun_identity.api import (
    AccountText,
    CloudRunIdentity,
    LedgerAccount,
)
from cloudrun_identity.controllers.new_accounts import is_fresh
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.iam.admission import Admitted, Decision
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.shares import Budget
from cloudrun_identity.reconcile.outcomes import Refused

_ADMITTED = Admitted()


@dataclass(frozen=True, slots=True)
class AccountDeletion:
    """The deletion of the object that declares the account."""

    abandon: bool = False
    """True to leave the account and its grants as they are."""
    forced: bool = False
    """True to leave an account in use behind, instead of waiting until it is not used any more."""
    restoring: tuple[str, ...] = ()
    """Attachments that are being deleted and restore the former accounts of their workloads."""


@dataclass(frozen=True, slots=True)
class AccountWant:
    """The account as declared, or its deletion."""

    obj: CloudRunIdentity
    project_id: str
    """Id of the Google Cloud project that has the account."""
    email: str
    """E-mail of the account: as recorded, otherwise as expected."""
    adoption: Decision = _ADMITTED
    """Decision of the project's guardrails on the adoption of an account with this e-mail."""
    denial: Refused | None = None
    """Refusal by the guardrails, whatever Google Cloud shows: nothing is read for the account then."""
    places: Callable[[], frozenset[str]] = frozenset
    """Returns the places, as `PROJECT/LOCATION`, in which objects declare now that workloads may use it."""
    deletion: AccountDeletion | None = None
    """Set if the object is being deleted."""

    @property
    def owner(self) -> str:
        """The object as records name it: `namespace/name`."""
        return f"{self.obj.metadata.namespace}/{self.obj.metadata.name}"

    @property
    def target(self) -> Target:
        """The account as the resource of an IAM policy."""
        return Target.service_account(self.project_id, self.email)

    @property
    def text(self) -> AccountText:
        """Display name and description to create the account with.

        A description that the spec leaves open names the object's UID. A create has no key by which a lost
        reply could be asked for, so this text identifies an account that the operator created.
        """
        spec = self.obj.spec
        # Google accepts 256 bytes; the longest name of an object has 253.
        named = f"CloudRunIdentity {self.owner}"[:200]
        return AccountText(
            display_name=spec.display_name or "",
            description=spec.description
            if spec.description is not None
            else f"{named}, {self.obj.metadata.uid}",
        )


@dataclass(frozen=True, slots=True)
class AccountSeen:
    """The account as read, its record in the ledger, and the facts that only this process knows."""

    account: ServiceAccount | None
    """The account; None if Google does not show it."""
    record: LedgerAccount | None = None
    """Record of the object's account in the ledger of the account's policy."""
    left: LedgerAccount | None = None
    """Record of an account of the e-mail that an object left; None if there is none."""
    owned_by: str = ""
    """Another object that the ledger records as the owner of the e-mail, with a remedy; empty if none."""
    good_reads: int = 0
    """Reads in a row that showed the account with its unique id."""
    followed: bool = False
    """True if this process knows that the recorded create took effect."""
    made: str = ""
    """Unique id in the reply to a create or undelete of this process; empty if there was none."""
    taken: bool = False
    """True if a create of this reconcile was refused because the e-mail exists."""
    undelete_refusal: str = ""
    """Message of Google that refused an undelete of this reconcile; empty if none did."""
    users: tuple[str, ...] = ()
    """Workloads that run as the account, and places that cannot be read, for a deletion."""
    unused: frozenset[str] = frozenset()
    """Recorded places that no object declares and in which nothing runs as the account."""
    deleted: bool = False
    """True if this reconcile deleted the account by its unique id."""
    not_found: bool = False
    """True if Google did not find the account when this reconcile deleted it."""
    misses: int = 0
    """Deletes in a row that did not find the account, without a read that showed it in between."""
    budget: Callable[[], Budget] | None = None
    """Returns the current number of accounts per namespace, for an account that may be created."""

    @property
    def known_account(self) -> ServiceAccount:
        """The account, for an action that needs one; raises ValueError if there is none."""
        if self.account is None:
            raise ValueError("the action needs an account")
        return self.account

    @property
    def known_left(self) -> LedgerAccount:
        """The record of the left account, for an action on it; raises ValueError if there is none."""
        if self.left is None:
            raise ValueError("the action needs the record of a left account")
        return self.left

    @property
    def known_record(self) -> LedgerAccount:
        """The record, for an action that needs one; raises ValueError if there is none."""
        if self.record is None:
            raise ValueError("the action needs a record")
        return self.record

    def is_lagging(self, now: datetime) -> bool:
        """Return whether the account is so young that a read which does not show it proves nothing."""
        return self.account is None and is_fresh(self.record, now)

    def is_created(self, record: LedgerAccount, account: ServiceAccount) -> bool:
        """Return whether the account is the one that the recorded create made."""
        if self.made:
            return account.unique_id == self.made
        return record.sent == AccountText(display_name=account.display_name, description=account.description)


def created_account(want: AccountWant, unique_id: str, *, disabled: bool) -> ServiceAccount:
    """Return an account with the text that the object creates it with."""
    text = want.text
    return ServiceAccount(
        want.project_id, want.email, unique_id, text.display_name, text.description, disabled
    )


def updated_account(want: AccountWant, account: ServiceAccount) -> ServiceAccount:
    """Return the account with the declared text. A field that the spec leaves unset stays as it is."""
    spec = want.obj.spec
    return replace(
        account,
        display_name=account.display_name if spec.display_name is None else spec.display_name,
        description=account.description if spec.description is None else spec.description,
    )
