"""What a controller may know of other objects: the cache as a port."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol, TypeVar

from cloudrun_identity.api import (
    CloudRunIdentity,
    CustomRole,
    IdentityAttachment,
    IdentityKey,
    LedgerAccount,
    LedgerEntry,
    LedgerRole,
    ManagedProject,
    Resource,
)
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.principals import lower_email
from cloudrun_identity.ledger.keys import KeyRing
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.ledger.owners import Owner


class ObjectKey(NamedTuple):
    """Names one object of ours; `namespace` is empty for cluster-wide kinds."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """`IAMBinding payments/web`, `ManagedProject payments-prod`."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    @classmethod
    def of(cls, obj: Resource) -> "ObjectKey":
        """The key of an object."""
        return cls(obj.kind, obj.metadata.namespace, obj.metadata.name)


def project_key(name: str) -> ObjectKey:
    """The key of a ManagedProject."""
    return ObjectKey(ManagedProject.__name__, "", name)


def identity_key(namespace: str, name: str) -> ObjectKey:
    """The key of a CloudRunIdentity."""
    return ObjectKey(CloudRunIdentity.__name__, namespace, name)


def attachment_key(namespace: str, name: str) -> ObjectKey:
    """The key of an IdentityAttachment."""
    return ObjectKey(IdentityAttachment.__name__, namespace, name)


def custom_role_key(namespace: str, name: str) -> ObjectKey:
    """The key of a CustomRole."""
    return ObjectKey(CustomRole.__name__, namespace, name)


def role_key(name: str) -> ObjectKey:
    """Stands for whichever CustomRole has the role of this full name."""
    return ObjectKey("Role", "", name)


def account_key(email: str) -> ObjectKey:
    """Stands for whichever CloudRunIdentity declares the account with this e-mail."""
    return ObjectKey("ServiceAccount", "", lower_email(email))


def ledger_owner(obj: Resource) -> Owner:
    """The object as ledgers name it."""
    return Owner(obj.kind, obj.metadata.namespace, obj.metadata.name, obj.metadata.uid)


Kind = TypeVar("Kind", bound=Resource)


class ClusterState(Protocol):
    """Every object of ours, every namespace and every account record, as last seen."""

    def project(self, name: str) -> ManagedProject | None:
        """The ManagedProject of this name."""
        ...

    def project_on(self, project_id: str) -> ManagedProject | None:
        """The ManagedProject that a Google Cloud project is worked in by: the oldest on it."""
        ...

    def identity(self, namespace: str, name: str) -> CloudRunIdentity | None:
        """The CloudRunIdentity of this name."""
        ...

    def custom_role(self, namespace: str, name: str) -> CustomRole | None:
        """The CustomRole of this name."""
        ...

    def attachment(self, namespace: str, name: str) -> IdentityAttachment | None:
        """The IdentityAttachment of this name."""
        ...

    def objects(self, kind: type[Kind]) -> Iterable[Kind]:
        """All objects of one kind."""
        ...

    def referrers(self, key: ObjectKey) -> Iterable[ObjectKey]:
        """The objects that refer to this one."""
        ...

    def is_there(self, key: ObjectKey) -> bool:
        """Whether the object exists; taken for granted of a kind that is not served, which nobody listed."""
        ...

    def is_invalid(self, key: ObjectKey) -> bool:
        """Whether the object exists and could never be read, because it does not fit its kind."""
        ...

    def ledger(self, target: Target) -> Ledger:
        """What is held on one policy."""
        ...

    def ledgers(self, project_id: str) -> Iterable[Ledger]:
        """What is held on the policies of a project, and what is recorded of its accounts and workloads."""
        ...

    def rivals(self, key: ObjectKey) -> Iterable[Resource]:
        """The other objects that declare the very thing in Google Cloud that this one declares."""
        ...

    def identities(self) -> Mapping[str, DeclaredIdentity]:
        """Every declared identity by the e-mail of its account, in lower case."""
        ...

    def credential_accounts(self) -> frozenset[str]:
        """The e-mails, in lower case, of the accounts that the operator acts as."""
        ...

    def account_home(self, identity: CloudRunIdentity) -> Target | None:
        """The account whose ledger records the identity, or its predecessor of the same name."""
        ...

    def admitted_namespaces(self, project: ManagedProject) -> frozenset[str]:
        """The existing namespaces that may use the project."""
        ...

    def has_namespace(self, namespace: str) -> bool:
        """Whether a namespace of this name has been observed."""
        ...

    def is_terminating(self, namespace: str) -> bool:
        """Whether the namespace is on its way out."""
        ...

    def account(self, identity: CloudRunIdentity) -> LedgerAccount | None:
        """The account that the ledger records for this very object."""
        ...

    def owner_of(self, email: str) -> LedgerAccount | None:
        """The record of the account with this e-mail, if an identity declares it."""
        ...

    def role(self, project_id: str, role_id: str) -> LedgerRole | None:
        """The record of the custom role of this id."""
        ...

    def role_home(self, role: CustomRole) -> tuple[str, LedgerRole] | None:
        """The project, by its id, in which an object of this name has a role, and the record of it."""
        ...

    def key_ring(self, account: Target) -> KeyRing:
        """What is remembered of the keys of an account."""
        ...

    def key_home(self, key: IdentityKey) -> tuple[Target, str] | None:
        """The account, and its unique id, of which an object of this name has keys."""
        ...

    def held_by_role(self, role: str) -> Iterable[tuple[Grant, LedgerEntry]]:
        """Every grant of the role (its full name) that we hold on any policy."""
        ...


def older_first(obj: Resource) -> tuple[float, str]:
    """The order in which rivals are served: by age, then by UID."""
    created = obj.metadata.creation_timestamp
    return (created.timestamp() if created else float("inf"), obj.metadata.uid)
