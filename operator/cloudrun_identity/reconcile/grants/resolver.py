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
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity.iam.admission import Decision, DeclaredIdentity, Denied, GuardrailFacts
from cloudrun_identity.iam.grants import BindingKey, Grant, IAMCondition, Target
from cloudrun_identity.iam.guardrails import GrantRequest, decide
from cloudrun_identity.iam.principals import service_account_member
from cloudrun_identity.policy.desired_grants import DesiredGrant, DesiredGrants, Retain
from cloudrun_identity.reconcile.cluster_state import ClusterState, ledger_owner
from cloudrun_identity.reconcile.outcomes import Outcome, Refused, outcome_of
from cloudrun_identity.reconcile.preconditions import guardrail_facts

from .members import Holder, Nobody
from .references import NoRole, declared_permissions
from .targets import NoTarget


@dataclass(frozen=True, slots=True)
class RequestedGrant:
    """A grant as declared, by the field `path`.

    `owner` is the identity whose account is the target. `exclusive`: nobody else is to hold the role there.
    `project` is the one of the target, whose guardrails decide, where that is not the declaring object's own.
    """

    path: str
    target: Target | NoTarget
    role: str | NoRole
    holder: Holder | Nobody
    owner: DeclaredIdentity | None = None
    condition: IAMCondition | None = None
    exclusive: bool = False
    project: ManagedProject | None = None


@dataclass(frozen=True, slots=True)
class GrantFailure:
    """Why a wish is not claimed."""

    target: Target | NoTarget
    role: str
    member: str
    outcome: Outcome
    unresolved: bool = False
    condition: IAMCondition | None = None

    @property
    def state(self) -> GrantState:
        """How statuses show the wish."""
        return GrantState.REJECTED if isinstance(self.outcome, Refused) else GrantState.PENDING


@dataclass(frozen=True, slots=True)
class ResolvedGrants:
    """All wishes of one object, judged."""

    desired_grants: frozenset[DesiredGrant] = frozenset()
    retains: tuple[Retain, ...] = ()
    failures: tuple[GrantFailure, ...] = ()


def condition_of(declared: BindingCondition | None) -> IAMCondition | None:
    """A declared condition as the engine has it."""
    if declared is None:
        return None
    return IAMCondition(declared.title, declared.description or "", declared.expression)


def desired_grants_of(
    obj: ProjectScopedResource, listed: Iterable[RequestedGrant], resolved: ResolvedGrants, *, writable: bool
) -> DesiredGrants:
    """What an object declares to the lanes, of the wishes that it lists and that were judged.

    For as long as one is in the way nobody else's grant is taken out of a binding that it wants alone.
    """
    return DesiredGrants(
        ledger_owner(obj),
        resolved.desired_grants,
        resolved.retains,
        writable=writable,
        owns_existing=owns_existing(obj),
        exclusive=frozenset() if resolved.failures else _exclusive_slots(listed),
    )


def owns_existing(obj: ProjectScopedResource) -> bool:
    """Whether grants that stood before the object are its own, to be taken away with it."""
    existing = getattr(obj.spec, "existing_grants", ExistingGrants.KEEP)
    return existing is ExistingGrants.CLAIM


class GrantResolver:
    """Asks the guardrails about wishes, with every role expanded to its permissions."""

    def __init__(self, roles: Roles) -> None:
        self._roles = roles

    async def resolve_grants(
        self,
        requested_grants: Iterable[RequestedGrant],
        namespace: str,
        project: ManagedProject,
        cluster: ClusterState,
        max_age: float,
    ) -> ResolvedGrants:
        """Sort the wishes of an object in `namespace` into claims and obstacles.

        `project` is the object's own. `max_age` is how old, in seconds, what is known of their roles may be.

        Everything is read first, and then decided at once. Claims that are declared before anything else can
        happen were thus judged by every custom role as it may be by then, and later widenings find them
        declared.
        """
        listed = [(requested, requested.project or project) for requested in requested_grants]
        read_after = asyncio.get_running_loop().time() - max_age
        guardrails_of = self._guardrails_of(listed, namespace, cluster)
        bars = [
            await guardrails_of[delegated.metadata.name].bar(requested, read_after)
            for requested, delegated in listed
        ]
        guardrails_of = self._guardrails_of(listed, namespace, cluster)
        desired_grants: set[DesiredGrant] = set()
        retains: list[Retain] = []
        failures: list[GrantFailure] = []
        for (requested, delegated), bar in zip(listed, bars, strict=True):
            found = guardrails_of[delegated.metadata.name].of(requested, bar)
            if isinstance(found, DesiredGrant):
                desired_grants.add(found)
            else:
                retain, obstacle = found
                retains.append(retain)
                failures.append(obstacle)
        return ResolvedGrants(frozenset(desired_grants), tuple(retains), tuple(failures))

    def _guardrails_of(
        self, listed: Iterable[tuple[RequestedGrant, ManagedProject]], namespace: str, cluster: ClusterState
    ) -> dict[str, "_ProjectGuardrails"]:
        lenders = {delegated.metadata.name: delegated for _, delegated in listed}
        return {
            name: _ProjectGuardrails(
                self._roles, namespace, delegated, cluster, guardrail_facts(delegated, cluster)
            )
            for name, delegated in lenders.items()
        }


@dataclass(frozen=True, slots=True)
class _ProjectGuardrails:
    """What an object's wishes in one project are judged by at one moment."""

    roles: Roles
    namespace: str
    project: ManagedProject
    cluster: ClusterState
    facts: GuardrailFacts

    async def bar(self, requested: RequestedGrant, read_after: float) -> Denied | GoogleError | None:
        """What forbids the wish whatever its role permits, or keeps that from being read; reads it if not."""
        match requested.target, requested.role, requested.holder:
            case Target() as target, str(role), Holder() as holder:
                # As if the role were harmless: what is refused even so is refused without a look at it.
                decision = self._decide(requested, target, role, holder, frozenset())
            case _:
                return None
        if isinstance(decision, Denied):
            return decision
        try:
            await self.roles.permissions(role, self.project.project_id, _age_of(role, read_after))
        except GoogleError as error:
            return error
        return None

    def of(
        self, requested: RequestedGrant, bar: Denied | GoogleError | None
    ) -> DesiredGrant | tuple[Retain, GrantFailure]:
        """The claim that a wish comes to, or what is held meanwhile and what is in the way."""
        match requested.target, requested.role, requested.holder:
            case Target() as target, str(role), Holder(member, unique_id) as holder:
                grant = Grant(target, role, member, requested.condition)
                objection = self._objection(requested, grant, holder, bar)
                if objection is None:
                    return DesiredGrant(grant, unique_id)
                obstacle = GrantFailure(target, role, member, objection, condition=requested.condition)
                return Retain(target, role, member), obstacle
            case _:
                return _retain_of(requested), _unresolved(requested)

    def _objection(
        self, requested: RequestedGrant, grant: Grant, holder: Holder, bar: Denied | GoogleError | None
    ) -> Outcome | None:
        """Why the project does not allow that `holder` gets the role; None if it does."""
        decision: Decision
        if isinstance(bar, Denied):
            decision = bar
        elif bar is None:
            decision = self._decide(requested, grant.target, grant.role, holder, self._permissions(grant))
        elif bar.fault in (Fault.NOT_FOUND, Fault.INVALID_ARGUMENT):
            return Refused(
                Reason.REJECTED,
                f"{requested.path}: there is no role {grant.role}; "
                "a custom role is written projects/PROJECT/roles/ID",
            )
        elif bar.fault is Fault.PERMISSION_DENIED:  # not ours to read, so it may hold anything
            decision = self._decide(requested, grant.target, grant.role, holder, None)
        else:
            return outcome_of(bar, f"reading role {grant.role}")
        if isinstance(decision, Denied):
            reason = Reason.INVALID_SPEC if decision.invalid_entry else Reason.DENIED_BY_GUARDRAIL
            return Refused(reason, f"{requested.path}: {decision.reason}")
        return None

    def _permissions(self, grant: Grant) -> frozenset[str] | None:
        """What a grant of the role comes to: all that the role permits, or is about to permit.

        To a new grant counts what a CustomRole declares, whatever has become of the role in the meantime. A
        grant that we hold already is asked about before that is written.
        """
        permissions = self.roles.max_permissions(grant.role, self.project.project_id)
        if permissions is None or grant in self.cluster.ledger(grant.target).entries:
            return permissions
        return permissions | declared_permissions(grant.role, self.cluster)

    def _decide(
        self,
        requested: RequestedGrant,
        target: Target,
        role: str,
        holder: Holder,
        permissions: frozenset[str] | None,
    ) -> Decision:
        request = GrantRequest(
            namespace=self.namespace,
            target=target,
            role=role,
            member=holder.identity or holder.member,
            permissions=permissions,
            owner=requested.owner,
            exclusive=requested.exclusive,
        )
        return decide(request, self.project, self.facts)


def _age_of(role: str, read_after: float) -> float:
    """How old, in seconds, what is known of a role may be: a custom one can be edited at any moment."""
    age = asyncio.get_running_loop().time() - read_after
    return max(age, _PREDEFINED_AGE) if role.startswith("roles/") else age


def _exclusive_slots(requested_grants: Iterable[RequestedGrant]) -> frozenset[BindingKey]:
    """The bindings that an object declares to have to itself."""
    return frozenset(
        BindingKey(requested.target, requested.role, requested.condition)
        for requested in requested_grants
        if requested.exclusive and isinstance(requested.role, str) and isinstance(requested.target, Target)
    )


def _retain_of(requested: RequestedGrant) -> Retain:
    """Hold what a wish that cannot be worked out may have come to before: what is known of it narrows it."""
    target = requested.target if isinstance(requested.target, Target) else None
    role = requested.role if isinstance(requested.role, str) else requested.role.name or None
    match requested.holder:
        case Holder(member):
            return Retain(target, role, member)
        case Nobody():
            # Whoever it is will be a service account, identities and service agents alike.
            return Retain(target, role, prefix=service_account_member(""))


def _unresolved(requested: RequestedGrant) -> GrantFailure:
    """Say what a wish lacks: its target before its role before its member."""
    role = requested.role if isinstance(requested.role, str) else requested.role.text
    member = requested.holder.member if isinstance(requested.holder, Holder) else requested.holder.text
    lacking = next(
        each.outcome
        for each in (requested.target, requested.role, requested.holder)
        if isinstance(each, NoTarget | NoRole | Nobody)
    )
    return GrantFailure(
        requested.target, role, member, lacking, unresolved=True, condition=requested.condition
    )


_PREDEFINED_AGE = 60.0
