"""A kind without Google Cloud: a test sets what it observes, plans and requests."""

import asyncio
from dataclasses import dataclass

from cloudrun_identity.api import CloudRunIdentity, Reason, TargetKind
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.policy.desired_grants import Retain
from cloudrun_identity.reconcile.cluster_state import ClusterState, ObjectKey
from cloudrun_identity.reconcile.grants.members import GrantMember
from cloudrun_identity.reconcile.grants.resolver import RequestedGrant, declared_grant
from cloudrun_identity.reconcile.interfaces import Executed, Summary
from cloudrun_identity.reconcile.outcomes import InSync, Outcome
from cloudrun_identity.reconcile.preconditions import Allowed, Blocked
from cloudrun_identity.reconcile.steps import Action, Change, Fail, Plan, ReleaseGrants, Wait

HOME = Target(TargetKind.PROJECT, "payments-prod-1234")
ANN = Grant(HOME, "roles/cloudsql.client", "user:ann@example.com")
BOB = Grant(HOME, "roles/cloudsql.client", "user:bob@example.com")


@dataclass(frozen=True)
class Want:
    """The object, or its deletion."""

    obj: CloudRunIdentity
    deletes: bool = False
    abandon: bool = False


@dataclass(frozen=True, slots=True)
class Fix(Action):
    """Remove every difference."""


class ScriptedKind:
    """A kind of identities that observes the differences, and requests the grants, that a test sets."""

    kind = CloudRunIdentity

    changes: list[tuple[Change, ...]]
    """Differences that the next reads show, one item per read."""

    ending: Outcome
    """Outcome of the plan once every difference is removed."""

    requested: tuple[Grant, ...]
    """Grants that the object requests."""

    error: Exception | None
    """Error of each read."""

    in_use: bool
    """True if a deletion has to wait."""

    abandoning: bool
    """True if a deletion leaves the declared grants in place."""

    policies_alone: bool
    """True if nothing is read for an object but its policies."""

    hangs: bool
    """True if a read does not return."""

    reads: list[float]
    """Maximum age of each read."""

    executions: int
    """Number of executed actions."""

    def __init__(self) -> None:
        self.changes = []
        self.ending = InSync()
        self.requested = (ANN,)
        self.error = None
        self.in_use = False
        self.abandoning = False
        self.policies_alone = False
        self.hangs = False
        self.reads = []
        self.executions = 0

    def references(self, obj: CloudRunIdentity) -> frozenset[ObjectKey]:
        return frozenset()

    def declares(self, obj: CloudRunIdentity) -> str:
        return ""

    def resolve(self, obj: CloudRunIdentity, allowed: Allowed, cluster: ClusterState) -> Want | Blocked:
        return Want(obj)

    def depends_on_policies_alone(self, obj: CloudRunIdentity) -> bool:
        return self.policies_alone

    async def observe(self, want: Want, max_age: float) -> tuple[Change, ...]:
        self.reads.append(max_age)
        if self.hangs:
            await asyncio.sleep(3600.0)
        if self.error:
            raise self.error
        return self.changes.pop(0) if self.changes else ()

    def describe(self, want: Want) -> str:
        return "ServiceAccount"

    def plan(self, want: Want, seen: tuple[Change, ...], now: object) -> Plan[Fix]:
        if want.deletes:
            if self.in_use:
                return Plan((Wait(Reason.IN_USE, "in use", 15.0),))
            return Plan((ReleaseGrants("account", abandon=want.abandon),))
        ending = () if isinstance(self.ending, InSync) else (Fail(self.ending),)
        return Plan((Fix("account", seen), *ending)) if seen else Plan(ending)

    async def execute(
        self, action: Fix, want: Want, seen: tuple[Change, ...]
    ) -> Executed[tuple[Change, ...]]:
        self.executions += 1
        return Executed(())

    async def assume(self, action: Fix, want: Want, seen: tuple[Change, ...]) -> tuple[Change, ...]:
        return ()

    def requested_grants(self, want: Want, cluster: ClusterState) -> tuple[RequestedGrant, ...]:
        return tuple(
            RequestedGrant(f"spec.roles[{index}]", grant.target, grant.role, GrantMember(grant.member))
            for index, grant in enumerate(self.requested)
        )

    def summarize(self, want: Want, seen: tuple[Change, ...]) -> Summary:
        return Summary({})

    def resolve_deletion(self, obj: CloudRunIdentity, cluster: ClusterState, *, abandon: bool) -> Want:
        if self.error:
            raise self.error
        return Want(obj, deletes=True, abandon=abandon)

    def abandons(self, obj: CloudRunIdentity) -> bool:
        return self.abandoning

    def declared_grants(self, obj: CloudRunIdentity, cluster: ClusterState) -> tuple[Retain, ...]:
        return tuple(map(declared_grant, self.requested_grants(Want(obj), cluster)))
