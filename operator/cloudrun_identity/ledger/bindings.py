"""Grants of a ledger, written to and read from the bindings of its object."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from cloudrun_identity.api import BindingCondition, LedgerBinding, LedgerEntry, LedgerLeftGrant
from cloudrun_identity.iam.grants import Grant, IAMCondition, Target, condition_of

Entries = Mapping[Grant, LedgerEntry]
"""Ledger entries by their grants."""


def entries_in(bindings: Iterable[LedgerBinding], target: Target) -> dict[Grant, LedgerEntry]:
    """Return the entries in bindings of the policy of `target`, in their order."""
    return {
        Grant(target, binding.role, entry.member, condition): entry
        for binding in bindings
        for condition in (condition_of(binding.condition),)
        for entry in binding.members
    }


def bindings_of(entries: Entries) -> tuple[LedgerBinding, ...]:
    """Return entries by role and condition, in canonical order."""
    members: defaultdict[tuple[str, IAMCondition | None], list[LedgerEntry]] = defaultdict(list)
    for grant in sorted(entries, key=order_in_ledger):
        members[grant.role, grant.condition].append(entries[grant])
    # Constructing validated bindings would check each of their entries again.
    return tuple(
        LedgerBinding.model_construct(
            role=role, condition=binding_condition(condition), members=tuple(its_members)
        )
        for (role, condition), its_members in members.items()
    )


def left_in(records: Iterable[LedgerLeftGrant], target: Target) -> dict[Grant, str]:
    """Return the grants in records of the policy of `target`, each with the object that left it."""
    return {
        Grant(target, each.role, each.member, condition_of(each.condition)): each.owner for each in records
    }


def left_records(left: Mapping[Grant, str]) -> tuple[LedgerLeftGrant, ...]:
    """Return the records of grants that objects left, in canonical order."""
    return tuple(
        LedgerLeftGrant(
            role=grant.role,
            condition=binding_condition(grant.condition),
            member=grant.member,
            owner=left[grant],
        )
        for grant in sorted(left, key=order_in_ledger)
    )


def order_in_ledger(grant: Grant) -> tuple[str, bool, tuple[str, str, str], str]:
    """Return the sort key of a grant in a ledger."""
    condition = grant.condition
    text = (condition.title, condition.description, condition.expression) if condition else ("", "", "")
    return grant.role, condition is not None, text, grant.member


def binding_condition(condition: IAMCondition | None) -> BindingCondition | None:
    """Return an IAM condition as a ledger writes it."""
    if condition is None:
        return None
    return BindingCondition.model_construct(
        title=condition.title, description=condition.description or None, expression=condition.expression
    )
