"""Suggested grants: the least ones that workloads need and that nothing declares yet. Pure.

A workload that runs as a default account is suggested an identity of its own.
"""

import hashlib
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from cloudrun_identity.api import CloudRunIdentity
from cloudrun_identity.gcp.projects import cloud_run_service_agent
from cloudrun_identity.gcp.service_accounts import expected_email
from cloudrun_identity.gcp.workload_dependencies import needs_of
from cloudrun_identity.gcp.workloads import Workload, WorkloadState
from cloudrun_identity.iam.admission import DeclaredIdentity, Denied, may_use_workload
from cloudrun_identity.iam.grant_matching import GrantRequest
from cloudrun_identity.iam.guardrails import decide
from cloudrun_identity.iam.principals import is_default_account, lower_email, service_account_member
from cloudrun_identity.iam.workload_needs import Holder, Need, Note, least

from .declared import Declared, agent_of
from .names import object_name

MAX_ACCOUNT_ID = 30
MIN_ACCOUNT_ID = 6


@dataclass(frozen=True, slots=True)
class SuggestedGrant:
    """A grant that a workload needs."""

    need: Need
    """The role, the resource, and the reason."""
    member: str
    """Principal to grant the role to, in the form of IAM; empty if its e-mail is unknown."""
    refusal: Denied | None = None
    """Denial by the guardrails of the project; None if they admit the grant or are unknown."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The suggestions for the workloads that run as one account."""

    workloads: tuple[Workload, ...]
    """The workloads."""
    account: str
    """E-mail of the account, as it is or as it would be."""
    namespace: str
    """Namespace of the suggested objects."""
    identity: DeclaredIdentity | None
    """CloudRunIdentity of the account, declared or suggested; None for an account without one."""
    is_new: bool
    """True if the identity and its attachment are suggested: the workload runs as a default account."""
    grants: tuple[SuggestedGrant, ...]
    """Grants that are neither declared nor held."""
    notes: tuple[Note, ...]
    """Requirements that no object of the operator can declare, with complete commands."""
    refusal: Denied | None = None
    """Denial of the attachment of a new identity by the guardrails; None if they admit it."""

    @property
    def is_empty(self) -> bool:
        """True if nothing is suggested."""
        return not self.grants and not self.is_new


def suggest(
    states: Iterable[WorkloadState], declared: Declared, namespace: str, numbers: Mapping[str, str]
) -> tuple[Suggestion, ...]:
    """Return the suggestions for workloads, by account.

    `namespace` is that of the suggested objects; if empty, it depends on the ManagedProject. `numbers` has
    the known numbers of projects by ID.
    """
    return tuple(_Suggester(declared, namespace, numbers).suggestions(states))


def without(suggestions: Iterable[Suggestion], held: Container[SuggestedGrant]) -> tuple[Suggestion, ...]:
    """Return the suggestions without the grants that the policies have already."""
    return tuple(
        replace(each, grants=tuple(grant for grant in each.grants if grant not in held))
        for each in suggestions
    )


@dataclass(frozen=True, slots=True)
class _Account:
    """The account that a workload runs as, or would run as."""

    email: str
    namespace: str
    identity: DeclaredIdentity | None
    is_new: bool = False


class _Suggester:
    def __init__(self, declared: Declared, namespace: str, numbers: Mapping[str, str]) -> None:
        self._declared = declared
        self._namespace = namespace
        self._numbers = numbers
        self._names: set[DeclaredIdentity] = set()
        self._of_agents: set[tuple[str, Need]] = set()

    def suggestions(self, states: Iterable[WorkloadState]) -> Iterator[Suggestion]:
        by_account: dict[_Account, list[WorkloadState]] = {}
        for state in sorted(states, key=lambda state: state.workload):
            by_account.setdefault(self._account(state), []).append(state)
        for account, running in by_account.items():
            yield self._suggestion(account, running)

    def _suggestion(self, account: _Account, states: list[WorkloadState]) -> Suggestion:
        workloads = tuple(state.workload for state in states)
        needs: list[Need] = []
        notes: dict[Note, None] = {}
        for state in states:
            project_id = state.workload.project_id
            found = needs_of(state, self._number(project_id))
            prefix = f"{state.workload}: " if len(states) > 1 else ""
            needs += (_with_prefix(self._by_id(each), prefix) for each in found.needs)
            notes |= dict.fromkeys(self._complete(note, project_id) for note in found.notes)
        return Suggestion(
            workloads=workloads,
            account=account.email,
            namespace=account.namespace,
            identity=account.identity,
            is_new=account.is_new,
            grants=tuple(self._grants(account, workloads[0].project_id, least(needs))),
            notes=tuple(notes),
            refusal=self._refused_workload(account, workloads[0]) if account.is_new else None,
        )

    # Accounts

    def _account(self, state: WorkloadState) -> _Account:
        """Return the account of a workload. An attachment decides, even before it has effect."""
        attachment = self._declared.attached(state.workload)
        if attachment is None:
            return self._running(state)
        namespace, reference = attachment.metadata.namespace, attachment.spec.identity_ref
        if reference is None:
            return self._known(attachment.spec.email or "", namespace)
        declared = DeclaredIdentity(reference.namespace or namespace, reference.name)
        identity = self._declared.identity(declared.namespace, declared.name)
        if identity:
            return _Account(self._declared.email_of(identity), declared.namespace, declared)
        expected = expected_email(state.workload.project_id, declared.name)
        return _Account(expected, declared.namespace, declared)

    def _running(self, state: WorkloadState) -> _Account:
        namespace = self._namespace_for(state.workload.project_id)
        if state.service_account and not is_default_account(state.service_account):
            return self._known(state.service_account, namespace)
        name = self._free_name(state.workload, namespace)
        email = expected_email(state.workload.project_id, name)
        return _Account(email, namespace, DeclaredIdentity(namespace, name), is_new=True)

    def _known(self, email: str, namespace: str) -> _Account:
        identity = self._declared.identity_of(email)
        if identity is None:
            return _Account(lower_email(email), namespace, None)
        metadata = identity.metadata
        return _Account(email, metadata.namespace, DeclaredIdentity(metadata.namespace, metadata.name))

    def _free_name(self, workload: Workload, namespace: str) -> str:
        """Return a name for an identity that is also an account ID, and that no other identity has."""
        kind = object_name(workload.kind.value)
        for parts in ((workload.name,), (workload.name, kind), (workload.name, kind, workload.location)):
            name = _account_id("-".join(parts))
            found = DeclaredIdentity(namespace, name)
            if found not in self._names and not self._declared.exists(CloudRunIdentity, namespace, name):
                self._names.add(found)
                return name
        return _account_id("-".join((*parts, workload.project_id, "identity")))

    def _namespace_for(self, project_id: str) -> str:
        project = self._declared.project_on(project_id)
        names = project.spec.namespaces.names if project else ()
        return self._namespace or (names[0] if len(names) == 1 else object_name(project_id))

    # Grants

    def _grants(self, account: _Account, project_id: str, needs: Iterable[Need]) -> Iterator[SuggestedGrant]:
        agent = self._agent(project_id)
        for need in needs:
            is_agent = need.access.holder is Holder.SERVICE_AGENT
            member = agent if is_agent else service_account_member(account.email)
            others = {agent_of(self._declared.project_name(project_id))} if is_agent else set[str]()
            if self._declared.meets(need, {member, *others} - {""}):
                continue
            key = (project_id, replace(need, sources=()))
            if is_agent and key in self._of_agents:
                continue
            if is_agent:
                self._of_agents.add(key)
            yield SuggestedGrant(need, member, self._refused(account, need, member, is_agent=is_agent))

    def _refused(self, account: _Account, need: Need, member: str, *, is_agent: bool) -> Denied | None:
        project = self._declared.project_on(need.target.project_id)
        if project is None or not member:
            return None
        request = GrantRequest(
            namespace=account.namespace,
            target=need.target,
            role=need.access.role,
            member=account.identity or member if not is_agent else member,
            permissions=need.access.permissions,
            condition=need.condition,
        )
        decision = decide(request, project, self._declared.facts(project, account.namespace))
        return decision if isinstance(decision, Denied) else None

    def _refused_workload(self, account: _Account, workload: Workload) -> Denied | None:
        project = self._declared.project_on(workload.project_id)
        if project is None:
            return None
        facts = self._declared.facts(project, account.namespace)
        decision = may_use_workload(project, account.namespace, workload.target, facts)
        return decision if isinstance(decision, Denied) else None

    # Projects

    def _by_id(self, need: Need) -> Need:
        """Return the need with the ID of its project, if it is known."""
        given = need.target.project_id
        known = {number: project_id for project_id, number in self._numbers.items()}
        project = self._declared.project_on(given)
        return need.in_project(project.project_id if project else known.get(given, given))

    def _number(self, project_id: str) -> str:
        project = self._declared.project_on(project_id)
        return self._numbers.get(project_id) or (project and project.status.project_number) or ""

    def _agent(self, project_id: str) -> str:
        number = self._number(project_id)
        return service_account_member(cloud_run_service_agent(number)) if number else ""

    def _complete(self, note: Note, project_id: str) -> Note:
        agent = cloud_run_service_agent(self._number(project_id) or "PROJECT_NUMBER")
        return replace(note, command=note.command.replace("{agent}", agent))


def _with_prefix(need: Need, prefix: str) -> Need:
    return replace(need, sources=tuple(f"{prefix}{source}" for source in need.sources))


def _account_id(name: str) -> str:
    """Return the name as an account ID. A long one is shortened, and ends in a hash."""
    if len(name) > MAX_ACCOUNT_ID:
        digest = hashlib.sha256(name.encode()).hexdigest()[:6]
        return f"{name[: MAX_ACCOUNT_ID - 7].rstrip('-')}-{digest}"
    return name if len(name) >= MIN_ACCOUNT_ID else f"{name}-account"
