"""The origin of each grant in a policy, as an observer sees it who knows all edits and no decision."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from cloudrun_identity.iam.grants import Grant


@dataclass
class GrantOrigins:
    """The grants that the operator did not make, or may not have made. All others are managed."""

    unmanaged: dict[Grant, Counter[str]] = field(default_factory=dict)
    """Grants of other writers, with the spellings of their members. They must be present in this form."""
    uncertain: set[Grant] = field(default_factory=set)
    """Grants that may be present or absent. A write of the operator has an unknown outcome while another
    writer edits the policy, or an object is about to exclude the grant from a binding."""

    def add(self, grant: Grant, spellings: Counter[str]) -> None:
        """Add a grant of another writer, unless its origin is uncertain."""
        if grant not in self.uncertain:
            self.unmanaged[grant] = spellings

    def mark_uncertain(self, grants: Iterable[Grant]) -> None:
        """Allow these grants to be present or absent from now on."""
        for grant in list(grants):
            self.unmanaged.pop(grant, None)
            self.uncertain.add(grant)

    def settle(self, present: Collection[Grant], recorded: Collection[Grant]) -> frozenset[Grant]:
        """End the uncertainty after all syncs. Return the grants that are unmanaged from now on."""
        self.uncertain &= {*present, *recorded}
        settled = frozenset(self.uncertain & {*present} - {*recorded})
        self.uncertain -= settled
        return settled

    @property
    def known(self) -> set[Grant]:
        """All grants that are not certainly managed."""
        return self.unmanaged.keys() | self.uncertain
