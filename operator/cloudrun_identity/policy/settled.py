"""Grants that need no sync: the ledger records them, and the policy showed them at the last sync."""

from cloudrun_identity.api import GrantState
from cloudrun_identity.ledger.model import Ledger

from .desired_grants import DesiredGrants
from .results import SyncResult


def is_settled(desired: DesiredGrants, ledger: Ledger, result: SyncResult) -> bool:
    """Return whether a sync of the ledger's policy would change nothing for the grants of one object.

    `result` is that of the last sync, which may have begun before the object declared its grants. Temporary
    grants and exclusive bindings depend on more than the ledger and the result show.
    """
    if desired.ending or desired.ended or desired.abandon or desired.exclusive or not desired.writable:
        return False
    if ledger.temporary_grants or ledger.pending_write or ledger.restored or ledger.target_absent:
        return False
    on_target = list(desired.on(ledger.target))
    if any(each.temporary for each in on_target) or needs_write(desired, ledger):
        return False
    return all(each.grant in result.present for each in on_target)


def needs_write(desired: DesiredGrants, ledger: Ledger) -> bool:
    """Return whether a grant of the object is not recorded as made, or must be released.

    The policy itself may need no write, or another one. That shows only when it is read.
    """
    if not desired.writable:
        return False
    owner = str(desired.owner)
    for each in desired.on(ledger.target):
        entry = ledger.entries.get(each.grant)
        if entry is None or owner not in entry.owners or entry.state is not GrantState.GRANTED:
            return True
        if (entry.unique_id or "") != each.unique_id:
            return True
    declared = {each.grant for each in desired.desired_grants}
    others = ledger.held_by(desired.owner.owner_key) - declared
    return not all(any(retain.covers(grant) for retain in desired.retains) for grant in others)
