"""Registered forms: members that an IAM policy shows under another address than the operator wrote.

A policy means principals, and shows the primary address of each. A write of an alias, or of a secondary
address, returns 200 OK and a policy with the primary address
(https://github.com/hashicorp/terraform-provider-google/issues/5123, also 8136; for groups 10128). After a
rename in Google Workspace, every policy shows the new address.

The reply to a write is the truth: a member that was sent and is absent from the reply was registered in
another form. `match_forms` finds it. The ledger records it, and the grant counts as present through it. A
member that cannot be matched is reported, and not written again before the policy changes.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cloudrun_identity.api import GrantState, LedgerEntry
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.grants import BindingKey, Grant
from cloudrun_identity.iam.principals import PrincipalKind, parse
from cloudrun_identity.ledger.model import Ledger, changed_entry

from .tombstones import tombstones_of

_Group = tuple[BindingKey, PrincipalKind]
"""Members that Google Cloud may register as one another: a user is never registered as a group."""


@dataclass(frozen=True, slots=True)
class Match:
    """The forms in which a reply shows a grant."""

    forms: frozenset[Grant]
    together: bool = False
    """True if several members were registered, and the forms may be those of another one of them."""


@dataclass(frozen=True, slots=True)
class Matches:
    """The result of comparing the members sent with the members in the reply."""

    matched: Mapping[Grant, Match] = field(default_factory=dict)
    """The grants that the reply shows in another form."""
    unmatched: Mapping[Grant, frozenset[Grant]] = field(default_factory=dict)
    """The grants that the reply does not show, with the members that may be their registered form."""


@dataclass(frozen=True, slots=True)
class Before:
    """The state before a sync."""

    entries: Mapping[Grant, LedgerEntry] = field(default_factory=dict)
    """The ledger entries."""
    shown: frozenset[Grant] = frozenset()
    """The grants in the policy as it was first read."""

    def was_unmanaged(self, form: Grant) -> bool:
        """Return whether a grant was in the policy and the operator had not made it."""
        return form in self.shown and not any(
            entry.is_made and not entry.present_before and form in {grant, *_forms_of(grant, entry)}
            for grant, entry in self.entries.items()
        )


def registered_grants(entries: Mapping[Grant, LedgerEntry]) -> dict[Grant, frozenset[Grant]]:
    """Return the registered forms that entries record."""
    return {grant: _forms_of(grant, entry) for grant, entry in entries.items() if entry.registered_members}


def retained_forms(entries: Mapping[Grant, LedgerEntry]) -> frozenset[Grant]:
    """Return the grants of entries in every form in which the policy may show them, but as deleted ones."""
    return frozenset(entries).union(*registered_grants(entries).values())


def with_declared(shown: frozenset[Grant], forms: Mapping[Grant, frozenset[Grant]]) -> frozenset[Grant]:
    """Return the grants that a policy shows, and those that it shows in a registered form."""
    found = {grant for grant, registered in forms.items() if not registered.isdisjoint(shown)}
    return shown | found if found else shown


def match_forms(
    known: Collection[Grant],
    sent: frozenset[Grant],
    shown: frozenset[Grant],
    *,
    entries: Mapping[Grant, LedgerEntry],
    recent: frozenset[Grant] = frozenset(),
    last_shown: frozenset[Grant] = frozenset(),
) -> Matches:
    """Match the known grants that were sent and are absent from the reply with members of the reply.

    Args:
        known: The grants that the ledger records.
        sent: The grants in the policy that was written.
        shown: The grants in the policy of the reply.
        entries: The ledger entries before the sync.
        recent: Grants that a write whose reply was lost may have made.
        last_shown: The grants that the policy showed after the last sync of this process.

    """
    absent = sent - shown
    if not absent:
        return Matches()
    matched: dict[Grant, Match] = {}
    unmatched: dict[Grant, frozenset[Grant]] = {}
    candidates_of = _by_group(shown)
    for group, vanished in _by_group(absent).items():
        ours = sorted(vanished & frozenset(known), key=lambda grant: grant.member)
        candidates = candidates_of.get(group, frozenset())
        new = candidates - sent or (candidates & recent) - frozenset(known)
        if new and len(new) <= len(ours) == len(vanished):
            matched.update(_assigned(ours, new))
            continue
        for grant in ours:
            form = _absorbing(grant, candidates, shown, entries, last_shown, alone=len(vanished) == 1)
            if form:
                matched[grant] = Match(frozenset({form}))
            else:
                unmatched[grant] = candidates
    return Matches(matched, unmatched)


def _assigned(ours: Sequence[Grant], new: Collection[Grant]) -> Iterator[tuple[Grant, Match]]:
    """Assign new forms to the members that were sent. Each of several members may have any of them."""
    forms = sorted(new, key=_by_member)
    for position, grant in enumerate(ours):
        form = forms[min(position, len(forms) - 1)]
        yield grant, Match(frozenset({form}), together=len(ours) > 1)


def _absorbing(
    grant: Grant,
    candidates: frozenset[Grant],
    shown: frozenset[Grant],
    entries: Mapping[Grant, LedgerEntry],
    last_shown: frozenset[Grant],
    *,
    alone: bool,
) -> Grant | None:
    """Return the member, present before the write, as which Google Cloud registered a grant; None if unknown.

    It is known if the binding has no other member of the kind, or if the ledger records it for another role.
    The member of a grant that was present before was renamed. Its new address is the only member that the
    ledger does not explain, or the only such member since the last sync.
    """
    if len(candidates) == 1:
        return next(iter(candidates))
    recorded = {
        grant.of(member)
        for other, entry in entries.items()
        if other.member == grant.member and not entry.registered_together
        for member in entry.registered_members
    }
    likely = [candidates & recorded]
    known = entries.get(grant)
    if alone and known and known.is_made and not tombstones_of(grant, shown):
        unexplained = candidates - retained_forms(entries)
        likely += [unexplained, unexplained - last_shown]
    return next((next(iter(forms)) for forms in likely if len(forms) == 1), None)


def with_matches(
    ledger: Ledger, matched: Mapping[Grant, Match], shown: Collection[Grant], *, before: Before
) -> Ledger:
    """Return the settled ledger with the matches of a sync.

    A match keeps an earlier `presentBefore` if the grant was present before the sync: its member was renamed.
    A new grant was present before if its form was present, and the operator had not made it.
    """
    entries = dict(ledger.entries)
    for grant, entry in ledger.entries.items():
        if grant in shown:
            entries[grant] = changed_entry(entry, registered_members=(), registered_together=False)
        elif match := matched.get(grant):
            known = before.entries.get(grant)
            was_present = known is not None and known.is_made
            entries[grant] = changed_entry(
                entry,
                registered_members=tuple(sorted(form.member for form in match.forms)),
                registered_together=match.together,
                present_before=known.present_before
                if known and was_present
                else any(before.was_unmanaged(form) for form in match.forms),
            )
    return ledger if entries == ledger.entries else ledger.with_entries(entries)


def told_apart(ledger: Ledger, released: Collection[Grant]) -> Ledger:
    """Return the ledger for the release of members that were registered together with others.

    The released members get all forms of the members that were registered together. The others are written
    again in the same write, and the reply shows which forms are theirs.
    """
    entries = dict(ledger.entries)
    together = {grant: entry for grant, entry in entries.items() if entry.registered_together}
    for grant in together.keys() & set(released):
        group = _by_group(together)[group_of(grant)]
        members = {member for each in group for member in together[each].registered_members}
        entries[grant] = changed_entry(
            entries[grant], registered_members=tuple(sorted(members)), registered_together=False
        )
        for each in group.difference(released):
            entries[each] = changed_entry(
                entries[each], state=GrantState.PENDING, registered_members=(), registered_together=False
            )
    return ledger if entries == ledger.entries else ledger.with_entries(entries)


def cannot_be_matched(grant: Grant) -> GoogleError:
    """Return the report about a member that the policy shows under an unknown address."""
    return GoogleError(
        Fault.INVALID_ARGUMENT,
        "",
        f"Google Cloud accepted {grant.member}, but the policy does not show it: it is an alias, or a former "
        "address, of another member of the binding; declare the primary address instead",
    )


def _by_group(grants: Iterable[Grant]) -> dict[_Group, frozenset[Grant]]:
    groups: defaultdict[_Group, set[Grant]] = defaultdict(set)
    for grant in grants:
        groups[group_of(grant)].add(grant)
    return {group: frozenset(members) for group, members in groups.items()}


def group_of(grant: Grant) -> _Group:
    """Return the members that Google Cloud may register as one another."""
    return grant.binding_key, parse(grant.member).kind


def _forms_of(grant: Grant, entry: LedgerEntry) -> frozenset[Grant]:
    return frozenset(grant.of(member) for member in entry.registered_members)


def _by_member(grant: Grant) -> str:
    return grant.member
