"""From what a spec says about grants to claims: members resolved, guardrails asked, obstacles named.

Every wish ends as exactly one of: a claim; a hold with an obstacle, where it cannot be worked out or is not
admitted, so that what is held stays and nothing is added.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from cloudrun_identity.api import (
    BindingCondition,
    ExistingGrants,
    GrantState,
    ManagedProject,
    ProjectScopedResource,
    Reason,
)
from cloudrun_identity.controllers.gate import surroundings
from cloudrun_identity.controllers.outcomes import Outcome, Refused, outcome_of
from cloudrun_identity.controllers.world import World, claimant
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity.iam.admission import Decision, DeclaredIdentity, Denied, Surroundings
from cloudrun_identity.iam.claims import Claim, Declaration, Hold
from cloudrun_identity.iam.grants import Condition, Grant, Slot, Target
from cloudrun_identity.iam.guardrails import GrantRequest, decide
from cloudrun_identity.iam.principals import service_account_member

from .members import Holder, Nobody
from .references import NoRole, declared_permissions
from .targets import NoTarget


@dataclass(frozen=True, slots=True)
class Wish:
    """A grant as declared, by the field `path`.

    `owner` is the identity whose account is the target. `exclusive`: nobody else is to hold the role there.
    `project` is the one of the target, whose guardrails decide, where that is not the declaring object's own.
    """

    path: str
    target: Target | NoTarget
    role: str | NoRole
    holder: Holder | Nobody
    owner: DeclaredIdentity | None = None
    condition: Condition | None = None
    exclusive: bool = False
    project: ManagedProject | None = None


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a wish is not claimed."""

    target: Target | NoTarget
    role: str
    member: str
    outcome: Outcome
    unresolved: bool = False
    condition: Condition | None = None

    @property
    def state(self) -> GrantState:
        """How statuses show the wish."""
        return GrantState.REJECTED if isinstance(self.outcome, Refused) else GrantState.PENDING


@dataclass(frozen=True, slots=True)
class Wishes:
    """All wishes of one object, judged."""

    claims: frozenset[Claim] = frozenset()
    holds: tuple[Hold, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()


def condition_of(declared: BindingCondition | None) -> Condition | None:
    """A declared condition as the engine has it."""
    if declared is None:
        return None
    return Condition(declared.title, declared.description or "", declared.expression)


def declaration(
    obj: ProjectScopedResource, listed: Iterable[Wish], judged: Wishes, *, writable: bool
) -> Declaration:
    """What an object declares to the lanes, of the wishes that it lists and that were judged.

    For as long as one is in the way nobody else's grant is taken out of a binding that it wants alone.
    """
    return Declaration(
        claimant(obj),
        judged.claims,
        judged.holds,
        writable=writable,
        claims_existing=claims_existing(obj),
        exclusive=frozenset() if judged.obstacles else _exclusive_slots(listed),
    )


def claims_existing(obj: ProjectScopedResource) -> bool:
    """Whether grants that stood before the object are its own, to be taken away with it."""
    existing = getattr(obj.spec, "existing_grants", ExistingGrants.KEEP)
    return existing is ExistingGrants.CLAIM


class Judge:
    """Asks the guardrails about wishes, with every role expanded to its permissions."""

    def __init__(self, roles: Roles) -> None:
        self._roles = roles

    async def judge(
        self,
        wishes: Iterable[Wish],
        namespace: str,
        project: ManagedProject,
        world: World,
        max_age: float,
    ) -> Wishes:
        """Sort the wishes of an object in `namespace` into claims and obstacles.

        `project` is the object's own. `max_age` is how old, in seconds, what is known of their roles may be.

        Everything is read first, and then decided at once. Claims that are declared before anything else can
        happen were thus judged by every custom role as it may be by then, and later widenings find them
        declared.
        """
        listed = [(wish, wish.project or project) for wish in wishes]
        read_after = asyncio.get_running_loop().time() - max_age
        judgements = self._judgements(listed, namespace, world)
        bars = [await judgements[lent.metadata.name].bar(wish, read_after) for wish, lent in listed]
        judgements = self._judgements(listed, namespace, world)
        claims: set[Claim] = set()
        holds: list[Hold] = []
        obstacles: list[Obstacle] = []
        for (wish, lent), bar in zip(listed, bars, strict=True):
            found = judgements[lent.metadata.name].of(wish, bar)
            if isinstance(found, Claim):
                claims.add(found)
            else:
                hold, obstacle = found
                holds.append(hold)
                obstacles.append(obstacle)
        return Wishes(frozenset(claims), tuple(holds), tuple(obstacles))

    def _judgements(
        self, listed: Iterable[tuple[Wish, ManagedProject]], namespace: str, world: World
    ) -> dict[str, "_Judgement"]:
        lenders = {lent.metadata.name: lent for _, lent in listed}
        return {
            name: _Judgement(self._roles, namespace, lent, world, surroundings(lent, world))
            for name, lent in lenders.items()
        }


@dataclass(frozen=True, slots=True)
class _Judgement:
    """What an object's wishes in one project are judged by at one moment."""

    roles: Roles
    namespace: str
    project: ManagedProject
    world: World
    facts: Surroundings

    async def bar(self, wish: Wish, read_after: float) -> Denied | GoogleError | None:
        """What forbids the wish whatever its role permits, or keeps that from being read; reads it if not."""
        match wish.target, wish.role, wish.holder:
            case Target() as target, str(role), Holder() as holder:
                # As if the role were harmless: what is refused even so is refused without a look at it.
                decision = self._decide(wish, target, role, holder, frozenset())
            case _:
                return None
        if isinstance(decision, Denied):
            return decision
        try:
            await self.roles.permissions(role, self.project.project_id, _age_of(role, read_after))
        except GoogleError as error:
            return error
        return None

    def of(self, wish: Wish, bar: Denied | GoogleError | None) -> Claim | tuple[Hold, Obstacle]:
        """The claim that a wish comes to, or what is held meanwhile and what is in the way."""
        match wish.target, wish.role, wish.holder:
            case Target() as target, str(role), Holder(member, unique_id) as holder:
                grant = Grant(target, role, member, wish.condition)
                objection = self._objection(wish, grant, holder, bar)
                if objection is None:
                    return Claim(grant, unique_id)
                obstacle = Obstacle(target, role, member, objection, condition=wish.condition)
                return Hold(target, role, member), obstacle
            case _:
                return _hold_of(wish), _unresolved(wish)

    def _objection(
        self, wish: Wish, grant: Grant, holder: Holder, bar: Denied | GoogleError | None
    ) -> Outcome | None:
        """Why the project does not allow that `holder` gets the role; None if it does."""
        decision: Decision
        if isinstance(bar, Denied):
            decision = bar
        elif bar is None:
            decision = self._decide(wish, grant.target, grant.role, holder, self._permissions(grant))
        elif bar.fault in (Fault.NOT_FOUND, Fault.INVALID_ARGUMENT):
            return Refused(
                Reason.REJECTED,
                f"{wish.path}: there is no role {grant.role}; "
                "a custom role is written projects/PROJECT/roles/ID",
            )
        elif bar.fault is Fault.PERMISSION_DENIED:  # not ours to read, so it may hold anything
            decision = self._decide(wish, grant.target, grant.role, holder, None)
        else:
            return outcome_of(bar, f"reading role {grant.role}")
        if isinstance(decision, Denied):
            return Refused(Reason.DENIED_BY_GUARDRAIL, f"{wish.path}: {decision.reason}")
        return None

    def _permissions(self, grant: Grant) -> frozenset[str] | None:
        """What a grant of the role comes to: all that the role permits, or is about to permit.

        To a new grant counts what a CustomRole declares, whatever has become of the role in the meantime. A
        grant that we hold already is asked about before that is written.
        """
        permissions = self.roles.at_most(grant.role, self.project.project_id)
        if permissions is None or grant in self.world.ledger(grant.target).holdings:
            return permissions
        return permissions | declared_permissions(grant.role, self.world)

    def _decide(
        self, wish: Wish, target: Target, role: str, holder: Holder, permissions: frozenset[str] | None
    ) -> Decision:
        request = GrantRequest(
            namespace=self.namespace,
            target=target,
            role=role,
            member=holder.identity or holder.member,
            permissions=permissions,
            owner=wish.owner,
            exclusive=wish.exclusive,
        )
        return decide(request, self.project, self.facts)


def _age_of(role: str, read_after: float) -> float:
    """How old, in seconds, what is known of a role may be: a custom one can be edited at any moment."""
    age = asyncio.get_running_loop().time() - read_after
    return max(age, _PREDEFINED_AGE) if role.startswith("roles/") else age


def _exclusive_slots(wishes: Iterable[Wish]) -> frozenset[Slot]:
    """The bindings that an object declares to have to itself."""
    return frozenset(
        Slot(wish.target, wish.role, wish.condition)
        for wish in wishes
        if wish.exclusive and isinstance(wish.role, str) and isinstance(wish.target, Target)
    )


def _hold_of(wish: Wish) -> Hold:
    """Hold what a wish that cannot be worked out may have come to before: what is known of it narrows it."""
    target = wish.target if isinstance(wish.target, Target) else None
    role = wish.role if isinstance(wish.role, str) else wish.role.name or None
    match wish.holder:
        case Holder(member):
            return Hold(target, role, member)
        case Nobody():
            # Whoever it is will be a service account, identities and service agents alike.
            return Hold(target, role, prefix=service_account_member(""))


def _unresolved(wish: Wish) -> Obstacle:
    """Say what a wish lacks: its target before its role before its member."""
    role = wish.role if isinstance(wish.role, str) else wish.role.text
    member = wish.holder.member if isinstance(wish.holder, Holder) else wish.holder.text
    lacking = next(
        each.outcome
        for each in (wish.target, wish.role, wish.holder)
        if isinstance(each, NoTarget | NoRole | Nobody)
    )
    return Obstacle(wish.target, role, member, lacking, unresolved=True, condition=wish.condition)


_PREDEFINED_AGE = 60.0
