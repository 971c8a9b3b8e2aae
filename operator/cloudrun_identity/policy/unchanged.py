"""Recognizes a policy that needs no plan: nothing has changed since a sync that had nothing to do.

At rest, the cost of a resync is then the read of each policy, and no code runs per grant.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import is_

from google.iam.v1.policy_pb2 import Policy

from cloudrun_identity.ledger.model import Ledger

from .desired_grants import DesiredGrants
from .planning import PolicyPlan
from .results import SyncResult


@dataclass(frozen=True, slots=True)
class QuietSync:
    """A sync that had nothing to do, with all that its plan depended on."""

    policy: Policy
    """The policy that it read."""
    ledger: Ledger
    """The ledger, which it did not change."""
    declared: Sequence[DesiredGrants]
    """The desired grants of every object that the policy concerns."""
    result: SyncResult
    """Its result."""

    def covers(self, policy: Policy, ledger: Ledger, declared: Sequence[DesiredGrants]) -> bool:
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


def quiet_sync(
    policy: Policy,
    before: Ledger,
    after: Ledger,
    declared: Sequence[DesiredGrants],
    plan: PolicyPlan,
    result: SyncResult,
) -> QuietSync | None:
    """Return the sync if it had nothing to do, and time alone will not change that; None otherwise.

    `before` and `after` are the ledgers before and after it, and `declared` are the desired grants.
    """
    ledger = after
    depends_on_time = ledger.temporary_grants or ledger.pending_write or ledger.restored or result.backoffs
    if before is not after or depends_on_time or plan.steps or plan.unmanaged or plan.unrecorded:
        return None
    if not all(each.grant in result.present for one in declared for each in one.on(ledger.target)):
        return None
    return QuietSync(policy, ledger, declared, result)
