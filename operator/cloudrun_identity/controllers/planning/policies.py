"""The policies of a plan: what their lanes would add and remove, with nothing written."""

from collections.abc import Callable, Iterable

from google.iam.v1.policy_pb2 import Policy

from cloudrun_identity.api import TargetKind
from cloudrun_identity.controllers.outcomes import outcome_of
from cloudrun_identity.controllers.world import Key
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.gcp.policy_engine.policy_writer import PolicyPort
from cloudrun_identity.gcp.policy_engine.ports import LedgerPort
from cloudrun_identity.iam.claims import Declaration
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.merge import Release, merge, present
from cloudrun_identity.iam.passes import plan

from .plan import Obstacle, Sign, Step, obstacle


class PlannedPolicies:
    """Every declaration of a plan, to be merged into the policies as they stand now."""

    def __init__(self, ledgers: LedgerPort, policies: PolicyPort, is_spared: Callable[[str], bool]) -> None:
        self._ledgers = ledgers
        self._policies = policies
        self._is_spared = is_spared
        self._declared: list[tuple[Key, Declaration]] = []
        self._begun: set[Target] = set()

    def begin(self, target: Target) -> None:
        """Take the target, which the plan brings into being, for one with an empty policy."""
        self._begun.add(target)

    def declare(self, key: Key, declaration: Declaration) -> None:
        """Take note of what an object wants."""
        self._declared.append((key, declaration))

    async def planned(self) -> tuple[list[Step], list[Obstacle]]:
        """What would be added and removed, policy by policy, and which policies cannot be worked out."""
        steps: list[Step] = []
        obstacles: list[Obstacle] = []
        targets = {target for _, declaration in self._declared for target in declaration.targets}
        for target in sorted(targets):
            try:
                steps += await self._planned_on(target)
            except GoogleError as error:
                outcome = outcome_of(error, f"reading the policy of {target}")
                told = [obstacle(key, outcome) for key in self._declaring(target)]
                obstacles += [each for each in told if each]
        return steps, obstacles

    async def _planned_on(self, target: Target) -> list[Step]:
        policy = Policy() if target in self._begun else await self._policies.get(target)
        declarations = [declaration for _, declaration in self._declared]
        pass_plan = plan(
            self._ledgers.ledger(target),
            declarations,
            present(policy, target),
            may_release=True,
            spared=self._is_spared,
        )
        evicted = tuple(map(Release, pass_plan.evictable))
        merged = merge(policy, pass_plan.claims, (*pass_plan.released, *evicted))
        return [
            Step(_resource(target), sign, _text(grant), self._whose(grant))
            for sign, grants in ((Sign.ADD, merged.added), (Sign.REMOVE, merged.removed))
            for grant in sorted(grants, key=_text)
        ]

    def _declaring(self, target: Target) -> Iterable[Key]:
        return [key for key, declaration in self._declared if target in declaration.targets]

    def _whose(self, grant: Grant) -> Key:
        """The first of the objects that a grant is added or removed for."""
        return next(
            key
            for key, declaration in self._declared
            if any(claim.grant == grant for claim in declaration.claims)
            or grant.slot in declaration.exclusive
        )


def _text(grant: Grant) -> str:
    when = f" if {grant.condition.title}" if grant.condition else ""
    return f"{grant.role} for {grant.member}{when}"


def _resource(target: Target) -> str:
    known = target.kind is TargetKind.PROJECT or target.kind is TargetKind.SERVICE_ACCOUNT
    return f"IAM policy of {target}" + ("" if known else f" of project {target.project_id}")
