"""Resolve requested grants to desired grants: references resolved, guardrails checked, failures named.

Every requested grant ends as exactly one of two: a desired grant; or a failure with a `Retain`, where the
request does not resolve or is not admitted, so that existing grants stay and none is added.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from cloudrun_identity.api import (
    ExistingGrants,
    GrantState,
    ManagedProject,
    ProjectScopedResource,
    Reason,
)
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity.iam.admission import Decision, DeclaredIdentity, Denied, GuardrailFacts
from cloudrun_identity.iam.expiry import Expiry
from cloudrun_identity.iam.grant_matching import GrantRequest
from cloudrun_identity.iam.grants import BindingKey, Grant, IAMCondition, Target
from cloudrun_identity.iam.guardrails import decide
from cloudrun_identity.iam.principals import service_account_member
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import DesiredGrant, DesiredGrants, Retain
from cloudrun_identity.reconcile.cluster_state import ClusterState, ledger_owner
from cloudrun_identity.reconcile.guardrail_checks import guardrail_facts
from cloudrun_identity.reconcile.outcomes import Outcome, Refused, outcome_of
from cloudrun_identity.reconcile.references import Resolved, Unresolved
from cloudrun_identity.reconcile.refusals import refusal

from .members import GrantMember
from .roles import declared_permissions
from .terms import AdmittedGrant, EndedGrant, Terms, TimedGrant, last_of_each, utc_now, without_desired

PREDEFINED_ROLE_MAX_AGE = 60.0
"""Seconds for which the permissions of a predefined role are believed; a custom role may change any time."""


@dataclass(frozen=True, slots=True)
class RequestedGrant:
    """One grant as a spec declares it."""

    path: str
    """Field of the spec that declares it."""
    target: Resolved[Target]
    role: Resolved[str]
    member: Resolved[GrantMember]
    owner: DeclaredIdentity | None = None
    """Identity that declares the target account."""
    condition: IAMCondition | None = None
    exclusive: bool = False
    """True if no other member may hold the role on the target."""
    claim: bool = False
    """True if the object removes the grant on release, even if it existed before."""
    project: ManagedProject | None = None
    """ManagedProject of the target, whose guardrails decide; None for the object's own."""
    expiry: Expiry | None = None
    """End of the grant; None for a permanent grant."""


@dataclass(frozen=True, slots=True)
class GrantFailure:
    """A requested grant that is not desired now, with the reason."""

    target: Resolved[Target]
    role: str
    member: str
    outcome: Outcome
    unresolved: bool = False
    """True if a reference does not resolve; False if the guardrails do not admit the grant."""
    condition: IAMCondition | None = None

    @property
    def state(self) -> GrantState:
        """State of the grant in statuses."""
        return GrantState.REJECTED if isinstance(self.outcome, Refused) else GrantState.PENDING


@dataclass(frozen=True, slots=True)
class ResolvedGrants:
    """The requested grants of one object, resolved and checked."""

    desired: frozenset[DesiredGrant] = frozenset()
    retains: tuple[Retain, ...] = ()
    failures: tuple[GrantFailure, ...] = ()
    ended: tuple[EndedGrant, ...] = ()
    """Requested grants that are over. The guardrails are not asked about them."""


def desired_grants_of(
    obj: ProjectScopedResource,
    requested: Iterable[RequestedGrant],
    resolved: ResolvedGrants,
    *,
    writable: bool,
    claims: frozenset[Grant] = frozenset(),
) -> DesiredGrants:
    """Return what an object registers with the policy engine.

    `claims` are grants to remove on release although they existed before the object. While a grant fails, no
    unmanaged member is removed from the object's exclusive bindings.
    """
    return DesiredGrants(
        ledger_owner(obj),
        resolved.desired,
        resolved.retains,
        writable=writable,
        ended=frozenset(each.base for each in resolved.ended),
        claims=claims,
        exclusive=frozenset() if resolved.failures else _exclusive_bindings(requested),
    )


def claims_existing(obj: ProjectScopedResource) -> bool:
    """Return whether the object wants to remove grants that existed before it, once it releases them."""
    existing = getattr(obj.spec, "existing_grants", ExistingGrants.KEEP)
    return existing is ExistingGrants.CLAIM


class GrantResolver:
    """Check requested grants against the guardrails, with every role expanded to its permissions."""

    def __init__(self, roles: Roles, wall_clock: Callable[[], datetime] = utc_now) -> None:
        """`wall_clock` returns the time at which temporary grants are over."""
        self._roles = roles
        self._wall_clock = wall_clock

    async def resolve(
        self,
        requested: Iterable[RequestedGrant],
        namespace: str,
        project: ManagedProject,
        cluster: ClusterState,
        max_age: float,
        *,
        owner: Owner | None = None,
    ) -> ResolvedGrants:
        """Return the desired grants of an object in `namespace`, and why others are not desired.

        `owner` is the object as ledgers name it; None if the ledgers have no grant of it. `project` is its
        own. `max_age` is how old, in seconds, the permissions of roles may be.

        All roles are read first; then everything is decided without an await in between. Grants that are
        registered right after that were thus checked against every custom role as it may become by then, and
        a later expansion of a role finds them registered.
        """
        listed = [(each, each.project or project) for each in requested]
        read_after = asyncio.get_running_loop().time() - max_age
        terms = Terms(cluster, owner, self._wall_clock)
        checks = self._checks(listed, namespace, cluster, terms)
        prechecks = [await checks[of.metadata.name].precheck(each, read_after) for each, of in listed]
        checks = self._checks(listed, namespace, cluster, terms)
        admitted: list[AdmittedGrant] = []
        ended: list[EndedGrant] = []
        retains: list[Retain] = []
        failures: list[GrantFailure] = []
        for (each, of), precheck in zip(listed, prechecks, strict=True):
            result = checks[of.metadata.name].check(each, precheck)
            match result:
                case AdmittedGrant():
                    admitted.append(result)
                case EndedGrant():
                    ended.append(result)
                case (retain, failure):
                    retains.append(retain)
                    failures.append(failure)
        return ResolvedGrants(
            last_of_each(admitted),
            tuple(retains),
            tuple(failures),
            tuple(without_desired(ended, admitted)),
        )

    def _checks(
        self,
        listed: Iterable[tuple[RequestedGrant, ManagedProject]],
        namespace: str,
        cluster: ClusterState,
        terms: Terms,
    ) -> dict[str, "_GuardrailCheck"]:
        projects = {project.metadata.name: project for _, project in listed}
        return {
            name: _GuardrailCheck(
                self._roles, namespace, project, cluster, guardrail_facts(project, cluster), terms
            )
            for name, project in projects.items()
        }


@dataclass(frozen=True, slots=True)
class _GuardrailCheck:
    """The guardrails of one project at one moment, for an object of one namespace."""

    roles: Roles
    namespace: str
    project: ManagedProject
    cluster: ClusterState
    facts: GuardrailFacts
    terms: Terms

    async def precheck(self, requested: RequestedGrant, read_after: float) -> Denied | GoogleError | None:
        """Read the permissions of the role, unless no guardrail can admit the grant whatever they are.

        Returns why the grant is denied, or why the role cannot be read.
        """
        match requested.target, requested.role, requested.member:
            case Target() as target, str(role), GrantMember() as member:
                grant = self._timed(requested, target, role, member)
                if isinstance(grant, EndedGrant):
                    return None
                decision = self._decide(requested, grant, member, frozenset())
            case _:
                return None
        if isinstance(decision, Denied) and not self._could_be_admitted(decision):
            return decision
        try:
            await self.roles.permissions(role, self.project.project_id, _max_age(role, read_after))
        except GoogleError as error:
            return decision if isinstance(decision, Denied) else error
        return None

    def _could_be_admitted(self, denied: Denied) -> bool:
        """Return whether an entry could admit what is denied: the role is read to propose the right one."""
        return bool(denied.proposals) and self.namespace in self.facts.namespaces

    def check(
        self, requested: RequestedGrant, precheck: Denied | GoogleError | None
    ) -> AdmittedGrant | EndedGrant | tuple[Retain, GrantFailure]:
        """Return the desired grant, one that is over, or what is retained meanwhile and why."""
        match requested.target, requested.role, requested.member:
            case Target() as target, str(role), GrantMember() as member:
                timed = self._timed(requested, target, role, member)
                if isinstance(timed, EndedGrant):
                    return timed
                denial = self._denial(requested, timed, member, precheck)
                if denial is None:
                    desired = DesiredGrant(timed.grant, member.unique_id, temporary=timed.temporary)
                    return AdmittedGrant(desired, timed.term.end if timed.term else None)
                failure = GrantFailure(target, role, member.principal, denial, condition=requested.condition)
                return Retain(target, role, member.principal), failure
            case _:
                return _retain_of(requested), _unresolved(requested)

    def _timed(
        self, requested: RequestedGrant, target: Target, role: str, member: GrantMember
    ) -> TimedGrant | EndedGrant:
        """Return the requested grant with its end."""
        base = Grant(target, role, member.principal, requested.condition)
        return self.terms.timed(base, requested.expiry, requested.path)

    def _denial(
        self,
        requested: RequestedGrant,
        timed: TimedGrant,
        member: GrantMember,
        precheck: Denied | GoogleError | None,
    ) -> Outcome | None:
        """Return why the project does not admit the grant; None if it does."""
        decision: Decision
        grant = timed.grant
        if problem := timed.problem(requested.path):
            return Refused(Reason.INVALID_SPEC, problem)
        if isinstance(precheck, Denied):
            decision = precheck
        elif precheck is None:
            decision = self._decide(requested, timed, member, self._permissions(grant))
        elif precheck.fault in (Fault.NOT_FOUND, Fault.INVALID_ARGUMENT):
            return Refused(
                Reason.REJECTED,
                f"{requested.path}: role {grant.role} does not exist; a custom role is written "
                "projects/PROJECT/roles/ID",
            )
        elif precheck.fault is Fault.PERMISSION_DENIED:  # the operator cannot read it: it may hold anything
            decision = self._decide(requested, timed, member, None)
        else:
            return outcome_of(precheck, f"reading role {grant.role}")
        if isinstance(decision, Denied):
            return refusal(decision, requested.path)
        return None

    def _permissions(self, grant: Grant) -> frozenset[str] | None:
        """Return all permissions that the role has, or is about to have; None if they are unknown.

        A new grant is checked against the permissions that a CustomRole declares, even before they are
        written. The reconcile of the CustomRole checks the existing grants before it writes them.
        """
        permissions = self.roles.max_permissions(grant.role, self.project.project_id)
        if permissions is None or grant in self.cluster.ledger(grant.target).entries:
            return permissions
        declared = declared_permissions(grant.role, self.cluster)
        # Grants of one role share the set, because its hash is expensive.
        return permissions if declared <= permissions else permissions | declared

    def _decide(
        self,
        requested: RequestedGrant,
        timed: TimedGrant,
        member: GrantMember,
        permissions: frozenset[str] | None,
    ) -> Decision:
        request = GrantRequest(
            namespace=self.namespace,
            target=timed.grant.target,
            role=timed.grant.role,
            member=member.identity or member.principal,
            permissions=permissions,
            owner=requested.owner,
            condition=requested.condition,
            exclusive=requested.exclusive,
            claim=requested.claim,
            lasts=timed.lasts,
        )
        return decide(request, self.project, self.facts)


def _max_age(role: str, read_after: float) -> float:
    """Return how old, in seconds, the known permissions of a role may be."""
    age = asyncio.get_running_loop().time() - read_after
    return max(age, PREDEFINED_ROLE_MAX_AGE) if role.startswith("roles/") else age


def _exclusive_bindings(requested: Iterable[RequestedGrant]) -> frozenset[BindingKey]:
    """Return the bindings that an object declares exclusively."""
    return frozenset(
        BindingKey(each.target, each.role, each.condition)
        for each in requested
        if each.exclusive and isinstance(each.role, str) and isinstance(each.target, Target)
    )


def declared_grant(requested: RequestedGrant) -> Retain:
    """Return the pattern of the grant that is requested now, even if a reference does not resolve."""
    return replace(_retain_of(requested), any_condition=False, condition=requested.condition)


def _retain_of(requested: RequestedGrant) -> Retain:
    """Return what to retain of a request that does not resolve: all grants that it may have led to."""
    target = requested.target if isinstance(requested.target, Target) else None
    role = requested.role if isinstance(requested.role, str) else requested.role.name or None
    if isinstance(requested.member, GrantMember):
        return Retain(target, role, requested.member.principal)
    # Every reference to a member resolves to a service account: identities and service agents alike.
    return Retain(target, role, prefix=service_account_member(""))


def _unresolved(requested: RequestedGrant) -> GrantFailure:
    """Report the first reference that does not resolve: the target before the role before the member."""
    role = requested.role if isinstance(requested.role, str) else requested.role.text
    member = (
        requested.member.principal if isinstance(requested.member, GrantMember) else requested.member.text
    )
    outcome = next(
        each.outcome
        for each in (requested.target, requested.role, requested.member)
        if isinstance(each, Unresolved)
    )
    return GrantFailure(
        requested.target, role, member, outcome, unresolved=True, condition=requested.condition
    )
