"""Capacity of IAM policies and of ledgers.

A ledger is one object, and the API server limits its size. Objects of every namespace may own the same grant,
and conditions may be long. The capacity of a ledger is divided, so that many owners of few grants do not
prevent grants of other objects.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from cloudrun_identity.api import MAX_GROUPS, MAX_MEMBERS, MAX_PRINCIPALS, LedgerEntry, LedgerTemporaryGrant
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.grants import BindingKey, Grant

from .desired_grants import DesiredGrant
from .usage import PolicyUsage

MAX_OWNERS: Final = 1500
"""The owners that a ledger records for one grant."""

GRANT_BUDGET: Final = 540_000
"""The characters of JSON for all grants with one owner each: half of the size limit of a ledger."""

OWNER_BUDGET: Final = 360_000
"""The characters of JSON for further owners: a third of the limit. Accounts, keys and roles use the rest."""

REPLACEMENT_BUDGET: Final = 48_000
"""The characters of JSON by which grants that replace others may exceed the budget of grants. The ledger has
both until the policy is written."""

MAX_CONDITIONS: Final = 20
"""The role bindings of a policy with the same role and principal and different conditions.

See https://cloud.google.com/iam/quotas, “Role bindings in a single allow policy”.
"""

LEDGER_FULL: Final = GoogleError(
    Fault.INVALID_ARGUMENT,
    "",
    f"the ledger of this policy is full: the limit is {MAX_MEMBERS} grants, and about one megabyte "
    "with their conditions and owners; declare fewer grants, or grant the role to a group instead of its "
    "members",
)


def over_capacity(
    desired_grants: Sequence[DesiredGrant],
    present: Collection[Grant],
    newest: Collection[Grant],
    usage: PolicyUsage,
) -> dict[Grant, GoogleError]:
    """Return the refusal of each desired grant that exceeds a limit of the policy, the newest ones first.

    `usage` is that of the policy without the grants that are removed. A grant that replaces a tombstone needs
    no further place for a principal.
    """
    missing = [desired for desired in desired_grants if desired.grant not in present]
    missing.sort(key=lambda desired: desired.grant in newest)
    full_of_principals, full_of_groups = _full_of_principals(usage), _full_of_groups(usage)
    refused = {}
    for desired in missing:
        replaces = not desired.tombstones.isdisjoint(present)
        if not replaces and usage.principals >= MAX_PRINCIPALS:
            refused[desired.grant] = full_of_principals
        elif usage.adds_group(desired.grant) and usage.groups_and_domains >= MAX_GROUPS:
            refused[desired.grant] = full_of_groups
        else:
            usage = usage.with_grant(desired.grant, replaces=replaces)
    return refused


def over_conditions(
    desired_grants: Sequence[DesiredGrant], present: Collection[Grant]
) -> dict[Grant, GoogleError]:
    """Return the refusal of each desired grant that exceeds the limit on conditions of one role and member.

    `present` are the grants in the policy, without those that are removed.
    """
    missing = [desired.grant for desired in desired_grants if desired.grant not in present]
    conditions = Counter((grant.role, grant.member) for grant in present if grant.condition)
    refused = {}
    for grant in missing if conditions else ():
        if grant.condition is None:
            continue
        if conditions[grant.role, grant.member] >= MAX_CONDITIONS:
            refused[grant] = _full_of_conditions(grant)
        else:
            conditions[grant.role, grant.member] += 1
    return refused


def _full_of_conditions(grant: Grant) -> GoogleError:
    return GoogleError(
        Fault.INVALID_ARGUMENT,
        "",
        f"the policy has {MAX_CONDITIONS} bindings of {grant.role} for {grant.member} with different "
        "conditions, which is the limit; remove one of them, or let the operator alone end temporary grants "
        "(expiryEnforcedBy: Operator), which needs no condition",
    )


def _full_of_principals(usage: PolicyUsage) -> GoogleError:
    exempted = (
        f"{usage.exempted} of them are exempted from audit logging; remove such exemptions or members, or "
        if usage.exempted
        else "remove some, or "
    )
    return GoogleError(
        Fault.INVALID_ARGUMENT,
        "",
        f"the policy has {usage.principals} of at most {MAX_PRINCIPALS} principals, where a member counts "
        f"once for each of its roles and conditions; {exempted}grant the role to a group instead of its "
        "members",
    )


def _full_of_groups(usage: PolicyUsage) -> GoogleError:
    return GoogleError(
        Fault.INVALID_ARGUMENT,
        "",
        f"the policy has {usage.groups_and_domains} of at most {MAX_GROUPS} groups and domains; remove some, "
        "or make one group a member of another group that is in the policy already",
    )


class LedgerCapacity:
    """The free capacity of one ledger."""

    def __init__(
        self,
        entries: Iterable[tuple[Grant, LedgerEntry]],
        temporary: Iterable[tuple[Grant, LedgerTemporaryGrant]] = (),
    ) -> None:
        """Initialize the capacity that is left beside existing entries and records of temporary grants."""
        self._for_grants = GRANT_BUDGET - sum(_temporary_size(grant, record) for grant, record in temporary)
        self._for_owners = OWNER_BUDGET
        self._bindings: set[BindingKey] = set()
        for grant, entry in entries:
            forms = (*entry.registered_members, *entry.tombstones, *entry.unmanaged_tombstones)
            self._add(grant, self._size(grant, (*entry.owners[:1], *entry.unique_ids, *forms)))
            self._for_owners -= sum(map(_written_size, entry.owners[1:]))

    @property
    def fits_records(self) -> bool:
        """Return whether the ledger has room for the records of grants that cannot replace others yet."""
        return self._for_grants >= -REPLACEMENT_BUDGET

    def add(self, grant: Grant, owner: str, *, replaces: bool = False) -> bool:
        """Add a grant with one owner. Return False if there is no room for it.

        With `replaces`, it takes the place of a grant that leaves the ledger after the write.
        """
        size = self._size(grant, (owner,))
        if size > self._for_grants + (REPLACEMENT_BUDGET if replaces else 0):
            return False
        self._add(grant, size)
        return True

    def add_owners(self, recorded: Collection[str], others: Collection[str]) -> frozenset[str]:
        """Add further owners of a grant, as far as there is room. Return all recorded owners.

        An owner without room shares the grant while it is present, and is recorded as soon as there is room.
        """
        owners = set(recorded)
        for owner in sorted(set(others) - owners):
            if len(owners) >= MAX_OWNERS or _written_size(owner) > self._for_owners:
                break
            self._for_owners -= _written_size(owner)
            owners.add(owner)
        return frozenset(owners)

    def _add(self, grant: Grant, size: int) -> None:
        self._for_grants -= size
        self._bindings.add(grant.binding_key)

    def _size(self, grant: Grant, listed: Iterable[str]) -> int:
        """Return the size of an entry. A role and its condition are written once for all members."""
        size = _FIELDS_SIZE + _written_size(grant.member) + sum(map(_written_size, listed))
        if grant.binding_key in self._bindings:
            return size
        condition = grant.condition
        texts = (condition.title, condition.description, condition.expression) if condition else ()
        return size + _FIELDS_SIZE + sum(map(_written_size, (grant.role, *texts)))


def _temporary_size(grant: Grant, record: LedgerTemporaryGrant) -> int:
    condition = grant.condition
    texts = (condition.title, condition.description, condition.expression) if condition else ()
    return 2 * _FIELDS_SIZE + sum(map(_written_size, (grant.role, grant.member, record.owner, *texts)))


def _written_size(text: str) -> int:
    return len(json.dumps(text)) + len(", ")


_FIELDS_SIZE = 128  # the names of an entry's fields, its state, and the punctuation of JSON
