"""The steps that a plan has for IAM policies: those that a sync would execute."""

from collections.abc import Callable, Iterable
from typing import assert_never

from google.iam.v1.policy_pb2 import Policy

from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.interface import LedgerStore
from cloudrun_identity.policy.desired_grants import DesiredGrants
from cloudrun_identity.policy.merge import grants_in
from cloudrun_identity.policy.planning import plan_policy
from cloudrun_identity.policy.ports import PolicyPort
from cloudrun_identity.policy.steps import AddGrant, GrantStep, ReleaseGrant, RemoveUnmanaged, RetainGrant
from cloudrun_identity.reconcile.cluster_state import ObjectKey
from cloudrun_identity.reconcile.outcomes import outcome_of

from .model import PlanBlocker, Sign, Step, blocker


class PlannedPolicies:
    """The desired grants of all planned objects, and the steps on the policies that they mention."""

    def __init__(
        self, ledgers: LedgerStore, policies: PolicyPort, is_protected: Callable[[str], bool]
    ) -> None:
        self._ledgers = ledgers
        self._policies = policies
        self._is_protected = is_protected
        self._declared: list[tuple[ObjectKey, DesiredGrants]] = []
        self._begun: set[Target] = set()

    def begin(self, target: Target) -> None:
        """Plan with an empty policy for a target that the plan creates."""
        self._begun.add(target)

    def declare(self, key: ObjectKey, desired: DesiredGrants) -> None:
        """Add the desired grants of an object."""
        self._declared.append((key, desired))

    async def planned(self) -> tuple[list[Step], list[PlanBlocker]]:
        """Return the steps by policy, and a blocker for each object on a policy that cannot be read."""
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
        policy_plan = plan_policy(
            self._ledgers.ledger(target),
            [desired for _, desired in self._declared],
            grants_in(policy, target),
            may_release=True,
            protected=self._is_protected,
        )
        steps = [
            Step(_resource(target), sign, _text(step.grant), _key(step))
            for step in policy_plan.steps
            if (sign := _sign(step))
        ]
        return sorted(steps, key=lambda step: (step.sign is Sign.REMOVE, step.text))

    def _declaring(self, target: Target) -> Iterable[ObjectKey]:
        return [key for key, desired in self._declared if target in desired.targets]


def _sign(step: GrantStep) -> Sign | None:
    """Return the sign of a step; None if it changes nothing."""
    match step:
        case AddGrant():
            return Sign.ADD
        case ReleaseGrant() | RemoveUnmanaged():
            return Sign.REMOVE
        case RetainGrant():
            return None
        case _:
            assert_never(step)


def _key(step: GrantStep) -> ObjectKey:
    """Return the key of the object on behalf of which the step is planned."""
    kind, _, rest = step.owner_key.partition("/")
    namespace, _, name = rest.partition("/")
    return ObjectKey(kind, namespace, name)


def _text(grant: Grant) -> str:
    when = f" if {grant.condition.title}" if grant.condition else ""
    return f"{grant.role} for {grant.member}{when}"


def _resource(target: Target) -> str:
    project = "" if target.descriptor.name_includes_project else f" of project {target.project_id}"
    return f"IAM policy of {target}{project}"
