"""Recognizes what is in sync: the grants of an object that need no sync, and policies that need no plan.

At rest, the cost of a resync is then the read of each policy, and no code runs per grant.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import is_

from google.iam.v1.policy_pb2 import Policy

from cloudrun_identity.api import GrantState
from cloudrun_identity.ledger.model import Ledger

from .desired_grants import DesiredGrants
from .planning import PolicyPlan
from .results import SyncResult


def are_grants_in_sync(desired: DesiredGrants, ledger: Ledger, result: SyncResult) -> bool:
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


@dataclass(frozen=True, slots=True)
class InSyncPolicy:
    """A sync that had nothing to do, with all that its plan depended on."""

    policy: Policy
    """The policy that it read."""
    ledger: Ledger
    """The ledger, which it did not change."""
    declared: Sequence[DesiredGrants]
    """The desired grants of every object that the policy concerns."""
    result: SyncResult
    """Its result."""

    def matches(self, policy: Policy, ledger: Ledger, declared: Sequence[DesiredGrants]) -> bool:
        """Return whether a sync with this input would have the same result.

        The etag distinguishes a policy from that of a recreated resource only if the policy has bindings.
        """
        return (
            ledger is self.ledger
            and bool(policy.bindings)
            and policy == self.policy
            and len(declared) == len(self.declared)
            and all(map(is_, declared, self.declared))
        )


def in_sync_policy(
    policy: Policy,
    before: Ledger,
    after: Ledger,
    declared: Sequence[DesiredGrants],
    plan: PolicyPlan,
    result: SyncResult,
) -> InSyncPolicy | None:
    """Return the sync if it had nothing to do, and time alone will not change that; None otherwise.

    `before` and `after` are the ledgers before and after it, and `declared` are the desired grants.
    """
    ledger = after
    depends_on_time = ledger.temporary_grants or ledger.pending_write or ledger.restored or result.backoffs
    if before is not after or depends_on_time or plan.steps or plan.unmanaged or plan.unrecorded:
        return None
    if not all(each.grant in result.present for one in declared for each in one.on(ledger.target)):
        return None
    return InSyncPolicy(policy, ledger, declared, result)
