"""Guardrails that admit exactly the exported resources."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from cloudrun_identity.api import TARGET_KINDS, ManagedProject, NamedBy, TargetKind, WorkloadKind
from cloudrun_identity.iam.admission import DeclaredIdentity, Denied, GuardrailFacts
from cloudrun_identity.iam.escalation import Reach, escalating, reach_of
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.guardrails import GrantRequest, decide
from cloudrun_identity.iam.principals import email, lower_email

from .selection import Selection
from .survey import Survey

MAX_ENTRIES = 64
"""Maximum length of the lists in guardrails, and of the lists in their entries."""

Guardrails = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of `guardrails.grants`. It admits each of the roles on each of the targets for each member."""

    kind: TargetKind
    """The kind of the targets."""
    escalates: bool
    """True if the roles allow privilege escalation."""
    roles: frozenset[str]
    """The admitted roles."""
    names: frozenset[str]
    """The names of the targets."""
    members: frozenset[str]
    """The admitted members."""

    def to_dict(self) -> Guardrails:
        """Return the entry as in a manifest, where a project needs no name."""
        names = {} if TARGET_KINDS[self.kind].named_by is NamedBy.PROJECT else {"names": sorted(self.names)}
        return {
            "roles": sorted(self.roles),
            "targetKinds": [self.kind.value],
            **names,
            "members": sorted(self.members),
            **({"allowEscalation": True} if self.escalates else {}),
        }


class Admission:
    """The guardrails of a ManagedProject that admit one selection in one namespace, and nothing else.

    If that requires too many entries, `defaultGrants` admits the common grants as a whole. Grants that still
    do not fit are not admitted.
    """

    def __init__(self, survey: Survey, selection: Selection, namespace: str) -> None:
        self._survey = survey
        self._selection = selection
        self._namespace = namespace
        self._identities = {
            lower_email(account.email): DeclaredIdentity(namespace, account.email.partition("@")[0])
            for account in selection.accounts
        }
        entries = cover(map(self._entry, selection.grants))
        self.default_grants = len(entries) > MAX_ENTRIES
        if self.default_grants:
            common = self._project({"workloads": self._workloads()})
            entries = cover(self._entry(grant) for grant in selection.grants if self._denied(grant, common))
        self._entries = entries[:MAX_ENTRIES]

    def guardrails(self) -> Guardrails:
        """Return the guardrails as in a manifest."""
        accounts = [account.email for account in self._selection.accounts]
        workloads = self._workloads()
        permissions = frozenset[str]().union(*(role.permissions for role in self._selection.roles))
        roles = {
            "permissions": sorted(permissions),
            **({"allowEscalation": True} if escalating(permissions) else {}),
        }
        return {
            **({} if self.default_grants else {"defaultGrants": False}),
            **({"grants": [entry.to_dict() for entry in self._entries]} if self._entries else {}),
            **({"workloads": workloads} if workloads else {}),
            **({"adoptableAccounts": accounts} if accounts else {}),
            **({"customRoles": roles} if permissions else {}),
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
        request = GrantRequest(self._namespace, grant.target, grant.role, grant.member, permissions)
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
            permissions is None or bool(escalating(permissions, _reach(grant.target))),
            frozenset({grant.role}),
            frozenset({grant.target.short_name}),
            frozenset({str(member)}),
        )

    def _workloads(self) -> list[Guardrails]:
        """Return an entry for each kind and location of workloads with an attachment or a grant."""
        names: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        attached = (state.workload.target for state in self._selection.attached)
        for target in (*attached, *(grant.target for grant in self._selection.grants)):
            if target.kind.value in _WORKLOADS:
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
    return entry.kind, entry.escalates, *(getattr(entry, each) for each in _LISTS if each != field)


def _with(key: tuple[Any, ...], field: str, values: frozenset[str]) -> Entry:
    kind, escalates, *others = key
    lists = dict(zip((each for each in _LISTS if each != field), others, strict=True))
    return Entry(kind, escalates, **lists, **{field: values})


def _split(entry: Entry) -> Iterator[Entry]:
    lists = [_parts(sorted(getattr(entry, field))) for field in _LISTS]
    for roles, names, members in product(*lists):
        yield Entry(entry.kind, entry.escalates, frozenset(roles), frozenset(names), frozenset(members))


def _parts(items: list[str]) -> list[list[str]]:
    return [items[start : start + MAX_ENTRIES] for start in range(0, len(items), MAX_ENTRIES)]


def _order(entry: Entry) -> tuple[int, bool, list[str], list[str], list[str]]:
    return (
        list(TargetKind).index(entry.kind),
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
_WORKLOADS = frozenset(kind.value for kind in WorkloadKind)
