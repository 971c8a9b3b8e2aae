"""Queries over the ledgers: accounts, roles, keys and managed grants."""

from collections.abc import Iterable, Iterator, Mapping

from cloudrun_identity.api import (
    CloudRunIdentity,
    CustomRole,
    IdentityKey,
    LedgerAccount,
    LedgerEntry,
    LedgerRole,
)
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.principals import lower_email
from cloudrun_identity.ledger.keys import KeyRing
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.ledger.store import Ledgers
from cloudrun_identity.reconcile.cluster_state import (
    ObjectKey,
    account_key,
    custom_role_key,
    identity_key,
    role_key,
)


class LedgerView:
    """The part of `reconcile.cluster_state.ClusterState` that is persisted."""

    def __init__(self, ledgers: Ledgers) -> None:
        self._ledgers = ledgers
        self._identities: dict[str, DeclaredIdentity] = {}

    def ledger(self, target: Target) -> Ledger:
        """Return the ledger of one policy."""
        return self._ledgers.ledger(target)

    def invalid_ledger_of(self, owner_key: str) -> str:
        """Return what is wrong with an invalid ledger that names the owner; empty if there is none."""
        return self._ledgers.invalid_ledger_of(owner_key)

    def ledgers(self, project_id: str) -> Iterable[Ledger]:
        """Return the ledgers of a project's policies, accounts and workloads."""
        return [ledger for ledger in self._ledgers.all() if ledger.target.project_id == project_id]

    def identities(self) -> Mapping[str, DeclaredIdentity]:
        """Return every declared identity by the e-mail of its account, in lower case."""
        return self._identities

    def account_home(self, identity: CloudRunIdentity) -> Target | None:
        """Return the account whose ledger records the identity, or an earlier object of the same name."""
        return self._ledgers.account_home(f"{identity.metadata.namespace}/{identity.metadata.name}")

    def account(self, identity: CloudRunIdentity) -> LedgerAccount | None:
        """Return the account recorded for the identity, or for an earlier object of the same name."""
        return self._ledgers.account_of(f"{identity.metadata.namespace}/{identity.metadata.name}")

    def owner_of(self, email: str) -> LedgerAccount | None:
        """Return the record of the account with this e-mail if an identity declares it."""
        declared = self._identities.get(lower_email(email))
        return self._ledgers.account_of(f"{declared.namespace}/{declared.name}") if declared else None

    def role(self, project_id: str, role_id: str) -> LedgerRole | None:
        """Return the record of a custom role."""
        return self._ledgers.ledger(Target.project(project_id)).role(role_id)

    def role_home(self, role: CustomRole) -> tuple[str, LedgerRole] | None:
        """Return the ID of the project where an object of this name has a role, and the role's record."""
        return self._ledgers.role_home(f"{role.metadata.namespace}/{role.metadata.name}")

    def key_ring(self, account: Target) -> KeyRing:
        """Return the recorded keys of an account."""
        return self._ledgers.ledger(account).key_ring

    def key_home(self, key: IdentityKey) -> tuple[Target, str] | None:
        """Return the account that an object of this name has keys of, and its recorded unique ID."""
        home = self._ledgers.key_home(f"{key.metadata.namespace}/{key.metadata.name}")
        return (home, self._ledgers.ledger(home).target_uid) if home else None

    def held_by_role(self, role: str) -> Iterable[tuple[Grant, LedgerEntry]]:
        """Yield every managed grant of the role, by its full name, with its ledger entry."""
        for ledger in self._ledgers.all():
            for grant, entry in ledger.entries.items():
                if grant.role == role:
                    yield grant, entry

    def _take_in(self, old: Ledger, new: Ledger) -> Iterator[ObjectKey]:
        """Update the e-mails of declared identities. Yield the keys whose referrers the change concerns."""
        before, after = _owned(old.account), _owned(new.account)
        if before:
            self._identities.pop(lower_email(before.email), None)
        if after:
            self._identities[lower_email(after.email)] = DeclaredIdentity(*_parts(after.owner))
        for role in {*old.roles} ^ {*new.roles}:
            yield custom_role_key(*_parts(role.owner))
            yield role_key(f"{new.target.resource}/roles/{role.role_id}")
        record = after or before
        if record and _steady_id(before) != _steady_id(after):
            yield identity_key(*_parts(record.owner))
            yield account_key(record.email)


def _owned(record: LedgerAccount | None) -> LedgerAccount | None:
    """Return the record if an identity owns it."""
    return record if record and record.owner else None


def _steady_id(record: LedgerAccount | None) -> str:
    """Return the unique ID that dependents may rely on now; empty while there is none."""
    return record.unique_id if record and record.is_steady else ""


def _parts(owner: str) -> tuple[str, str]:
    """Split an owner into namespace and name."""
    namespace, _, name = owner.partition("/")
    return namespace, name
