"""Ledgers by what they hold: by account, by claimant and by project."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from cloudrun_identity.api import RoleState
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.key_records import KeyRing
from cloudrun_identity.iam.principals import lower_email

from .model import AccountRecord, AttachmentRecord, Ledger, RoleRecord


class LedgerIndex:
    """Follows every change of a ledger."""

    def __init__(self) -> None:
        self._by_owner: dict[str, tuple[Target, AccountRecord]] = {}
        self._by_email: dict[str, AccountRecord] = {}
        self._roles: dict[str, tuple[str, RoleRecord]] = {}
        self._key_owners: dict[str, Target] = {}
        self._attachments: dict[str, Target] = {}
        self._by_owner_key: defaultdict[str, set[Target]] = defaultdict(set)
        self._by_project: defaultdict[str, set[Target]] = defaultdict(set)

    def change(self, old: Ledger, new: Ledger) -> None:
        """Take note that `new` stands in the place of `old`, both of one target."""
        self._change_account(old.target, old.account, new.account)
        self._change_roles(old.target.project_id, old.roles, new.roles)
        self._change_keys(old.target, old.keys, new.keys)
        self._change_attachment(old.target, old.attachment, new.attachment)
        before, after = old.owner_keys, new.owner_keys
        for owner_key in before - after:
            self._by_owner_key[owner_key].discard(old.target)
            if not self._by_owner_key[owner_key]:
                del self._by_owner_key[owner_key]
        for owner_key in after - before:
            self._by_owner_key[owner_key].add(new.target)
        if new.entries:
            self._by_project[new.target.project_id].add(new.target)
        elif old.entries:
            self._by_project[old.target.project_id].discard(old.target)
            if not self._by_project[old.target.project_id]:
                del self._by_project[old.target.project_id]

    def account_of(self, owner: str) -> AccountRecord | None:
        """The account that the CloudRunIdentity `namespace/name` owns."""
        return self._by_owner[owner][1] if owner in self._by_owner else None

    def account_home(self, owner: str) -> Target | None:
        """The account whose ledger says so."""
        return self._by_owner[owner][0] if owner in self._by_owner else None

    def owner_of(self, email: str) -> AccountRecord | None:
        """The record of the account with this e-mail."""
        return self._by_email.get(lower_email(email))

    def role_home(self, owner: str) -> tuple[str, RoleRecord] | None:
        """The id of the project in which the CustomRole `namespace/name` has a role, and its record."""
        return self._roles.get(owner)

    def key_home(self, owner: str) -> Target | None:
        """The account that keys were made of for the IdentityKey `namespace/name`."""
        return self._key_owners.get(owner)

    def attachment_home(self, owner: str) -> Target | None:
        """The workload that the IdentityAttachment `namespace/name` moved."""
        return self._attachments.get(owner)

    def held_by(self, owner_key: str) -> frozenset[Target]:
        """The targets on which a claimant of that seat holds something."""
        return frozenset(self._by_owner_key.get(owner_key, ()))

    def targets(self, project_id: str) -> Iterable[Target]:
        """The targets in a project on which anything is held."""
        return frozenset(self._by_project.get(project_id, ()))

    def _change_account(self, target: Target, old: AccountRecord | None, new: AccountRecord | None) -> None:
        """An account that was left behind is nobody's."""
        if new is not None and new.abandoned:
            new = None
        if old is not None and old != new:
            if self._by_owner.get(old.owner) == (target, old):
                del self._by_owner[old.owner]
            if self._by_email.get(lower_email(old.email)) == old:
                del self._by_email[lower_email(old.email)]
        if new is not None:
            self._by_owner[new.owner] = (target, new)
            self._by_email[lower_email(new.email)] = new

    def _change_roles(
        self, project_id: str, old: Mapping[str, RoleRecord], new: Mapping[str, RoleRecord]
    ) -> None:
        for role in old.values():
            if self._roles.get(role.owner) == (project_id, role):
                del self._roles[role.owner]
        for role in new.values():
            if role.state is not RoleState.DELETED:
                self._roles[role.owner] = (project_id, role)

    def _change_keys(self, target: Target, old: KeyRing, new: KeyRing) -> None:
        for owner in old.owners - new.owners:
            if self._key_owners.get(owner) == target:
                del self._key_owners[owner]
        for owner in new.owners:
            self._key_owners[owner] = target

    def _change_attachment(
        self, target: Target, old: AttachmentRecord | None, new: AttachmentRecord | None
    ) -> None:
        if old and self._attachments.get(old.owner) == target:
            del self._attachments[old.owner]
        if new:
            self._attachments[new.owner] = target
