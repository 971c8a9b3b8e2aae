"""Index of ledgers by owner, account e-mail and project."""

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping

from cloudrun_identity.api import (
    CloudRunIdentity,
    CustomRole,
    IdentityAttachment,
    IdentityKey,
    LedgerAccount,
    LedgerRole,
)
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.principals import lower_email
from cloudrun_identity.kube.sharing import SharedParts

from .model import Ledger

_NONE: frozenset[Target] = frozenset()


class LedgerIndex:
    """Index of all ledgers, updated with each change of one.

    Owners of accounts, roles, keys and attachments are written as `namespace/name`.
    """

    def __init__(self) -> None:
        self._by_owner: dict[str, tuple[Target, LedgerAccount]] = {}
        self._by_email: dict[str, LedgerAccount] = {}
        self._roles: dict[str, tuple[str, LedgerRole]] = {}
        self._key_owners: dict[str, Target] = {}
        self._attachments: dict[str, Target] = {}
        self._by_owner_key: dict[str, frozenset[Target]] = {}
        self._sets: SharedParts[frozenset[Target]] = SharedParts()
        self._by_project: defaultdict[str, set[Target]] = defaultdict(set)

    def change(self, old: Ledger, new: Ledger) -> None:
        """Replace the `old` ledger of a target with the `new` one."""
        self._change_account(old, new)
        self._change_roles(old, new)
        self._change_keys(old, new)
        self._change_attachment(old, new)
        before, after = old.owner_keys, new.owner_keys
        for owner_key in before - after:
            self._set_targets(owner_key, self.held_by(owner_key) - {old.target})
        for owner_key in after - before:
            self._set_targets(owner_key, self.held_by(owner_key) | {new.target})
        if new.bindings or new.temporary_grants:
            self._by_project[new.target.project_id].add(new.target)
        elif old.bindings or old.temporary_grants:
            self._by_project[old.target.project_id].discard(old.target)
            if not self._by_project[old.target.project_id]:
                del self._by_project[old.target.project_id]

    def account_of(self, owner: str) -> LedgerAccount | None:
        """Return the account of a CloudRunIdentity."""
        return self._by_owner[owner][1] if owner in self._by_owner else None

    def account_home(self, owner: str) -> Target | None:
        """Return the target of the ledger with the account of a CloudRunIdentity."""
        return self._by_owner[owner][0] if owner in self._by_owner else None

    def owner_of(self, email: str) -> LedgerAccount | None:
        """Return the record of the account with this e-mail."""
        return self._by_email.get(lower_email(email))

    def role_home(self, owner: str) -> tuple[str, LedgerRole] | None:
        """Return the project ID and the record of a CustomRole's role."""
        return self._roles.get(owner)

    def key_home(self, owner: str) -> Target | None:
        """Return the account with keys of an IdentityKey."""
        return self._key_owners.get(owner)

    def attachment_home(self, owner: str) -> Target | None:
        """Return the workload of an IdentityAttachment."""
        return self._attachments.get(owner)

    def held_by(self, owner_key: str) -> frozenset[Target]:
        """Return the targets with entries of an owner."""
        return self._by_owner_key.get(owner_key, _NONE)

    def names(self, owner_key: str) -> bool:
        """Return whether a ledger has an entry or another record of an object, `Kind/namespace/name`."""
        kind, _, owner = owner_key.partition("/")
        homes: Mapping[str, Container[str]] = {
            CloudRunIdentity.__name__: self._by_owner,
            CustomRole.__name__: self._roles,
            IdentityKey.__name__: self._key_owners,
            IdentityAttachment.__name__: self._attachments,
        }
        return owner_key in self._by_owner_key or owner in homes.get(kind, ())

    def targets(self, project_id: str) -> Iterable[Target]:
        """Return the targets in a project with any entry."""
        return frozenset(self._by_project.get(project_id, ()))

    def _set_targets(self, owner_key: str, targets: frozenset[Target]) -> None:
        if targets:
            self._by_owner_key[owner_key] = self._sets.one_of(targets, targets)
        else:
            self._by_owner_key.pop(owner_key, None)

    def _change_account(self, old: Ledger, new: Ledger) -> None:
        target, before = old.target, old.account
        after = None if new.account and new.account.is_left else new.account  # no object owns a left one
        if before is not None and before != after:
            if self._by_owner.get(before.owner) == (target, before):
                del self._by_owner[before.owner]
            if self._by_email.get(lower_email(before.email)) == before:
                del self._by_email[lower_email(before.email)]
        if after is not None:
            self._by_owner[after.owner] = (target, after)
            self._by_email[lower_email(after.email)] = after

    def _change_roles(self, old: Ledger, new: Ledger) -> None:
        project_id = old.target.project_id
        for role in old.roles:
            if self._roles.get(role.owner) == (project_id, role):
                del self._roles[role.owner]
        for role in new.roles:
            if role.is_managed:
                self._roles[role.owner] = (project_id, role)

    def _change_keys(self, old: Ledger, new: Ledger) -> None:
        before, after = old.key_ring.owners, new.key_ring.owners
        for owner in before - after:
            if self._key_owners.get(owner) == old.target:
                del self._key_owners[owner]
        for owner in after:
            self._key_owners[owner] = new.target

    def _change_attachment(self, old: Ledger, new: Ledger) -> None:
        if old.attachment and self._attachments.get(old.attachment.owner) == old.target:
            del self._attachments[old.attachment.owner]
        if new.attachment:
            self._attachments[new.attachment.owner] = new.target
