"""Forms in which the policy shows the grants of one sync."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from cloudrun_identity.api import LedgerEntry, LedgerWrite
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.ledger.model import Ledger

from .interrupted_write import InterruptedWrite, interrupted_write
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
        self,
        ledger: Ledger,
        shown: frozenset[Grant],
        last_shown: frozenset[Grant] = frozenset(),
        *,
        write_found: bool = False,
    ) -> None:
        """Initialize with the ledger before the sync, its first read, and the end of the last sync.

        `write_found` is True if the policy shows the write that the ledger records, and no other.
        """
        pending = frozenset(
            grant for grant, entry in ledger.entries.items() if not (entry.is_made or entry.is_rejected)
        )
        self._before = Before(ledger.entries, shown - pending if write_found else shown)
        self._last_shown = last_shown
        self._known: frozenset[Grant] = frozenset()
        self._matched: dict[Grant, Match] = {}
        self._recent: frozenset[Grant] = frozenset()
        self._interrupted: InterruptedWrite | None = None
        self.registered: dict[Grant, frozenset[Grant]] = registered_grants(self._before.entries)
        """The forms of the grants that stay, besides the declared ones."""
        self.unmatched: dict[Grant, frozenset[Grant]] = {}
        """The grants that replies do not show, with the members that may be their registered forms."""
        if ledger.pending_write and not write_found:
            self.interrupt(ledger.pending_write, pending, shown)

    @property
    def undecided(self) -> frozenset[Grant]:
        """The absent grants of an interrupted write, while its outcome is unknown."""
        return self._interrupted.absent if self._interrupted else frozenset()

    def keep(self, entries: Mapping[Grant, LedgerEntry], released: Collection[Grant]) -> None:
        """Restrict the forms to the planned entries that are not released."""
        staying = {grant: entry for grant, entry in entries.items() if grant not in released}
        self._known = frozenset(staying)
        self.registered = registered_grants(staying)

    def interrupt(self, write: LedgerWrite, added: Collection[Grant], shown: frozenset[Grant]) -> None:
        """Judge a write with an unknown outcome by a later read."""
        self._recent |= shown_since(write.members_before, shown)
        explained = retained_forms(self._before.entries).union(*self.registered.values())
        self._interrupted = interrupted_write(write, added, explained, shown)
        if self._interrupted:
            self._before = replace(self._before, shown=self._before.shown - self._interrupted.unproven)

    def note_others(self, grants: Collection[Grant]) -> None:
        """Note grants that another writer made during the sync."""
        unproven = self._interrupted.unproven if self._interrupted else frozenset()
        self._before = replace(self._before, shown=self._before.shown | (frozenset(grants) - unproven))

    def evidence(self, added: Iterable[Grant], shown: frozenset[Grant]) -> tuple[str, ...]:
        """Return the evidence to record before a write that adds these grants to a policy."""
        return evidence_of(added, shown - self._interrupted.unproven if self._interrupted else shown)

    def present(self, shown: frozenset[Grant]) -> frozenset[Grant]:
        """Return the grants that a policy shows, and those that it shows in a registered form."""
        return with_declared(shown, self.registered)

    def compare(self, sent: frozenset[Grant], shown: frozenset[Grant]) -> frozenset[Grant]:
        """Compare the grants sent with the grants in the reply.

        Returns the grants that an interrupted write added, once the replies prove it.
        """
        found = match_forms(
            self._known,
            sent,
            shown,
            entries=self._before.entries,
            recent=self._recent & shown,
            last_shown=self._last_shown,
        )
        self._matched |= found.matched
        self.registered |= {grant: match.forms for grant, match in found.matched.items()}
        self.unmatched |= found.unmatched
        for grant in self.unmatched.keys() & (self._matched.keys() | shown):
            del self.unmatched[grant]
        if not self._interrupted:
            return frozenset()
        self._interrupted = self._interrupted.after_reply(sent, shown)
        if not self._interrupted.is_proven(self._matched):
            return frozenset()
        recovered, self._interrupted = self._interrupted.shown, None
        return recovered

    def recorded(self, ledger: Ledger, shown: frozenset[Grant]) -> Ledger:
        """Return the ledger with the forms of all grants."""
        unproven = self._interrupted.unproven if self._interrupted else frozenset()
        before = replace(self._before, shown=self._before.shown | unproven)
        return with_matches(ledger, self._matched, shown, before=before)

    def settled(self, ledger: Ledger, shown: frozenset[Grant]) -> Ledger:
        """Return the settled ledger with the forms of all grants."""
        settled = self.recorded(ledger, shown)
        unmanaged = len(shown - retained_forms(settled.entries))
        if not self.registered or unmanaged == settled.unmanaged_members:
            return settled
        return settled.replace(unmanaged_members=unmanaged)
