"""IAM policies in memory, with the behavior of Google Cloud that policy syncers rely on."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass, field, replace

from google.iam.v1.policy_pb2 import Binding, Policy
from google.type.expr_pb2 import Expr

from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.principals import Tombstone, normalise
from cloudrun_identity.policy.merge import grants_in


class Crash(Exception):
    """The process crashed."""


@dataclass
class Journal:
    """Record of the writes, in order. Raises Crash before the write with the number `crash_before`."""

    steps: list[str] = field(default_factory=list)
    crash_before: int | None = None

    def step(self, name: str) -> None:
        if self.crash_before == len(self.steps):
            self.crash_before = None
            raise Crash(name)
        self.steps.append(name)


class FakePolicies:
    """Policies with etags.

    A grant refers to the account that had the e-mail when the member was added. It does not refer to a
    recreated account with the same e-mail.
    """

    journal: Journal
    """Receives each successful write."""

    latency: float
    """Seconds that each call takes."""

    reads: int
    """Number of reads."""

    sets: int
    """Number of writes, also failed ones."""

    refused: set[str]
    """Members that make a write fail with `refusal`."""

    most_members: int
    """Maximum number of members of a policy."""

    refusal: Fault
    """Fault of a write with a refused member."""

    names_culprit: bool
    """True if the message of a refusal names the refused member."""

    faults: list[GoogleError]
    """Errors of the next calls, one per call."""

    offered: frozenset[Grant]
    """Grants in the last write, also if it failed."""

    before_set: list[Callable[[], None]]
    """Edits of other clients, one right before each write."""

    after_set: list[Callable[[], None]]
    """Edits of other clients, one right after each successful write."""

    after_get: Callable[[Target], None]
    """Called after each read."""

    shows: list[Policy | None]
    """What the next reads show, one per read; None for the present policy."""

    unique_ids: dict[str, str]
    """Unique ids of the existing accounts, by member."""

    aliases: dict[str, str]
    """Primary members by their aliases. A write of an alias registers the primary member."""

    def __init__(self, journal: Journal | None = None, latency: float = 0.1) -> None:
        self.journal = journal or Journal()
        self.latency = latency
        self.reads = 0
        self.sets = 0
        self.refused: set[str] = set()
        self.most_members = 1500
        self.refusal = Fault.INVALID_ARGUMENT
        self.names_culprit = False
        self.faults: list[GoogleError] = []
        self.offered: frozenset[Grant] = frozenset()
        self.before_set: list[Callable[[], None]] = []
        self.after_set: list[Callable[[], None]] = []
        self.shows: list[Policy | None] = []
        self.after_get: Callable[[Target], None] = lambda _: None
        self.unique_ids: dict[str, str] = {}
        self.aliases: dict[str, str] = {}
        self._meant: dict[Grant, str] = {}
        self._policies: dict[Target, Policy] = {}
        self._last_etag = 0

    def create(self, target: Target, *bindings: tuple[str, Iterable[str]]) -> None:
        self._policies[target] = Policy(etag=b"0")
        self.edit(target, *bindings)

    def drop(self, target: Target) -> None:
        del self._policies[target]

    def edit(self, target: Target, *bindings: tuple[str, Iterable[str]]) -> None:
        """Replace the bindings as another client."""
        policy = self._policies[target]
        del policy.bindings[:]
        policy.bindings.extend(Binding(role=role, members=members) for role, members in bindings)
        self._touch(target)

    def grant(self, grant: Grant, spelling: str = "") -> None:
        """Add a grant in a separate binding as another client, with the given spelling of the member."""
        policy = self._policies[grant.target]
        binding = policy.bindings.add(role=grant.role, members=[spelling or grant.member])
        if grant.condition:
            binding.condition.CopyFrom(Expr(**asdict(grant.condition)))
        self._touch(grant.target)

    def revoke(self, grant: Grant) -> None:
        """Remove a grant in every spelling as another client."""
        self._respell(grant, lambda _: None)

    def rename(self, target: Target, member: str, renamed: str) -> None:
        """Rename a principal: policies show the new member under the same etag. The former is an alias."""
        self.aliases = {alias: renamed if of == member else of for alias, of in self.aliases.items()}
        self.aliases.pop(renamed, None)
        self.aliases[member] = renamed
        self._show(target)

    def delete(self, target: Target, member: str, unique_id: str) -> None:
        """Delete a principal: policies show its tombstone under the same etag, and refuse the member."""
        for binding in self._policies[target].bindings:
            binding.members[:] = [
                str(Tombstone(each, unique_id)) if each == member else each for each in binding.members
            ]
        self.refused.add(member)

    def restore(self, target: Target, member: str, unique_id: str) -> None:
        """Restore a deleted principal: policies show the member again."""
        for binding in self._policies[target].bindings:
            binding.members[:] = [
                member if each == str(Tombstone(member, unique_id)) else each for each in binding.members
            ]
        self.refused.discard(member)

    def recreate(self, member: str, unique_id: str, *, as_tombstone: bool) -> dict[Grant, Grant]:
        """Delete an account and create it again. Return the deleted-member form of each of its grants.

        If not `as_tombstone`, the grants keep showing the plain e-mail and still refer to the old account.
        """
        deleted_forms = {}
        for grant, meant in list(self._meant.items()) if as_tombstone else ():
            if grant.member == member:
                self._respell(grant, lambda spelt, meant=meant: str(Tombstone(spelt, meant)))
                deleted_forms[grant] = replace(grant, member=str(Tombstone(member, meant)))
        self.unique_ids[member] = unique_id
        return deleted_forms

    def meant(self, grant: Grant) -> str:
        """Return the unique id of the account that a grant refers to."""
        return self._meant[grant]

    def spellings(self, grant: Grant) -> Counter[str]:
        """Return each spelling of the grant's member in the policy, with its number."""
        return Counter(
            member
            for binding in self._bindings_of(grant)
            for member in binding.members
            if normalise(member) == grant.member
        )

    def is_full(self, target: Target) -> bool:
        """Return whether the policy has the maximum number of members."""
        return sum(len(each.members) for each in self._policies[target].bindings) >= self.most_members

    def etag(self, target: Target) -> bytes:
        return bytes(self._policies[target].etag)

    def present(self, target: Target) -> frozenset[Grant]:
        return grants_in(self._policies[target], target)

    async def get(self, target: Target) -> Policy:
        self.reads += 1
        await asyncio.sleep(self.latency)
        self._fail()
        shown = self.shows.pop(0) if self.shows else None
        policy = shown or self.copy(target)
        self.after_get(target)
        return policy

    def log_write(self, target: Target, *, removed: Collection[Grant], added: Collection[Grant]) -> None:
        """Log nothing."""

    def note_found(self, target: Target) -> None:
        """Note nothing."""

    async def set(self, target: Target, policy: Policy) -> Policy:
        self.sets += 1
        self.offered = grants_in(policy, target)
        await asyncio.sleep(self.latency)
        if self.before_set:
            self.before_set.pop(0)()
        self._fail()
        stored = self._policies.get(target)
        if stored is None:
            raise fault(Fault.NOT_FOUND)
        if stored.etag != policy.etag:
            raise fault(Fault.ABORTED)
        sent = [member for each in policy.bindings for member in each.members]
        bad = [member for member in sent if {member, self.aliases.get(normalise(member))} & self.refused]
        if sum(len(each.members) for each in policy.bindings) > self.most_members:
            raise fault(Fault.INVALID_ARGUMENT, "too many members")
        if bad:
            raise fault(self.refusal, f"{bad[0]} does not exist." if self.names_culprit else "bad member")
        self.journal.step("policy")
        del stored.bindings[:]
        stored.bindings.extend(policy.bindings)
        self._show(target)
        self._touch(target)
        reply = self.copy(target)
        if self.after_set:
            self.after_set.pop(0)()
        return reply

    def _bindings_of(self, grant: Grant) -> list[Binding]:
        condition = Expr(**asdict(grant.condition)) if grant.condition else Expr()
        return [
            binding
            for binding in self._policies[grant.target].bindings
            if binding.role == grant.role and binding.condition == condition
        ]

    def _respell(self, grant: Grant, spell: Callable[[str], str | None]) -> None:
        """Change the spelling of the grant's member, or remove it if `spell` returns None."""
        for binding in self._bindings_of(grant):
            forms = [spell(each) if normalise(each) == grant.member else each for each in binding.members]
            binding.members[:] = filter(None, forms)
        self._touch(grant.target)

    def _show(self, target: Target) -> None:
        """Show every member by its primary address, once."""
        for binding in self._policies[target].bindings:
            primaries = [self.aliases.get(normalise(each), each) for each in binding.members]
            binding.members[:] = dict.fromkeys(primaries)

    def _fail(self) -> None:
        if self.faults:
            raise self.faults.pop(0)

    def copy(self, target: Target) -> Policy:
        """Return the policy as a read shows it now."""
        if target not in self._policies:
            raise fault(Fault.NOT_FOUND)
        copy = Policy()
        copy.CopyFrom(self._policies[target])
        return copy

    def _touch(self, target: Target) -> None:
        policy = self._policies[target]
        self._last_etag += 1  # the etags of a recreated target differ, too
        policy.etag = str(self._last_etag).encode()
        present = self.present(target)
        self._meant = {
            grant: unique_id
            for grant, unique_id in self._meant.items()
            if grant.target != target or grant in present
        }
        for grant in present:
            if grant.member in self.unique_ids:
                self._meant.setdefault(grant, self.unique_ids[grant.member])


def fault(kind: Fault, message: str = "no", **details: object) -> GoogleError:
    return GoogleError(kind, "google.test.Service/Method", message, **details)


def unsent() -> GoogleError:
    """Return the error of a call that failed before it was sent, such as without a token."""
    return fault(Fault.UNAVAILABLE, sent=False)
