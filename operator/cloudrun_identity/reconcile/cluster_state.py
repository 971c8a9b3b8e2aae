"""State of the cluster as kinds see it: the cache as an interface."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
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
    ReconciledResource,
    Resource,
)
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.principals import lower_email
from cloudrun_identity.kube.resources import Object
from cloudrun_identity.ledger.keys import KeyRing
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.ledger.owners import Owner


class ObjectKey(NamedTuple):
    """Key of one object; `namespace` is empty for cluster-scoped kinds."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """`IAMBinding payments/web`, `ManagedProject payments-prod`."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    @classmethod
    def of(cls, obj: Resource) -> "ObjectKey":
        """Return the key of an object."""
        return cls(obj.kind, obj.metadata.namespace, obj.metadata.name)

    @classmethod
    def of_raw(cls, raw: Object) -> "ObjectKey":
        """Return the key of an object as the API server sent it, with the strings of its compact copy."""
        metadata = raw["metadata"]
        names = raw["kind"], metadata.get("namespace", ""), metadata["name"]
        return cls(*map(sys.intern, names))


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object as the cache holds it, parsed once for each resourceVersion."""

    raw: Object
    """The object as the API server sent it."""
    obj: ReconciledResource | None
    """The parsed object; None if it does not fit its kind."""
    is_removed: bool = field(default=False, kw_only=True)
    """True if the API server removed the object before the operator finalized it: it has no status."""


def project_key(name: str) -> ObjectKey:
    """Return the key of a ManagedProject."""
    return ObjectKey(ManagedProject.__name__, "", name)


def identity_key(namespace: str, name: str) -> ObjectKey:
    """Return the key of a CloudRunIdentity."""
    return ObjectKey(CloudRunIdentity.__name__, namespace, name)


def attachment_key(namespace: str, name: str) -> ObjectKey:
    """Return the key of an IdentityAttachment."""
    return ObjectKey(IdentityAttachment.__name__, namespace, name)


def custom_role_key(namespace: str, name: str) -> ObjectKey:
    """Return the key of a CustomRole."""
    return ObjectKey(CustomRole.__name__, namespace, name)


def role_key(name: str) -> ObjectKey:
    """Return the key that stands for the CustomRole with this full role name, whichever object it is."""
    return ObjectKey("Role", "", name)


def account_key(email: str) -> ObjectKey:
    """Return the key that stands for the CloudRunIdentity that declares this e-mail, whichever it is."""
    return ObjectKey("ServiceAccount", "", lower_email(email))


def ledger_owner(obj: Resource) -> Owner:
    """Return the object as ledgers name it."""
    return Owner(obj.kind, obj.metadata.namespace, obj.metadata.name, obj.metadata.uid)


Kind = TypeVar("Kind", bound=Resource)


class ClusterState(Protocol):
    """Every object, namespace and ledger, as last seen."""

    def project(self, name: str) -> ManagedProject | None:
        """Return the ManagedProject of this name."""
        ...

    def project_on(self, project_id: str) -> ManagedProject | None:
        """Return the ManagedProject that manages a Google Cloud project: the oldest one on it."""
        ...

    def operates(self, project: ManagedProject) -> bool:
        """Return whether this operator, and no other one on the cluster, acts on the project."""
        ...

    def identity(self, namespace: str, name: str) -> CloudRunIdentity | None:
        """Return the CloudRunIdentity of this name."""
        ...

    def custom_role(self, namespace: str, name: str) -> CustomRole | None:
        """Return the CustomRole of this name."""
        ...

    def attachment(self, namespace: str, name: str) -> IdentityAttachment | None:
        """Return the IdentityAttachment of this name."""
        ...

    def key(self, namespace: str, name: str) -> IdentityKey | None:
        """Return the IdentityKey of this name."""
        ...

    def objects(self, kind: type[Kind]) -> Iterable[Kind]:
        """Return all objects of one kind."""
        ...

    def referrers(self, key: ObjectKey) -> Iterable[ObjectKey]:
        """Return the objects that refer to this one."""
        ...

    def locations(self, namespace: str, project: str) -> frozenset[str]:
        """Return the locations that attachments and bindings of a namespace name in a ManagedProject."""
        ...

    def exists(self, key: ObjectKey) -> bool:
        """Return whether the object exists. Objects of a kind that is not installed are assumed to exist."""
        ...

    def is_invalid(self, key: ObjectKey) -> bool:
        """Return whether the object exists and has never been parsed, because it does not fit its kind."""
        ...

    def ledger(self, target: Target) -> Ledger:
        """Return the ledger of one policy."""
        ...

    def invalid_ledger_of(self, owner_key: str) -> str:
        """Return what is wrong with an invalid ledger that names the owner; empty if there is none."""
        ...

    def ledgers(self, project_id: str) -> Iterable[Ledger]:
        """Return the ledgers of a project: its policies, accounts and workloads."""
        ...

    def other_declarers(self, key: ObjectKey) -> Iterable[ReconciledResource]:
        """Return the other objects that declare the same Google Cloud resource as this one."""
        ...

    def is_refused(self, key: ObjectKey, project: ManagedProject) -> bool:
        """Return whether what the object declares is refused, for example by the guardrails."""
        ...

    def identities(self) -> Mapping[str, DeclaredIdentity]:
        """Return every declared identity by the e-mail of its account, in lower case."""
        ...

    def credential_accounts(self) -> frozenset[str]:
        """Return the e-mails, in lower case, of the accounts that the operator acts as."""
        ...

    def account_home(self, identity: CloudRunIdentity) -> Target | None:
        """Return the account whose ledger records the identity, or its predecessor of the same name."""
        ...

    def admitted_namespaces(self, project: ManagedProject) -> frozenset[str]:
        """Return the existing namespaces that the project admits."""
        ...

    def has_namespace(self, namespace: str) -> bool:
        """Return whether a namespace of this name has been observed."""
        ...

    def is_terminating(self, namespace: str) -> bool:
        """Return whether the namespace is terminating."""
        ...

    def account(self, identity: CloudRunIdentity) -> LedgerAccount | None:
        """Return the record of the account for this object and UID."""
        ...

    def owner_of(self, email: str) -> LedgerAccount | None:
        """Return the record of the account with this e-mail, if an identity declares it."""
        ...

    def role(self, project_id: str, role_id: str) -> LedgerRole | None:
        """Return the record of the custom role of this id."""
        ...

    def role_home(self, role: CustomRole) -> tuple[str, LedgerRole] | None:
        """Return the project id and the record of the role that an object of this name manages."""
        ...

    def key_ring(self, account: Target) -> KeyRing:
        """Return the records of the keys of an account."""
        ...

    def key_home(self, key: IdentityKey) -> tuple[Target, str] | None:
        """Return the account for which an object of this name manages keys, and its recorded unique ID."""
        ...

    def held_by_role(self, role: str) -> Iterable[tuple[Grant, LedgerEntry]]:
        """Return every managed grant of the role (its full name) on any policy."""
        ...


def older_first(obj: Resource) -> tuple[float, str]:
    """Return the sort key that decides which of several declarers is served: by age, then by UID."""
    created = obj.metadata.creation_timestamp
    return (created.timestamp() if created else float("inf"), obj.metadata.uid)
