"""Records of temporary grants in a ledger, by the object and the grant that it declares."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TypeAlias

from cloudrun_identity.api import LedgerTemporaryGrant
from cloudrun_identity.iam.expiry import Term, as_granted
from cloudrun_identity.iam.grants import Grant, Target, condition_of

from .bindings import binding_condition, order_in_ledger

OwnerAndGrant: TypeAlias = tuple[str, Grant]
"""An owner key, and a grant of that object."""

TemporaryGrants: TypeAlias = Mapping[OwnerAndGrant, LedgerTemporaryGrant]
"""Records by owner key and by the grant under its declared condition."""


def temporary_in(
    records: Iterable[LedgerTemporaryGrant], target: Target
) -> dict[OwnerAndGrant, LedgerTemporaryGrant]:
    """Return the records of the ledger of `target`."""
    return {
        (each.owner_key, Grant(target, each.role, each.member, condition_of(each.condition))): each
        for each in records
    }


def temporary_records(temporary: TemporaryGrants) -> tuple[LedgerTemporaryGrant, ...]:
    """Return the records in canonical order."""
    ordered = sorted(temporary, key=lambda key: (order_in_ledger(key[1]), key[0]))
    return tuple(temporary[key] for key in ordered)


def record_of(base: Grant, owner: str, term: Term, *, by_google: bool) -> LedgerTemporaryGrant:
    """Return the record of a temporary grant. The `owner` is written as KIND/NAMESPACE/NAME/UID."""
    return LedgerTemporaryGrant.model_construct(
        role=base.role,
        condition=binding_condition(base.condition),
        member=base.member,
        owner=owner,
        start_time=term.start,
        expires_at=term.end,
        granted=term.is_granted,
        enforced_by_google=by_google,
    )


def recorded_term(record: LedgerTemporaryGrant | None, owner: str) -> Term | None:
    """Return the recorded term of a grant of this object; None if there is none.

    The record of a former object of the same name is none of this object: the grant of a recreated object is
    a new request, which the guardrails admit again.
    """
    if record is None or record.owner != owner:
        return None
    return Term(record.start_time, record.expires_at, record.granted)


def by_granted(records: TemporaryGrants) -> Mapping[OwnerAndGrant, tuple[Grant, timedelta]]:
    """Return the declared grant and the length of each record, by its owner and the grant in the policy."""
    return {
        (owner_key, grant): (base, record.expires_at - record.start_time)
        for (owner_key, base), record in records.items()
        for grant in possible_grants(base, record)
    }


def declared_by_granted(records: TemporaryGrants) -> Mapping[OwnerAndGrant, Grant]:
    """Return the declared grant of each record, by its owner and the grant in the policy."""
    return {key: base for key, (base, _) in by_granted(records).items()}


def possible_grants(base: Grant, record: LedgerTemporaryGrant) -> frozenset[Grant]:
    """Return the grants that the policy may contain for a record of `base`.

    The form without the end as a condition is one of them: the record changes before the policy does, so an
    edit of `expiryEnforcedBy` may be recorded while the policy still has the former grant.
    """
    return frozenset({base, recorded_grant(base, record)})


def recorded_grant(base: Grant, record: LedgerTemporaryGrant) -> Grant:
    """Return the grant that the policy contains for a record of `base`."""
    return as_granted(base, record.expires_at, by_google=record.enforced_by_google)
