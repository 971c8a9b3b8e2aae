"""Merging claims into one IAM policy without touching what is not ours.

`merge(policy, claims, released)` gives the policy that holds every claim and none of the released grants. All
else in it survives byte for byte and in its order, and where nothing differs the very same object comes back,
because a write of identical content still moves the etag for everybody else.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from google.iam.v1.policy_pb2 import Binding, Policy
from google.type.expr_pb2 import Expr

from cloudrun_identity.iam.grants import Grant, IAMCondition, Target
from cloudrun_identity.iam.principals import normalise

from .desired_grants import DesiredGrant

_Slot = tuple[str, IAMCondition | None]


@dataclass(frozen=True, slots=True)
class Release:
    """A grant of ours that nobody claims any more; `unique_ids` are the accounts it was given to."""

    grant: Grant
    unique_ids: tuple[str, ...] = ()

    @property
    def forms(self) -> frozenset[Grant]:
        """The grant as policies show it, for accounts that were deleted since, too."""
        return frozenset({self.grant, *map(self.grant.deleted_form, self.unique_ids)})


@dataclass(frozen=True, slots=True)
class Merged:
    """The merged policy, and what was done to get there; both sets are empty if the policy is unchanged."""

    policy: Policy
    added: frozenset[Grant]
    removed: frozenset[Grant]


def merge(policy: Policy, desired_grants: Iterable[DesiredGrant], released: Iterable[Release] = ()) -> Merged:
    """The policy with every claim in it and no released grant, unless a claim still wants that one."""
    desired_grants = tuple(desired_grants)
    claimed = {desired_grant.grant for desired_grant in desired_grants}
    present = _members(policy)
    doomed: dict[_Slot, set[str]] = defaultdict(set)
    removed = set()
    for release in released:
        if release.grant in claimed:
            continue
        binding_key = _slot(release.grant)
        found = {form.member for form in release.forms} & present[binding_key]
        if found:
            doomed[binding_key] |= found
            removed.add(release.grant)
    added: dict[Grant, None] = {}
    for desired_grant in desired_grants:
        binding_key = _slot(desired_grant.grant)
        doomed[binding_key] |= {tombstone.member for tombstone in desired_grant.tombstones} & present[
            binding_key
        ]
        if desired_grant.grant.member not in present[binding_key]:
            added[desired_grant.grant] = None
    if not added and not any(doomed.values()):
        return Merged(policy, frozenset(), frozenset())
    merged = Policy()
    merged.CopyFrom(policy)
    _remove(merged, doomed)
    _add(merged, added)
    return Merged(merged, frozenset(added), frozenset(removed))


def grants_in(policy: Policy, target: Target) -> frozenset[Grant]:
    """Every grant that stands in the policy of `target`, with normalised members."""
    return frozenset(
        Grant(target, role, member, condition)
        for (role, condition), members in _members(policy).items()
        for member in members
    )


def _slot(grant: Grant) -> _Slot:
    return grant.role, grant.condition


def _slot_of(binding: Binding) -> _Slot:
    if not binding.HasField("condition"):
        return binding.role, None
    expr = binding.condition
    return binding.role, IAMCondition(expr.title, expr.description, expr.expression)


def _members(policy: Policy) -> defaultdict[_Slot, set[str]]:
    members: defaultdict[_Slot, set[str]] = defaultdict(set)
    for binding in policy.bindings:
        members[_slot_of(binding)].update(map(normalise, binding.members))
    return members


def _remove(policy: Policy, doomed: dict[_Slot, set[str]]) -> None:
    for binding in policy.bindings:
        gone = doomed.get(_slot_of(binding), set())
        kept = [member for member in binding.members if normalise(member) not in gone]
        if len(kept) < len(binding.members):
            binding.members[:] = kept
    emptied = [
        index
        for index, binding in enumerate(policy.bindings)
        if not binding.members and doomed.get(_slot_of(binding))
    ]
    for index in reversed(emptied):
        del policy.bindings[index]


def _add(policy: Policy, grants: Iterable[Grant]) -> None:
    home = {_slot_of(binding): binding for binding in reversed(policy.bindings)}
    for grant in grants:
        binding = home.get(_slot(grant))
        if binding is None:
            binding = home[_slot(grant)] = policy.bindings.add(role=grant.role)
            if grant.condition:
                binding.condition.CopyFrom(_expr(grant.condition))
        binding.members.append(grant.member)


def _expr(condition: IAMCondition) -> Expr:
    return Expr(title=condition.title, description=condition.description, expression=condition.expression)
