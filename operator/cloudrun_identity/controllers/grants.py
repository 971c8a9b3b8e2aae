"""From what a spec says about grants to claims: members resolved, guardrails asked, obstacles named.

Every wish ends as exactly one of: a claim; a hold with an obstacle, where it cannot be worked out or is not
admitted, so that what is held stays and nothing is added.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace

from cloudrun_identity.api import (
    BindingCondition,
    CloudRunIdentity,
    ExistingGrants,
    GrantState,
    ManagedProject,
    Member,
    ProjectScopedResource,
    Reason,
)
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.projects import SERVICE_AGENT_DOMAIN, cloud_run_service_agent
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity.iam.admission import DeclaredIdentity, Denied, Surroundings, may_enter
from cloudrun_identity.iam.claims import Claim, Hold
from cloudrun_identity.iam.grants import Condition, Grant, Slot, Target
from cloudrun_identity.iam.guardrails import GrantRequest, decide
from cloudrun_identity.iam.principals import email, lower_email, normalise, service_account_member

from .gate import surroundings
from .outcomes import Outcome, Refused, Waiting, outcome_of
from .references import NoRole
from .world import World


@dataclass(frozen=True, slots=True)
class Holder:
    """Who is to hold a role: a member of a policy, and the account it means if it is a declared identity."""

    member: str
    unique_id: str = ""
    identity: DeclaredIdentity | None = None


@dataclass(frozen=True, slots=True)
class Nobody:
    """A member that does not resolve, with the outcome that says why; `text` stands for it in statuses."""

    text: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Wish:
    """A grant as declared, by the field `path`.

    `owner` is the identity whose account is the target. `exclusive`: nobody else is to hold the role there.
    """

    path: str
    target: Target
    role: str | NoRole
    holder: Holder | Nobody
    owner: DeclaredIdentity | None = None
    condition: Condition | None = None
    exclusive: bool = False


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a wish is not claimed."""

    target: Target
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


def identity_holder(identity: CloudRunIdentity, world: World, path: str) -> Holder | Nobody:
    """The account of an identity as a member; an identity resolves once reads of its account are steady."""
    declared = DeclaredIdentity(identity.metadata.namespace, identity.metadata.name)
    record = world.account(identity)
    if record is None or not record.is_steady:
        message = f"{path}: the account of CloudRunIdentity {declared.namespace}/{declared.name} is not ready"
        return Nobody(str(declared), Waiting(Reason.DEPENDENCY_NOT_READY, message))
    return Holder(service_account_member(lower_email(record.email)), record.unique_id, declared)


def condition_of(declared: BindingCondition | None) -> Condition | None:
    """A declared condition as the engine has it."""
    if declared is None:
        return None
    return Condition(declared.title, declared.description or "", declared.expression)


def exclusive_slots(wishes: Iterable[Wish]) -> frozenset[Slot]:
    """The bindings that an object declares to have to itself."""
    return frozenset(
        Slot(wish.target, wish.role, wish.condition)
        for wish in wishes
        if wish.exclusive and isinstance(wish.role, str)
    )


def claims_existing(obj: ProjectScopedResource) -> bool:
    """Whether grants that stood before the object are its own, to be taken away with it."""
    existing = getattr(obj.spec, "existing_grants", ExistingGrants.KEEP)
    return existing is ExistingGrants.CLAIM


class Members:
    """Resolves the members that one object names."""

    def __init__(self, world: World, namespace: str) -> None:
        """`namespace` is the object's: other namespaces' identities must allow it."""
        self._world = world
        self._namespace = namespace

    def resolve(self, member: Member, path: str) -> Holder | Nobody:
        """Who a member is; `path` is where it is named."""
        if member.identity_ref:
            reference = member.identity_ref
            return self.identity(
                DeclaredIdentity(reference.namespace or self._namespace, reference.name), path
            )
        if member.cloud_run_service_agent_of:
            return self._service_agent(member.cloud_run_service_agent_of.project_ref.name, path)
        principal = normalise(member.principal or "")
        if served := _served_by(principal, self._world):
            return self._service_agent(served, path)
        record = self._world.owner_of(email(principal))
        if record:
            namespace, _, name = record.owner.partition("/")
            return self.identity(DeclaredIdentity(namespace, name), path)
        return Holder(principal)

    def identity(self, declared: DeclaredIdentity, path: str) -> Holder | Nobody:
        """A declared identity, if it exists and lets this namespace name it."""
        identity = self._world.identity(declared.namespace, declared.name)
        text = f"{declared.namespace}/{declared.name}"
        if identity is None:
            message = f"{path}: there is no CloudRunIdentity {text}"
            return Nobody(str(declared), Waiting(Reason.DEPENDENCY_NOT_FOUND, message))
        if declared.namespace != self._namespace and self._namespace not in identity.spec.allowed_namespaces:
            message = (
                f"{path}: CloudRunIdentity {text} does not list namespace {self._namespace} "
                "in allowedNamespaces"
            )
            return Nobody(str(declared), Refused(Reason.DENIED_BY_GUARDRAIL, message))
        return identity_holder(identity, self._world, path)

    def _service_agent(self, name: str, path: str) -> Holder | Nobody:
        project = self._world.project(name)
        text = f"cloudRunServiceAgentOf:{name}"
        if project is None:
            message = f"{path}: there is no ManagedProject {name}"
            return Nobody(text, Waiting(Reason.DEPENDENCY_NOT_FOUND, message))
        entrance = may_enter(project, self._namespace, surroundings(project, self._world))
        if isinstance(entrance, Denied):
            return Nobody(text, Refused(Reason.DENIED_BY_GUARDRAIL, f"{path}: {entrance.reason}"))
        if project.status.project_number is None:
            message = f"{path}: ManagedProject {name} is not ready"
            return Nobody(text, Waiting(Reason.DEPENDENCY_NOT_READY, message))
        return Holder(service_account_member(cloud_run_service_agent(project.status.project_number)))


def _served_by(principal: str, world: World) -> str:
    """The ManagedProject whose Cloud Run service agent the member is: by its e-mail it is no less that."""
    if not principal.endswith(SERVICE_AGENT_DOMAIN):
        return ""
    return next(
        (
            each.metadata.name
            for each in world.objects(ManagedProject)
            if each.status.project_number
            and email(principal) == cloud_run_service_agent(each.status.project_number)
        ),
        "",
    )


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

        `max_age` is how old, in seconds, what is known of their roles may be.
        """
        read_after = asyncio.get_running_loop().time() - max_age
        judgement = _Judgement(self._roles, namespace, project, surroundings(project, world), read_after)
        claims: set[Claim] = set()
        holds: list[Hold] = []
        obstacles: list[Obstacle] = []
        for wish in wishes:
            match wish.role, wish.holder:
                case NoRole(text, outcome, name), holder:
                    holds.append(Hold(wish.target, name or None, **_whoever(holder)))
                    obstacles.append(_unresolved(wish, text, _text(holder), outcome))
                case str(role), Nobody(text, outcome) as nobody:
                    holds.append(Hold(wish.target, role, **_whoever(nobody)))
                    obstacles.append(_unresolved(wish, role, text, outcome))
                case str(role), Holder(member, unique_id) as holder:
                    objection = await judgement.objection(wish, role, holder)
                    if objection is None:
                        claims.add(Claim(Grant(wish.target, role, member, wish.condition), unique_id))
                    else:
                        holds.append(Hold(wish.target, role, member))
                        obstacles.append(
                            Obstacle(wish.target, role, member, objection, condition=wish.condition)
                        )
        return Wishes(frozenset(claims), tuple(holds), tuple(obstacles))


@dataclass(frozen=True, slots=True)
class _Judgement:
    """What the wishes of one object are judged by: roles count as they were read after `read_after`."""

    roles: Roles
    namespace: str
    project: ManagedProject
    facts: Surroundings
    read_after: float

    async def objection(self, wish: Wish, role: str, holder: Holder) -> Outcome | None:
        """Why the project does not allow that `holder` gets `role`; None if it does."""
        request = GrantRequest(
            namespace=self.namespace,
            target=wish.target,
            role=role,
            member=holder.identity or holder.member,
            permissions=frozenset(),
            owner=wish.owner,
            exclusive=wish.exclusive,
        )
        # As if the role were harmless: what is refused even so is refused without a look at it.
        decision = decide(request, self.project, self.facts)
        if isinstance(decision, Denied):
            return _denied(wish, decision)
        permissions: frozenset[str] | None
        try:
            permissions = await self.roles.permissions(role, self.project.project_id, self._age_of(role))
        except GoogleError as error:
            if error.fault in (Fault.NOT_FOUND, Fault.INVALID_ARGUMENT):
                return Refused(
                    Reason.REJECTED,
                    f"{wish.path}: there is no role {role}; "
                    "a custom role is written projects/PROJECT/roles/ID",
                )
            if error.fault is Fault.PERMISSION_DENIED:
                permissions = None  # not ours to read, so it may hold anything
            else:
                return outcome_of(error, f"reading role {role}")
        decision = decide(replace(request, permissions=permissions), self.project, self.facts)
        return _denied(wish, decision) if isinstance(decision, Denied) else None

    def _age_of(self, role: str) -> float:
        """How old, in seconds, what is known of a role may be: a custom one can be edited at any moment."""
        age = asyncio.get_running_loop().time() - self.read_after
        return max(age, _PREDEFINED_AGE) if role.startswith("roles/") else age


def _unresolved(wish: Wish, role: str, member: str, outcome: Outcome) -> Obstacle:
    return Obstacle(wish.target, role, member, outcome, unresolved=True, condition=wish.condition)


def _whoever(holder: Holder | Nobody) -> dict[str, str]:
    """What is known of the member, as a Hold takes it."""
    match holder:
        case Holder(member):
            return {"member": member}
        case Nobody():
            # Whoever it is will be a service account, identities and service agents alike.
            return {"prefix": service_account_member("")}


def _text(holder: Holder | Nobody) -> str:
    return holder.member if isinstance(holder, Holder) else holder.text


def _denied(wish: Wish, decision: Denied) -> Outcome:
    return Refused(Reason.DENIED_BY_GUARDRAIL, f"{wish.path}: {decision.reason}")


_PREDEFINED_AGE = 60.0
