"""Merge desired grants and removals into an IAM policy, and keep everything else byte for byte.

`merge(policy, desired_grants, removals)` returns the policy with every desired grant and without the removed
ones. Unmanaged members, conditions, audit configs and their order are kept. If nothing differs, the result
has the same policy object, because even a write of identical content changes the etag for other writers.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from google.iam.v1.policy_pb2 import Binding, Policy
from google.type.expr_pb2 import Expr

from cloudrun_identity.iam.grants import Grant, IAMCondition, Target
from cloudrun_identity.iam.principals import normalise

from .desired_grants import DesiredGrant

RoleAndCondition = tuple[str, IAMCondition | None]
"""Key of a binding within a policy."""


@dataclass(frozen=True, slots=True)
class Removal:
    """A grant to remove, in all forms in which the policy may show it."""

    grant: Grant
    """The grant as it was declared."""
    unique_ids: tuple[str, ...] = ()
    """The unique IDs of the accounts that had it."""
    only_deleted: bool = False
    """True to leave the member under its plain e-mail, which is another account now."""
    members: tuple[str, ...] = ()
    """The members as which the policy may show it: registered and deleted forms."""
    retained: frozenset[Grant] = frozenset()
    """The grants that stay for another entry."""
    successors: frozenset[Grant] = frozenset()
    """The grants that take its place with another end. It is removed only from a policy that has all of them
    after the same write, so that a refused successor never shortens access."""

    @property
    def forms(self) -> frozenset[Grant]:
        """The grant as policies show it, also for accounts that were deleted since."""
        deleted = frozenset(map(self.grant.deleted_form, self.unique_ids))
        others = frozenset(self.grant.of(member) for member in self.members)
        plain = frozenset[Grant]() if self.only_deleted else frozenset({self.grant})
        return (plain | deleted | others) - self.retained


@dataclass(frozen=True, slots=True)
class Merged:
    """The merged policy and the changes in it; both sets are empty if the policy is unchanged."""

    policy: Policy
    added: frozenset[Grant]
    removed: frozenset[Grant]


def merge(
    policy: Policy,
    desired_grants: Iterable[DesiredGrant],
    removals: Iterable[Removal] = (),
    registered: Mapping[Grant, Collection[Grant]] = MappingProxyType({}),
) -> Merged:
    """Return the policy with every desired grant, and without the removals that no object desires.

    `registered` has the forms in which the policy shows grants that stay, besides the declared form.
    """
    desired_grants = tuple(desired_grants)
    wanted = {desired.grant for desired in desired_grants}
    retained = {form for forms in registered.values() for form in forms}
    present = _members(policy)

    def is_present(grant: Grant) -> bool:
        forms = {grant, *registered.get(grant, ())}
        return not present[role_and_condition(grant)].isdisjoint(form.member for form in forms)

    leaving: dict[RoleAndCondition, set[str]] = defaultdict(set)
    removed = set()
    for removal in removals:
        if removal.grant in wanted or not all(map(is_present, removal.successors - wanted)):
            continue
        found = {form.member for form in removal.forms - retained} & present[
            role_and_condition(removal.grant)
        ]
        if found:
            leaving[role_and_condition(removal.grant)] |= found
            removed.add(removal.grant)
    added: dict[Grant, None] = {}
    for desired in desired_grants:
        leaving[role_and_condition(desired.grant)] |= {
            tombstone.member for tombstone in desired.tombstones
        } & present[role_and_condition(desired.grant)]
        if not is_present(desired.grant):
            added[desired.grant] = None
    if not added and not any(leaving.values()):
        return Merged(policy, frozenset(), frozenset())
    merged = Policy()
    merged.CopyFrom(policy)
    _remove(merged, leaving)
    _add(merged, added)
    return Merged(merged, frozenset(added), frozenset(removed))


def grants_in(policy: Policy, target: Target) -> frozenset[Grant]:
    """Return every grant in the policy of `target`, with normalized members."""
    return frozenset(
        Grant(target, role, member, condition)
        for (role, condition), members in _members(policy).items()
        for member in members
    )


def role_and_condition(grant: Grant) -> RoleAndCondition:
    """Return the key of the binding of a grant within its policy."""
    return grant.role, grant.condition


def key_of(binding: Binding) -> RoleAndCondition:
    """Return the key of a binding within its policy."""
    if not binding.HasField("condition"):
        return binding.role, None
    expr = binding.condition
    return binding.role, IAMCondition(expr.title, expr.description, expr.expression)


def _members(policy: Policy) -> defaultdict[RoleAndCondition, set[str]]:
    members: defaultdict[RoleAndCondition, set[str]] = defaultdict(set)
    for binding in policy.bindings:
        members[key_of(binding)].update(map(normalise, binding.members))
    return members


def _remove(policy: Policy, leaving: dict[RoleAndCondition, set[str]]) -> None:
    for binding in policy.bindings:
        removed = leaving.get(key_of(binding), set())
        kept = [member for member in binding.members if normalise(member) not in removed]
        if len(kept) < len(binding.members):
            binding.members[:] = kept
    emptied = [
        index
        for index, binding in enumerate(policy.bindings)
        if not binding.members and leaving.get(key_of(binding))
    ]
    for index in reversed(emptied):
        del policy.bindings[index]


def _add(policy: Policy, grants: Iterable[Grant]) -> None:
    first = {key_of(binding): binding for binding in reversed(policy.bindings)}
    for grant in grants:
        binding = first.get(role_and_condition(grant))
        if binding is None:
            binding = first[role_and_condition(grant)] = policy.bindings.add(role=grant.role)
            if grant.condition:
                binding.condition.CopyFrom(_expr(grant.condition))
        binding.members.append(grant.member)


def _expr(condition: IAMCondition) -> Expr:
    return Expr(title=condition.title, description=condition.description, expression=condition.expression)
