"""Accounts that the operator has just created or undeleted, which kinds share.

Google Cloud does not know a new account everywhere at once, and a new grant is not in effect at once. Within
the grace period, a refusal because of either is no reason to report an error.
"""

from datetime import datetime

from cloudrun_identity.api import LedgerAccount
from cloudrun_identity.ledger.model import Ledger

GRACE = 120.0
"""Seconds after a create or an undelete in which a missing account means propagation, not loss.

Google documents 60 seconds and more for a new account
(https://cloud.google.com/iam/docs/service-accounts-create), and two minutes for most new grants
(https://cloud.google.com/iam/docs/access-change-propagation).
"""


def is_fresh(record: LedgerAccount | None, now: datetime) -> bool:
    """Return whether the account is so young that a missing read or a refusal may be propagation.

    The record holds when it appeared, so that a restart does not treat a fresh account as lost.
    """
    return record is not None and _is_recent(record.appeared_time, now)


def is_access_fresh(ledger: Ledger, now: datetime) -> bool:
    """Return whether access to the account of the ledger may not be in effect yet.

    Either the account is fresh, or the operator has just written its policy.
    """
    return is_fresh(ledger.account, now) or _is_recent(ledger.last_write_time, now)


def _is_recent(time: datetime | None, now: datetime) -> bool:
    return time is not None and abs((now - time).total_seconds()) <= GRACE
