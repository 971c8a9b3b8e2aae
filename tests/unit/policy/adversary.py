"""What may befall a pass between any two of its steps."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

from hypothesis import strategies as st

from cloudrun_identity.api import TargetKind
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.iam.grants import BindingKey, Grant, IAMCondition, Target
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.exclusive import is_protected


class Moment(StrEnum):
    """The lane's checkpoints by their names, and both sides of a write as Google sees it."""

    READ = "policy read"
    AHEAD = "ledger written ahead"
    BEFORE_SET = "before the policy is set"
    AFTER_SET = "after the policy is set"
    WRITTEN = "policy written"
    SETTLED = "ledger settled"


@dataclass(frozen=True, slots=True)
class Edit:
    """Somebody else adds a grant, in some spelling of its member, or takes it away."""

    grant: Grant
    spelling: str = ""


@dataclass(frozen=True, slots=True)
class Meddling:
    """Somebody else makes or takes away one of the very grants that objects declare just now."""

    number: int
    adds: bool


@dataclass(frozen=True, slots=True)
class Death:
    """The process ends."""


@dataclass(frozen=True, slots=True)
class Unsent:
    """A write is not even sent, for want of a token."""


Action: TypeAlias = Edit | Meddling | Death | Unsent | Fault


@dataclass(frozen=True, slots=True)
class Ambush:
    """What befalls a pass when it comes to a moment for the n-th time."""

    moment: Moment
    action: Action
    time: int = 1


TARGETS = (
    Target(TargetKind.PROJECT, "acme"),
    Target(TargetKind.SERVICE, "acme", "europe-west1", "web"),
)
SLOTS = (
    BindingKey(TARGETS[0], "roles/a"),
    BindingKey(TARGETS[0], "roles/a", IAMCondition("office hours", "", "true")),
    BindingKey(TARGETS[1], "roles/a"),
)
ACCOUNT = "serviceAccount:app@acme.iam.gserviceaccount.com"
"""An account that is deleted and created anew now and then."""

CONTESTED_MEMBERS = (ACCOUNT, "user:ann@acme.example", "group:ops@acme.example")
FOREIGN_MEMBERS = (
    "user:eve@other.example",
    f"deleted:{ACCOUNT}?uid=333",
    "deleted:user:bob@other.example?uid=444",
    "principal://iam.googleapis.com/projects/4/locations/global/workloadIdentityPools/P/subject/S",
    "projectOwner:acme",
)
CLAIMANTS = tuple(Owner("IAMBinding", "payments", name, "uid") for name in ("one", "two", "three"))


def grant_in(binding_key: BindingKey, member: str) -> Grant:
    return Grant(binding_key.target, binding_key.role, member, binding_key.condition)


OURS = tuple(grant_in(binding_key, member) for binding_key in SLOTS for member in CONTESTED_MEMBERS)
"""What objects declare; others grant the same."""

ANYBODYS = (*OURS, *(grant_in(binding_key, member) for binding_key in SLOTS for member in FOREIGN_MEMBERS))


@dataclass(frozen=True, slots=True, repr=False)
class RequestedGrant:
    """What one object declares. Printed by the numbers of its grants in OURS and its bindings in SLOTS."""

    grants: frozenset[Grant] = frozenset()
    exclusive: frozenset[BindingKey] = frozenset()
    writable: bool = True
    abandon: bool = False
    owns_existing: bool = False

    def __repr__(self) -> str:
        traits = [name for name in ("writable", "abandon", "claims_existing") if getattr(self, name)]
        grants, alone = sorted(map(OURS.index, self.grants)), sorted(map(SLOTS.index, self.exclusive))
        return f"Wish({grants}, alone in {alone}, {', '.join(traits) or 'observed'})"

    def evicts(self, grant: Grant) -> bool:
        """Whether the grant, if it is somebody else's, stands in a binding that this object clears."""
        return self.writable and grant.binding_key in self.exclusive and not is_protected(grant.member)

    def letting_go(self) -> "RequestedGrant":
        """The same object on its deletion."""
        return replace(self, grants=frozenset(), exclusive=frozenset(), writable=True)


def _spellings(grant: Grant) -> list[str]:
    kind, _, name = grant.member.partition(":")
    varied = [f"{kind}:{name.title()}"] if kind in ("user", "group", "serviceAccount") else []
    return [grant.member, *varied]


_EDITS = tuple(Edit(grant, spelling) for grant in ANYBODYS for spelling in ("", *_spellings(grant)))
_BINDINGS = (*[frozenset[BindingKey]()] * 3, *(frozenset({binding_key}) for binding_key in SLOTS))


# By number: hypothesis prints the elements of what it samples from, and these fill pages.
edits = st.integers(0, len(_EDITS) - 1).map(lambda number: _EDITS[number])
our_grants = st.integers(0, len(OURS) - 1).map(lambda number: OURS[number])
owners = st.integers(0, len(CLAIMANTS) - 1).map(lambda number: CLAIMANTS[number])
_wishes = st.builds(
    RequestedGrant,
    st.frozensets(st.integers(0, len(OURS) - 1), max_size=4).map(
        lambda numbers: frozenset(OURS[number] for number in numbers)
    ),
    st.integers(0, len(_BINDINGS) - 1).map(lambda number: _BINDINGS[number]),
    st.sampled_from([True, True, True, False]),
    st.sampled_from([False, False, True]),
    st.booleans(),
)
_meddlings = st.builds(Meddling, st.integers(0, 7), st.booleans())
_everywhere = st.one_of(edits, _meddlings, _meddlings, st.just(Death()))
_times = st.sampled_from([1, 1, 1, 2, 3])
_ambushes = st.lists(
    st.one_of(
        st.builds(Ambush, st.sampled_from(Moment), _everywhere, _times),
        st.builds(
            Ambush,
            st.just(Moment.BEFORE_SET),
            st.sampled_from([Fault.ABORTED, Fault.UNAVAILABLE, Fault.PERMISSION_DENIED, Unsent()]),
            _times,
        ),
        st.builds(Ambush, st.just(Moment.AFTER_SET), st.just(Fault.UNAVAILABLE), _times),
    ),
    max_size=3,
)


# Called rather than built: hypothesis prints the whole of what a rule draws from, but of these the name.
@st.composite
def requested_grants(draw: st.DrawFn) -> RequestedGrant:
    return draw(_wishes)


@st.composite
def ambushes(draw: st.DrawFn) -> list[Ambush]:
    return draw(_ambushes)
