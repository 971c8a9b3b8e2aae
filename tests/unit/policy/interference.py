"""Interference with a sync between any two of its steps: edits, crashes and faults."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

from hypothesis import strategies as st

from cloudrun_identity.api import TargetKind
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.iam.grants import BindingKey, Grant, IAMCondition, Target
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.exclusive import is_protected


class SyncPoint(StrEnum):
    """The checkpoints of a sync by their names, and the times just before and after a policy is set."""

    READ = "policy read"
    AHEAD = "ledger written ahead"
    BEFORE_SET = "before the policy is set"
    AFTER_SET = "after the policy is set"
    WRITTEN = "policy written"
    SETTLED = "ledger settled"


@dataclass(frozen=True, slots=True)
class Edit:
    """Another writer adds a grant with a spelling of its member, or removes it if the spelling is empty."""

    grant: Grant
    spelling: str = ""


@dataclass(frozen=True, slots=True)
class DesiredGrantEdit:
    """Another writer adds or removes one of the grants that objects desire at that time."""

    number: int
    adds: bool


@dataclass(frozen=True, slots=True)
class ProcessCrash:
    """The process crashes."""


@dataclass(frozen=True, slots=True)
class UnsentWrite:
    """A write is not sent, because there is no token."""


Action: TypeAlias = Edit | DesiredGrantEdit | ProcessCrash | UnsentWrite | Fault


@dataclass(frozen=True, slots=True)
class Interference:
    """An action when a sync reaches a point for the n-th time."""

    point: SyncPoint
    action: Action
    time: int = 1


TARGETS = (
    Target(TargetKind.PROJECT, "acme"),
    Target(TargetKind.SERVICE, "acme", "europe-west1", "web"),
)
BINDING_KEYS = (
    BindingKey(TARGETS[0], "roles/a"),
    BindingKey(TARGETS[0], "roles/a", IAMCondition("office hours", "", "true")),
    BindingKey(TARGETS[1], "roles/a"),
)
ACCOUNT = "serviceAccount:app@acme.iam.gserviceaccount.com"
"""An account that may be recreated."""

SHARED_MEMBERS = (ACCOUNT, "user:ann@acme.example", "group:ops@acme.example")
UNMANAGED_MEMBERS = (
    "user:eve@other.example",
    f"deleted:{ACCOUNT}?uid=333",
    "deleted:user:bob@other.example?uid=444",
    "principal://iam.googleapis.com/projects/4/locations/global/workloadIdentityPools/P/subject/S",
    "projectOwner:acme",
)
OWNERS = tuple(Owner("IAMBinding", "payments", name, "uid") for name in ("one", "two", "three"))


def grant_in(binding_key: BindingKey, member: str) -> Grant:
    return Grant(binding_key.target, binding_key.role, member, binding_key.condition)


DESIRABLE_GRANTS = tuple(
    grant_in(binding_key, member) for binding_key in BINDING_KEYS for member in SHARED_MEMBERS
)
"""The grants that objects may desire. Another writer may make them, too."""

EDITABLE_GRANTS = (
    *DESIRABLE_GRANTS,
    *(grant_in(binding_key, member) for binding_key in BINDING_KEYS for member in UNMANAGED_MEMBERS),
)


@dataclass(frozen=True, slots=True, repr=False)
class Declaration:
    """The declaration of one object, printed by the numbers of its grants and its binding keys."""

    grants: frozenset[Grant] = frozenset()
    exclusive: frozenset[BindingKey] = frozenset()
    writable: bool = True
    abandon: bool = False
    owns_existing: bool = False

    def __repr__(self) -> str:
        traits = [name for name in ("writable", "abandon", "owns_existing") if getattr(self, name)]
        grants, exclusive = (
            sorted(map(DESIRABLE_GRANTS.index, self.grants)),
            sorted(map(BINDING_KEYS.index, self.exclusive)),
        )
        return f"Declaration({grants}, exclusive {exclusive}, {', '.join(traits) or 'observed'})"

    def excludes(self, grant: Grant) -> bool:
        """Return whether the object excludes an unmanaged grant from its binding."""
        return self.writable and grant.binding_key in self.exclusive and not is_protected(grant.member)

    def deleted(self) -> "Declaration":
        """Return the declaration of the object on its deletion."""
        return replace(self, grants=frozenset(), exclusive=frozenset(), writable=True)


def _spellings(grant: Grant) -> list[str]:
    kind, _, name = grant.member.partition(":")
    varied = [f"{kind}:{name.title()}"] if kind in ("user", "group", "serviceAccount") else []
    return [grant.member, *varied]


_EDITS = tuple(Edit(grant, spelling) for grant in EDITABLE_GRANTS for spelling in ("", *_spellings(grant)))
_BINDINGS = (*[frozenset[BindingKey]()] * 3, *(frozenset({binding_key}) for binding_key in BINDING_KEYS))


# Drawn by number, because hypothesis prints all elements of a sampled sequence.
edits = st.integers(0, len(_EDITS) - 1).map(lambda number: _EDITS[number])
desirable_grants = st.integers(0, len(DESIRABLE_GRANTS) - 1).map(lambda number: DESIRABLE_GRANTS[number])
owners = st.integers(0, len(OWNERS) - 1).map(lambda number: OWNERS[number])
_declarations = st.builds(
    Declaration,
    st.frozensets(st.integers(0, len(DESIRABLE_GRANTS) - 1), max_size=4).map(
        lambda numbers: frozenset(DESIRABLE_GRANTS[number] for number in numbers)
    ),
    st.integers(0, len(_BINDINGS) - 1).map(lambda number: _BINDINGS[number]),
    st.sampled_from([True, True, True, False]),
    st.sampled_from([False, False, True]),
    st.booleans(),
)
_desired_grant_edits = st.builds(DesiredGrantEdit, st.integers(0, 7), st.booleans())
_everywhere = st.one_of(edits, _desired_grant_edits, _desired_grant_edits, st.just(ProcessCrash()))
_times = st.sampled_from([1, 1, 1, 2, 3])
_interferences = st.lists(
    st.one_of(
        st.builds(Interference, st.sampled_from(SyncPoint), _everywhere, _times),
        st.builds(
            Interference,
            st.just(SyncPoint.BEFORE_SET),
            st.sampled_from([Fault.ABORTED, Fault.UNAVAILABLE, Fault.PERMISSION_DENIED, UnsentWrite()]),
            _times,
        ),
        st.builds(Interference, st.just(SyncPoint.AFTER_SET), st.just(Fault.UNAVAILABLE), _times),
    ),
    max_size=3,
)


# Composite strategies, because hypothesis prints only their names.
@st.composite
def declarations(draw: st.DrawFn) -> Declaration:
    return draw(_declarations)


@st.composite
def interferences(draw: st.DrawFn) -> list[Interference]:
    return draw(_interferences)
