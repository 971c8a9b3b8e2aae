"""Guardrails that admit exactly the exported resources."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from cloudrun_identity.api import (
    MAX_ENTRIES,
    MAX_PATTERNS,
    TARGET_KINDS,
    KeyAdmission,
    ManagedProject,
    NamedBy,
    TargetKind,
)
from cloudrun_identity.iam.admission import DeclaredIdentity, Denied, GuardrailFacts
from cloudrun_identity.iam.escalation import Reach, escalating, reach_of
from cloudrun_identity.iam.grant_matching import GrantRequest
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.guardrails import decide
from cloudrun_identity.iam.principals import email, lower_email

from .selection import Selection
from .survey import Survey

Guardrails = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of `guardrails.grants`. It admits each of the roles on each of the targets for each member."""

    kind: TargetKind
    """The kind of the targets."""
    location: str
    """The location of the targets; empty for a kind without locations."""
    condition: str
    """The expression of the condition of the grants; empty for unconditional grants."""
    escalates: bool
    """True if the roles allow privilege escalation."""
    roles: frozenset[str]
    """The admitted roles."""
    names: frozenset[str]
    """The names of the targets."""
    members: frozenset[str]
    """The admitted members."""
    service: str = ""
    """The API of the targets of the generic kind; empty for other kinds."""

    def to_dict(self, namespace: str) -> Guardrails:
        """Return the entry as in a manifest for one namespace, where a project needs no name."""
        names = {} if TARGET_KINDS[self.kind].named_by is NamedBy.PROJECT else {"names": sorted(self.names)}
        return {
            "roles": sorted(self.roles),
            "targetKinds": [self.kind.value],
            **({"services": [self.service]} if self.service else {}),
            **names,
            **({"locations": [self.location]} if self.location else {}),
            "members": sorted(self.members),
            "namespaces": [namespace],
            **({"conditions": [self.condition]} if self.condition else {}),
            **({"allowEscalation": True} if self.escalates else {}),
            "claim": True,  # the exported objects set existingGrants: Claim
        }


class Admission:
    """The guardrails of a ManagedProject that admit one selection in one namespace, and nothing else.

    Grants that require too many entries are not admitted.
    """

    def __init__(self, survey: Survey, selection: Selection, namespace: str) -> None:
        self._survey = survey
        self._selection = selection
        self._namespace = namespace
        self._identities = {
            lower_email(account.email): DeclaredIdentity(namespace, account.email.partition("@")[0])
            for account in selection.accounts
        }
        self._entries = cover(map(self._entry, selection.grants))[:MAX_ENTRIES]

    def guardrails(self) -> Guardrails:
        """Return the guardrails as in a manifest."""
        namespaces = {"namespaces": [self._namespace]}
        accounts = [{"email": account.email, **namespaces} for account in self._selection.accounts]
        adoptable = [{"roleID": role.role_id, **namespaces} for role in self._selection.roles]
        workloads = self._workloads()
        permissions = frozenset[str]().union(*(role.permissions for role in self._selection.roles))
        roles = {
            "permissions": sorted(permissions),
            **({"allowEscalation": True} if escalating(permissions) else {}),
            **namespaces,
        }
        grants = [entry.to_dict(self._namespace) for entry in self._entries]
        return {
            "defaultGrants": False,
            **({"grants": grants} if grants else {}),
            **({"workloads": workloads} if workloads else {}),
            **({"adoptableAccounts": accounts} if accounts else {}),
            **({"adoptableRoles": adoptable} if adoptable else {}),
            **({"customRoles": roles} if permissions else {}),
            **({"keys": KeyAdmission.ALLOWED.value} if self._selection.keys else {}),
        }

    def refusals(self) -> Mapping[Grant, str]:
        """Return the grants that these guardrails do not admit, with the reasons."""
        project = self._project(self.guardrails())
        return {
            grant: denied.reason
            for grant in self._selection.grants
            if (denied := self._denied(grant, project))
        }

    def _denied(self, grant: Grant, project: ManagedProject) -> Denied | None:
        facts = GuardrailFacts(frozenset({self._namespace}), self._identities)
        permissions = self._survey.permissions[grant.role]
        request = GrantRequest(
            self._namespace,
            grant.target,
            grant.role,
            grant.member,
            permissions,
            condition=grant.condition,
            claim=True,
        )
        decision = decide(request, project, facts)
        return decision if isinstance(decision, Denied) else None

    def _project(self, guardrails: Guardrails) -> ManagedProject:
        spec = {"namespaces": {"names": [self._namespace]}, "guardrails": guardrails}
        return ManagedProject.model_validate({"metadata": {"name": self._survey.project_id}, "spec": spec})

    def _entry(self, grant: Grant) -> Entry:
        permissions = self._survey.permissions[grant.role]
        member = self._identities.get(lower_email(email(grant.member)), grant.member)
        return Entry(
            grant.target.kind,
            grant.target.location,
            grant.condition.expression if grant.condition else "",
            permissions is None or bool(escalating(permissions, _reach(grant.target))),
            frozenset({grant.role}),
            frozenset({grant.target.short_name}),
            frozenset({str(member)}),
            grant.target.service,
        )

    def _workloads(self) -> list[Guardrails]:
        """Return an entry for each kind and location of workloads with an attachment or a grant."""
        names: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        attached = (state.workload.target for state in self._selection.attached)
        for target in (*attached, *(grant.target for grant in self._selection.grants)):
            if target.is_workload:
                names[target.kind.value, target.location].add(target.name)
        entries = [
            {"namespaces": [self._namespace], "kinds": [kind], "locations": [location], "names": part}
            for (kind, location), named in sorted(names.items())
            for part in _parts(sorted(named))
        ]
        return entries[:MAX_ENTRIES]


def cover(single: Iterable[Entry]) -> list[Entry]:
    """Merge entries into fewer ones that admit exactly the same grants, and have no list that is too long.

    Entries merge if they differ in one list only. The result is the shorter one of two orders: members first
    or roles first.
    """
    single = list(single)
    merged = [
        _merged(single, order) for order in (("members", "names", "roles"), ("roles", "names", "members"))
    ]
    fewest = min(merged, key=len)
    return sorted((part for entry in fewest for part in _split(entry)), key=_order)


def _merged(entries: Iterable[Entry], order: Sequence[str]) -> list[Entry]:
    entries = list(entries)
    for field in order:
        alike: defaultdict[tuple[object, ...], set[str]] = defaultdict(set)
        for entry in entries:
            alike[_without(entry, field)] |= getattr(entry, field)
        entries = [_with(key, field, frozenset(values)) for key, values in alike.items()]
    return entries


def _without(entry: Entry, field: str) -> tuple[object, ...]:
    fixed = (entry.kind, entry.location, entry.condition, entry.escalates, entry.service)
    return *fixed, *(getattr(entry, each) for each in _LISTS if each != field)


def _with(key: tuple[Any, ...], field: str, values: frozenset[str]) -> Entry:
    kind, location, condition, escalates, service, *others = key
    lists = dict(zip((each for each in _LISTS if each != field), others, strict=True))
    return Entry(kind, location, condition, escalates, service=service, **lists, **{field: values})


def _split(entry: Entry) -> Iterator[Entry]:
    lists = [_parts(sorted(getattr(entry, field))) for field in _LISTS]
    for roles, names, members in product(*lists):
        yield replace(entry, roles=frozenset(roles), names=frozenset(names), members=frozenset(members))


def _parts(items: list[str]) -> list[list[str]]:
    return [items[start : start + MAX_PATTERNS] for start in range(0, len(items), MAX_PATTERNS)]


def _order(entry: Entry) -> tuple[int, str, str, str, bool, list[str], list[str], list[str]]:
    return (
        list(TargetKind).index(entry.kind),
        entry.service,
        entry.location,
        entry.condition,
        entry.escalates,
        sorted(entry.roles),
        sorted(entry.names),
        sorted(entry.members),
    )


def _reach(target: Target) -> Reach:
    return reach_of(
        target.kind, own_identity=target.is_service_account
    )  # only policies of declared accounts are selected


_LISTS = ("roles", "names", "members")
