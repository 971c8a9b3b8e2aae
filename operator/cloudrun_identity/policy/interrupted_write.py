"""Decide the outcome of an interrupted write that the policy may show with other addresses of its members.

Google Cloud shows the primary address of an alias. So after a crash, or after a lost reply, the policy may
not show what the write left (`pending_write`), although the write took effect. The next write sends the
absent members again. If its reply shows none of them, they are aliases, and the members that appeared since
the write are their registered forms. Otherwise another writer made the members that appeared, and they stay
unmanaged.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from cloudrun_identity.api import LedgerWrite
from cloudrun_identity.iam.grants import Grant

from .members_before import shown_since
from .pending_write import leaves_others
from .registered_forms import Match, group_of


@dataclass(frozen=True, slots=True)
class InterruptedWrite:
    """A write that the policy may show with other addresses of its members."""

    shown: frozenset[Grant]
    """The grants that the write may have added and that the policy shows as they were declared."""
    absent: frozenset[Grant]
    """The users and groups that the write may have added and that the policy does not show."""
    unknown: frozenset[Grant]
    """The users and groups that the policy shows since the write, and that no ledger entry explains."""
    sent: frozenset[Grant] = frozenset()
    """The absent members that a later write sent, and that its reply did not show."""

    @property
    def unproven(self) -> frozenset[Grant]:
        """The grants in the policy that the write may have made."""
        return self.shown | self.unknown

    def is_proven(self, matched: Mapping[Grant, Match]) -> bool:
        """Return whether all absent members are aliases, and explain the members that appeared."""
        forms = {form for grant in self.absent if grant in matched for form in matched[grant].forms}
        return self.absent <= self.sent and self.unknown <= forms

    def after_reply(self, sent: frozenset[Grant], shown: frozenset[Grant]) -> "InterruptedWrite":
        """Return the write after the reply to a later one."""
        return replace(self, sent=(self.sent | (self.absent & sent)) - shown)


def interrupted_write(
    write: LedgerWrite, added: Collection[Grant], explained: Collection[Grant], shown: frozenset[Grant]
) -> InterruptedWrite | None:
    """Return the write, if the policy may show it with other addresses of its members; None if it does not.

    Args:
        write: The record of the write.
        added: The grants that the write may have added.
        explained: The grants that ledger entries explain, in all their forms.
        shown: The grants in the policy now.

    """
    if not leaves_others(write, shown):
        return None
    added = frozenset(added)
    unknown = shown_since(write.members_before, shown) - frozenset(explained) - added
    absent = added - shown
    room = Counter(map(group_of, absent))
    if not absent or Counter(map(group_of, unknown)) - room:
        return None
    return InterruptedWrite(added & shown, absent, unknown)
