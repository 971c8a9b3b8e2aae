"""A sync of one policy as a pure function, from planning to settlement."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from google.iam.v1.policy_pb2 import Policy

from cloudrun_identity.api import GrantState, LedgerEntry
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.ledger.model import Ledger, entry_of
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import DesiredGrant, DesiredGrants
from cloudrun_identity.policy.merge import grants_in, merge
from cloudrun_identity.policy.pending_write import is_alone, write_of
from cloudrun_identity.policy.planning import plan_policy
from cloudrun_identity.policy.review import BEGINNING, SyncFacts
from cloudrun_identity.policy.settlement import settle
from tests.unit.policy.strategies import ACCOUNT, ROLES, TARGET

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ONE, TWO = (Owner("IAMBinding", "payments", name, "uid-1") for name in ("one", "two"))
GRANT = Grant(TARGET, ROLES[0], ACCOUNT)


@dataclass(frozen=True)
class State:
    """The state that survives a process: the policy and the ledger."""

    policy: Policy
    ledger: Ledger

    @property
    def present(self) -> frozenset[Grant]:
        return grants_in(self.policy, TARGET)

    @property
    def shows_recorded_write(self) -> bool:
        record = self.ledger.pending_write
        return record is not None and is_alone(record, self.policy.etag, self.present)


def with_new_etag(policy: Policy, before: Policy) -> Policy:
    """Return the policy as Google Cloud stores it: a write changes the etag."""
    if policy is before:
        return policy
    written = Policy()
    written.CopyFrom(policy)
    written.etag = before.etag + b"+"
    return written


def run_sync(
    state: State,
    declared: Sequence[DesiredGrants],
    *,
    may_release: bool = True,
    may_return: bool = True,
    steps: int = 3,
    now: datetime = BEGINNING,
    refused: Collection[Grant] = (),
) -> State:
    """Run a sync that ends after some steps: write ahead, write the policy, settle.

    Google Cloud refuses the `refused` grants.
    """
    planned = plan_policy(
        state.ledger,
        declared,
        state.present,
        SyncFacts(
            may_release=may_release,
            may_return=lambda *_: may_return,
            write_found=state.shows_recorded_write,
            now=now,
        ),
    )
    freed = merge(state.policy, (), planned.replaced)
    accepted = [desired for desired in planned.desired_grants if desired.grant not in refused]
    written = merge(freed.policy, accepted, planned.released)
    record = write_of(state.policy.etag, grants_in(written.policy, TARGET)) if written.added else None
    ahead = planned.ledger.replace(pending_write=record or planned.ledger.pending_write)
    match steps:
        case 0:
            return state
        case 1:
            return State(state.policy, ahead)
        case 2:
            return State(with_new_etag(written.policy, state.policy), ahead)
        case _:
            settled = settle(
                planned,
                grants_in(written.policy, TARGET),
                added=written.added,
                refused=refused,
                written_at=NOON if written.policy is not state.policy else None,
            )
            return State(with_new_etag(written.policy, state.policy), settled)


def entry(grant: Grant, *owners: Owner, **fields: Any) -> LedgerEntry:
    return entry_of(grant, [*map(str, owners)], **{"state": GrantState.GRANTED, **fields})


def policy_with(*grants: Grant) -> Policy:
    return merge(Policy(etag=b"e"), [DesiredGrant(grant) for grant in grants]).policy
