"""Guardrails that admit exactly the exported resources, or patterns of their names."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from cloudrun_identity.api import MAX_ENTRIES, MAX_SPEC_BYTES, KeyAdmission, ManagedProject, TargetKind
from cloudrun_identity.gcp.service_accounts import expected_email
from cloudrun_identity.iam.admission import DeclaredIdentity, Denied, GuardrailFacts
from cloudrun_identity.iam.escalation import Reach, escalating, reach_of
from cloudrun_identity.iam.grant_matching import GrantRequest
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.guardrails import decide
from cloudrun_identity.iam.principals import email, lower_email

from .conventions import Convention, Names, combined
from .entries import Entry, cover, parts, split
from .namespaces import Placement
from .selection import Selection
from .survey import Survey

Guardrails = dict[str, Any]


class Admission:
    """The guardrails of a ManagedProject that admit one selection in its namespaces, and nothing else.

    With `patterns`, names are combined into patterns that match no other resource that exists. They also
    admit later resources of such names. Grants and accounts that require too many entries are not admitted.
    """

    def __init__(
        self, survey: Survey, selection: Selection, placement: Placement, *, patterns: bool = False
    ) -> None:
        self._survey = survey
        self._selection = selection
        self._placement = placement
        self._patterns = patterns
        self._identities = {
            lower_email(each.email): DeclaredIdentity(
                placement.of_account(each.email), each.email.partition("@")[0]
            )
            for each in selection.accounts
        }
        self._members = {**survey.identities, **self._identities}
        self._existing = _Existing(survey, self._identities.values())
        self._used: set[Convention] = set()
        covering = cover(map(self._entry, selection.grants))
        self._entries = [part for entry in map(self._combined, covering) for part in split(entry)]
        self._guardrails = self._build()

    @property
    def guardrails(self) -> Guardrails:
        """The guardrails as in a manifest."""
        return self._guardrails

    @property
    def namespaces(self) -> list[str]:
        """The namespaces of all objects, sorted."""
        placed = {each.namespace for each in self._identities.values()}
        placed |= {self._placement.of_grant(grant) for grant in self._selection.grants}
        placed |= {self._placement.of_target(state.workload.target) for state in self._selection.attached}
        if self._selection.roles or not placed:
            placed.add(self._placement.default)
        return sorted(placed)

    @property
    def admitted(self) -> list[str]:
        """The namespaces that the project admits: of all objects, and of attachments in other projects."""
        return sorted({*self.namespaces, *self._survey.attaching})

    @property
    def conventions(self) -> tuple[Convention, ...]:
        """The patterns in use, sorted."""
        return tuple(sorted(self._used))

    @property
    def is_too_large(self) -> bool:
        """True if a list is longer than the API permits, or the spec is too large for `kubectl apply`."""
        lists = (self._entries, *(self._guardrails.get(field, ()) for field in _LISTS))
        size = len(json.dumps(self._guardrails, separators=(",", ":"))) + _REST
        return any(len(each) > MAX_ENTRIES for each in lists) or size > MAX_SPEC_BYTES

    def refusals(self) -> Mapping[Grant, str]:
        """Return the grants that these guardrails do not admit, with the reasons."""
        projects = dict(self._projects())
        return {
            grant: denied.reason
            for grant in self._selection.grants
            if (denied := self._denied(grant, projects[self._placement.of_grant(grant)]))
        }

    def accounts_beyond_limit(self) -> frozenset[str]:
        """Return the e-mails of accounts that do not fit into the list of adoptable accounts.

        Accounts of workloads come first.
        """
        adoptable = self._accounts()
        excess = len(adoptable) - MAX_ENTRIES
        if excess <= 0:
            return frozenset()
        running = {lower_email(state.service_account) for state in self._survey.workloads}
        single = [entry["email"] for entry in adoptable if "*" not in entry["email"]]
        return frozenset(sorted(single, key=lambda each: (lower_email(each) in running, each))[:excess])

    def _build(self) -> Guardrails:
        namespaces = {"namespaces": [self._placement.default]}
        adoptable = [{"roleID": role.role_id, **namespaces} for role in self._selection.roles]
        workloads = self._workloads()
        permissions = frozenset[str]().union(*(role.permissions for role in self._selection.roles))
        roles = {
            "permissions": sorted(permissions),
            **({"allowEscalation": True} if escalating(permissions) else {}),
            **namespaces,
        }
        grants = [entry.to_dict() for entry in self._entries[:MAX_ENTRIES]]
        keys = sorted({self._placement.of_account(key.account) for key in self._selection.keys})
        lists = {
            "grants": grants,
            "workloads": workloads,
            "accounts": self._foreign_accounts(),
            "adoptableAccounts": self._accounts(),
            "adoptableRoles": adoptable,
        }
        return {
            "defaultGrants": False,
            **{field: entries for field, entries in lists.items() if entries},
            **({"customRoles": roles} if permissions else {}),
            **({"keys": KeyAdmission.ALLOWED.value, "keyNamespaces": keys} if keys else {}),
        }

    def _projects(self) -> Iterator[tuple[str, ManagedProject]]:
        """Yield a ManagedProject for each namespace, with only the entries that are for the namespace."""
        names, rest = self.namespaces, {**self._guardrails, "grants": []}
        project = self._project(names, rest)
        entries: defaultdict[str, list[Guardrails]] = defaultdict(list)
        for entry in self._guardrails.get("grants", ()):
            entries[entry["namespaces"][0]].append(entry)
        for name in names:
            grants = self._project(names, {"grants": entries[name]}).spec.guardrails.grants
            guardrails = project.spec.guardrails.model_copy(update={"grants": grants})
            spec = project.spec.model_copy(update={"guardrails": guardrails})
            yield name, project.model_copy(update={"spec": spec})

    def _project(self, namespaces: list[str], guardrails: Guardrails) -> ManagedProject:
        spec = {"namespaces": {"names": namespaces}, "guardrails": guardrails}
        return ManagedProject.model_validate({"metadata": {"name": self._survey.project_id}, "spec": spec})

    def _denied(self, grant: Grant, project: ManagedProject) -> Denied | None:
        facts = GuardrailFacts(frozenset(project.spec.namespaces.names), self._members)
        request = GrantRequest(
            self._placement.of_grant(grant),
            grant.target,
            grant.role,
            grant.member,
            self._survey.permissions[grant.role],
            condition=grant.condition,
            claim=True,
        )
        decision = decide(request, project, facts)
        return decision if isinstance(decision, Denied) else None

    def _entry(self, grant: Grant) -> Entry:
        permissions = self._survey.permissions[grant.role]
        member = self._members.get(lower_email(email(grant.member)), grant.member)
        return Entry(
            self._placement.of_grant(grant),
            grant.target.kind,
            grant.target.location,
            grant.condition.expression if grant.condition else "",
            permissions is None or bool(escalating(permissions, _reach(grant.target))),
            frozenset({grant.role}),
            frozenset({grant.target.short_name}),
            frozenset({str(member)}),
            grant.target.service,
        )

    def _combined(self, entry: Entry) -> Entry:
        """Return the entry with patterns of names and members, if patterns are used."""
        if not self._patterns:
            return entry
        names = entry.names
        if existing := self._existing.names(entry.kind, entry.location):
            names = frozenset(self._use(combined(names, existing, f"names of {entry.kind.value}s")))
        members = set(entry.members)
        of_namespace: defaultdict[str, set[str]] = defaultdict(set)
        for member in entry.members & self._existing.identities:
            of_namespace[f"{member.partition('/')[0]}/"].add(member)
        for fixed, named in of_namespace.items():
            found = combined(named, self._existing.identities, "identities as members", fixed)
            members = members - named | set(self._use(found))
        return replace(entry, names=names, members=frozenset(members))

    def _use(self, names: Names) -> list[str]:
        self._used.update(names.conventions)
        return names.patterns

    def _accounts(self) -> list[Guardrails]:
        """Return an entry for each account to adopt, or for a pattern of their e-mails."""
        by_namespace: defaultdict[str, list[str]] = defaultdict(list)
        for each in self._identities.values():
            by_namespace[each.namespace].append(each.name)
        existing = self._existing.names(TargetKind.SERVICE_ACCOUNT, "")
        return [
            {"email": expected_email(self._survey.project_id, name), "namespaces": [namespace]}
            for namespace, named in sorted(by_namespace.items())
            for name in (
                self._use(combined(named, existing, f"accounts that namespace {namespace} may adopt"))
                if self._patterns
                else sorted(named)
            )
        ]

    def _foreign_accounts(self) -> list[Guardrails]:
        """Return an entry for each account that an attachment names by e-mail."""
        named = {
            (lower_email(state.service_account), self._placement.of_target(state.workload.target))
            for state in self._selection.attached
            if lower_email(state.service_account) not in self._members
        }
        return [{"email": account, "namespaces": [namespace]} for account, namespace in sorted(named)]

    def _workloads(self) -> list[Guardrails]:
        """Return an entry for each kind and location of workloads with an attachment or a grant."""
        names: defaultdict[tuple[str, str, str], set[str]] = defaultdict(set)
        attached = (state.workload.target for state in self._selection.attached)
        for target in (*attached, *(grant.target for grant in self._selection.grants)):
            if target.is_workload:
                place = self._placement.of_target(target), target.kind.value, target.location
                names[place].add(target.name)
        entries = [
            {"namespaces": [namespace], "kinds": [kind], "locations": [location], "names": part}
            for (namespace, kind, location), named in sorted(names.items())
            for part in parts(self._workload_names(kind, location, named))
        ]
        return entries[:MAX_ENTRIES]

    def _workload_names(self, kind: str, location: str, named: set[str]) -> list[str]:
        existing = self._existing.names(TargetKind(kind), location)
        if not self._patterns or not existing:
            return sorted(named)
        return self._use(combined(named, existing, f"names of {kind}s"))


class _Existing:
    """Names that exist in the project, as far as the survey has all names of a kind."""

    def __init__(self, survey: Survey, identities: Iterable[DeclaredIdentity]) -> None:
        self.identities = frozenset(map(str, identities))
        self._names: defaultdict[tuple[TargetKind, str], set[str]] = defaultdict(set)
        self._names[TargetKind.SERVICE_ACCOUNT, ""] = {
            each.email.partition("@")[0] for each in survey.accounts
        }
        for state in survey.workloads:
            target = state.workload.target
            self._names[target.kind, target.location].add(target.name)

    def names(self, kind: TargetKind, location: str) -> set[str]:
        """Return all names of a kind in a location; empty if they are not known."""
        return self._names.get((kind, location), set())


def _reach(target: Target) -> Reach:
    return reach_of(
        target.kind, own_identity=target.is_service_account
    )  # only policies of declared accounts are selected


_LISTS = ("workloads", "accounts", "adoptableAccounts", "adoptableRoles")
_REST = 4096
"""Bytes for the rest of the spec, besides long lists of namespaces."""
