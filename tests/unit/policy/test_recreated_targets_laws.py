"""Histories of a target that other clients delete and create again, also during a sync.

No grant that another client made on the current target is removed, and every declared grant is made on it.
"""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field

import looptime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.api import TargetKind
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.syncers import PolicySyncers
from tests.unit.policy.fakes import SyncerEnvironment

from .one_policy import desiring, synced

pytestmark = pytest.mark.hypothesis

SERVICE = Target(TargetKind.SERVICE, "acme", "europe-west1", "web")
OWNERS = tuple(Owner("IAMBinding", "payments", name, f"uid-{name}") for name in ("web", "ops"))
GRANTS = tuple(Grant(SERVICE, "roles/run.invoker", f"user:{name}@example.com") for name in ("a", "b", "c"))

some_grants = st.frozensets(st.sampled_from(GRANTS))
edits = st.one_of(
    st.tuples(st.just("recreate"), some_grants),
    st.tuples(st.just("grant"), some_grants),
    st.tuples(st.just("revoke"), some_grants),
)
steps = st.tuples(
    st.lists(edits, max_size=2),  # before the sync
    st.lists(edits, max_size=2),  # right before the writes of the sync
    st.tuples(some_grants, some_grants),  # the declarations of the owners
    st.booleans(),  # restart the operator
)


@dataclass
class History:
    """The target with the grants that other clients made on it."""

    env: SyncerEnvironment = field(default_factory=SyncerEnvironment)
    theirs: set[Grant] = field(default_factory=set)
    generation: int = 0

    def edit(self, verb: str, grants: Iterable[Grant]) -> None:
        """Change the target as another client."""
        policies = self.env.policies
        if verb == "recreate":
            self.generation += 1
            self.theirs = set(grants)
            self.env.recreate(SERVICE, f"uid-{self.generation}", *sorted(grants, key=str))
            return
        for grant in grants:
            if verb == "revoke" and grant in policies.present(SERVICE):
                policies.revoke(grant)
                self.theirs.discard(grant)
            elif verb == "grant" and grant not in policies.present(SERVICE):
                policies.grant(grant)
                if not self._is_recorded_as_own(grant):
                    self.theirs.add(grant)

    def _is_recorded_as_own(self, grant: Grant) -> bool:
        """Return whether the operator has recorded that it made the grant on the current target.

        It may not notice then that another client removed the grant and made it again. A grant that the
        operator is about to make is recorded as absent, and belongs to the client that makes it first. One
        that was present before its objects stays with the other clients.
        """
        ledger = self.env.ledgers.ledger(SERVICE)
        entry = ledger.entries.get(grant)
        if ledger.target_uid != f"uid-{self.generation}" or entry is None:
            return False
        return entry.is_made and not entry.present_before


@given(st.lists(steps, min_size=1, max_size=8))
def test_only_the_grants_of_the_operator_are_removed(history: list[tuple]) -> None:
    async def run() -> None:
        world = History(SyncerEnvironment())
        world.env.policies.create(SERVICE)
        world.env.target_ids[SERVICE] = "uid-0"
        syncers = PolicySyncers(world.env.ports)
        for before, during, declared, restarts in history:
            if restarts:
                await syncers.close()
                syncers = PolicySyncers(world.env.ports)
            for verb, grants in before:
                world.edit(verb, grants)
            world.env.policies.before_set = [lambda edit=edit: world.edit(*edit) for edit in during]
            desired = [desiring(owner, *grants) for owner, grants in zip(OWNERS, declared, strict=True)]
            await synced(syncers, *desired)
            assert world.theirs <= world.env.policies.present(SERVICE)
            world.env.policies.before_set = []
            await synced(syncers, *desired)
            assert world.env.policies.present(SERVICE) == world.theirs.union(*declared)
        await synced(syncers, *(desiring(owner) for owner in OWNERS))
        await syncers.close()
        assert world.env.policies.present(SERVICE) == world.theirs

    with closing(looptime.new_event_loop(start=1000)) as loop:
        loop.run_until_complete(run())
