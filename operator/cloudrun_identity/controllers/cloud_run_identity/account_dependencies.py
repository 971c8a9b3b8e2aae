"""What an account is worked on with, and the words that its whole life has in common."""

from collections.abc import Callable
from dataclasses import dataclass

from cloudrun_identity.api import Reason
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.service_accounts import ServiceAccount, ServiceAccounts
from cloudrun_identity.reconcile.interfaces import Applied
from cloudrun_identity.reconcile.outcomes import Waiting

from .account_records import AccountRecords
from .propagation import BETWEEN_READS, PropagationTracker
from .recent_writes import RecentWrites


@dataclass(frozen=True, slots=True)
class AccountDependencies:
    """What an account is worked on with. `checkpoint(step)` is told of steps that a crash could follow."""

    service_accounts: ServiceAccounts
    inventory: Inventory
    records: AccountRecords
    propagation: PropagationTracker
    recent: RecentWrites
    checkpoint: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class AccountSeen:
    """One look at an account, None if it was not there; `lagging` if that may be lag, since it is fresh."""

    account: ServiceAccount | None
    lagging: bool = False


def propagating(email: str, account: ServiceAccount | None) -> Applied[AccountSeen]:
    """Wait until Google shows the account steadily."""
    return Applied(
        Waiting(
            Reason.PROPAGATION_PENDING,
            f"account {email} is there; waiting until Google shows it steadily",
            after=BETWEEN_READS,
        ),
        AccountSeen(account, lagging=account is None),
    )
