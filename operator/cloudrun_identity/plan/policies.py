"""The policies of a plan: what their lanes would add and remove, with nothing written."""

from collections.abc import Callable, Iterable

from google.iam.v1.policy_pb2 import Policy

from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.interface import LedgerStore
from cloudrun_identity.policy.desired_grants import DesiredGrants
from cloudrun_identity.policy.merge import Release, grants_in, merge
from cloudrun_identity.policy.planning import plan
from cloudrun_identity.policy.writer import PolicyPort
from cloudrun_identity.reconcile.cluster_state import ObjectKey
from cloudrun_identity.reconcile.outcomes import outcome_of

from .model import PlanBlocker, Sign, Step, blocker


class PlannedPolicies:
    """Every declaration of a plan, to be merged into the policies as they stand now."""

    def __init__(
        self, ledgers: LedgerStore, policies: PolicyPort, is_protected: Callable[[str], bool]
    ) -> None:
        self._ledgers = ledgers
        self._policies = policies
        self._is_protected = is_protected
        self._declared: list[tuple[ObjectKey, DesiredGrants]] = []
        self._begun: set[Target] = set()

    def begin(self, target: Target) -> None:
        """Take the target, which the plan brings into being, for one with an empty policy."""
        self._begun.add(target)

    def declare(self, key: ObjectKey, desired: DesiredGrants) -> None:
        """Take note of what an object wants."""
        self._declared.append((key, desired))

    async def planned(self) -> tuple[list[Step], list[PlanBlocker]]:
        """What would be added and removed, policy by policy, and which policies cannot be worked out."""
        steps: list[Step] = []
        blockers: list[PlanBlocker] = []
        targets = {target for _, desired in self._declared for target in desired.targets}
        for target in sorted(targets):
            try:
                steps += await self._planned_on(target)
            except GoogleError as error:
                outcome = outcome_of(error, f"reading the policy of {target}")
                told = [blocker(key, outcome) for key in self._declaring(target)]
                blockers += [each for each in told if each]
        return steps, blockers

    async def _planned_on(self, target: Target) -> list[Step]:
        policy = Policy() if target in self._begun else await self._policies.get(target)
        all_desired = [desired for _, desired in self._declared]
        policy_plan = plan(
            self._ledgers.ledger(target),
            all_desired,
            grants_in(policy, target),
            may_release=True,
            protected=self._is_protected,
        )
        removed_unmanaged = tuple(map(Release, policy_plan.removable))
        merged = merge(policy, policy_plan.desired_grants, (*policy_plan.released, *removed_unmanaged))
        return [
            Step(_resource(target), sign, _text(grant), self._whose(grant))
            for sign, grants in ((Sign.ADD, merged.added), (Sign.REMOVE, merged.removed))
            for grant in sorted(grants, key=_text)
        ]

    def _declaring(self, target: Target) -> Iterable[ObjectKey]:
        return [key for key, desired in self._declared if target in desired.targets]

    def _whose(self, grant: Grant) -> ObjectKey:
        """The first of the objects that a grant is added or removed for."""
        return next(
            key
            for key, desired in self._declared
            if any(desired_grant.grant == grant for desired_grant in desired.desired_grants)
            or grant.binding_key in desired.exclusive
        )


def _text(grant: Grant) -> str:
    when = f" if {grant.condition.title}" if grant.condition else ""
    return f"{grant.role} for {grant.member}{when}"


def _resource(target: Target) -> str:
    project = "" if target.descriptor.name_includes_project else f" of project {target.project_id}"
    return f"IAM policy of {target}{project}"
