"""Forms in which the policy shows the grants of one sync."""

from collections.abc import Collection, Iterable, Mapping

from cloudrun_identity.api import LedgerEntry
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.ledger.model import Ledger

from .members_before import evidence_of, shown_since
from .registered_forms import (
    Before,
    Match,
    match_forms,
    registered_grants,
    retained_forms,
    with_declared,
    with_matches,
)


class ShownForms:
    """The registered forms that the ledger records, and those that the replies of the sync show."""

    def __init__(
        self, ledger: Ledger, shown: frozenset[Grant], last_shown: frozenset[Grant] = frozenset()
    ) -> None:
        """Initialize with the ledger before the sync, its first read, and the end of the last sync."""
        self._before = Before(ledger.entries, shown - shown_since(ledger.members_before, shown))
        self.is_interrupted = bool(ledger.members_before)
        """True if an earlier write was not settled."""
        self._last_shown = last_shown
        self._known: frozenset[Grant] = frozenset()
        self._matched: dict[Grant, Match] = {}
        self.registered: dict[Grant, frozenset[Grant]] = registered_grants(self._before.entries)
        """The forms of the grants that stay, besides the declared ones."""
        self.unmatched: dict[Grant, frozenset[Grant]] = {}
        """The grants that replies do not show, with the members that may be their registered forms."""

    def keep(self, entries: Mapping[Grant, LedgerEntry], released: Collection[Grant]) -> None:
        """Restrict the forms to the planned entries that are not released."""
        staying = {grant: entry for grant, entry in entries.items() if grant not in released}
        self._known = frozenset(staying)
        self.registered = registered_grants(staying)

    def evidence(self, added: Iterable[Grant]) -> tuple[str, ...]:
        """Return the evidence to record before a write that adds these grants."""
        return evidence_of(added, self._before.shown)

    def present(self, shown: frozenset[Grant]) -> frozenset[Grant]:
        """Return the grants that a policy shows, and those that it shows in a registered form."""
        return with_declared(shown, self.registered)

    def compare(self, sent: frozenset[Grant], shown: frozenset[Grant], *, lost_reply: bool) -> None:
        """Compare the grants sent with the grants in the reply."""
        found = match_forms(
            self._known,
            sent,
            shown,
            entries=self._before.entries,
            recent=shown - self._before.shown if lost_reply or self.is_interrupted else frozenset(),
            last_shown=self._last_shown,
        )
        self._matched |= found.matched
        self.registered |= {grant: match.forms for grant, match in found.matched.items()}
        self.unmatched |= found.unmatched
        for grant in self.unmatched.keys() & (self._matched.keys() | shown):
            del self.unmatched[grant]

    def settled(self, ledger: Ledger, shown: frozenset[Grant]) -> Ledger:
        """Return the settled ledger with the forms of all grants."""
        settled = with_matches(ledger, self._matched, shown, before=self._before)
        unmanaged = len(shown - retained_forms(settled.entries))
        if not self.registered or unmanaged == settled.unmanaged_members:
            return settled
        return settled.replace(unmanaged_members=unmanaged)
