"""The read side of the cache: implements `reconcile.cluster_state.ClusterState`."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from cloudrun_identity.api import (
    CloudRunIdentity,
    CustomRole,
    IdentityAttachment,
    IdentityKey,
    ManagedProject,
    ProjectOperator,
    ReconciledResource,
    Resource,
)
from cloudrun_identity.kube.resources import Object
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.ledger.store import Ledgers
from cloudrun_identity.reconcile.cluster_state import (
    ObjectKey,
    StoredObject,
    attachment_key,
    custom_role_key,
    identity_key,
    ledger_owner,
    older_first,
    project_key,
)
from cloudrun_identity.reconcile.invalid_objects import accounts_said_by, project_id_said_by, project_named_by
from cloudrun_identity.reconcile.preconditions import Allowed
from cloudrun_identity.reconcile.project_operator import recorded_operator
from cloudrun_identity.reconcile.reconciler import AnyKindReconciler

from .ledger_view import LedgerView
from .namespaces import Namespaces
from .object_counts import ObjectCounts, counts_of
from .object_index import Kind, ObjectIndex

_PROJECT = ManagedProject.__name__


class ClusterView(LedgerView):
    """Objects, namespaces and ledgers as last seen. `cache.Cache` updates them."""

    def __init__(
        self,
        kinds: Mapping[str, AnyKindReconciler],
        ledgers: Ledgers,
        operator_identity: Callable[[], str],
        operator: ProjectOperator | None,
    ) -> None:
        super().__init__(ledgers)
        self._kinds = kinds
        self._objects = ObjectIndex(kinds)
        self._listed: set[str] = set()
        self._namespaces = Namespaces()
        self._operator_identity = operator_identity
        self._operator = operator
        self._declared_credentials: frozenset[str] | None = None

    # Objects.

    def stored(self, key: ObjectKey) -> StoredObject | None:
        """Return the last version of an object; None if it does not exist."""
        return self._objects.stored(key)

    def known(self) -> Iterable[ObjectKey]:
        """Return the keys of all objects."""
        return self._objects.keys()

    def by_project(self) -> list[ObjectKey]:
        """Return the keys of all objects: the ManagedProjects, then those of one project after another."""

        def position(key: ObjectKey) -> tuple[bool, str]:
            stored = self.stored(key)
            return key.kind != _PROJECT, project_named_by(stored.raw) if stored else ""

        return sorted(self._objects.keys(), key=position)

    def owners(self) -> Iterable[Owner]:
        """Return all namespaced objects in the form that ledgers use."""
        return [ledger_owner(entry.obj) for key, entry in self._objects.entries() if key.namespace]

    def project(self, name: str) -> ManagedProject | None:
        """Return the ManagedProject with this name."""
        return self._objects.one(ManagedProject, project_key(name))

    def identity(self, namespace: str, name: str) -> CloudRunIdentity | None:
        """Return the CloudRunIdentity with this name."""
        return self._objects.one(CloudRunIdentity, identity_key(namespace, name))

    def is_account_declared(self, email: str, unique_id: str) -> bool:
        """Return whether an identity that is not being deleted has the account with this ID."""
        record = self.owner_of(email)
        if record is None or record.unique_id != unique_id:
            return False
        namespace, _, name = record.owner.partition("/")
        identity = self.identity(namespace, name)
        return identity is not None and not identity.is_deleting

    def custom_role(self, namespace: str, name: str) -> CustomRole | None:
        """Return the CustomRole with this name."""
        return self._objects.one(CustomRole, custom_role_key(namespace, name))

    def attachment(self, namespace: str, name: str) -> IdentityAttachment | None:
        """Return the IdentityAttachment with this name."""
        return self._objects.one(IdentityAttachment, attachment_key(namespace, name))

    def key(self, namespace: str, name: str) -> IdentityKey | None:
        """Return the IdentityKey of this name."""
        return self._objects.one(IdentityKey, ObjectKey(IdentityKey.__name__, namespace, name))

    def objects(self, kind: type[Kind]) -> Iterable[Kind]:
        """Return all objects of one kind."""
        return self._objects.all(kind)

    def referrers(self, key: ObjectKey) -> Iterable[ObjectKey]:
        """Return the objects that refer to this one. Invalid objects refer to their ManagedProject only."""
        invalid = {
            other for other, raw in self._objects.invalid() if key == project_key(project_named_by(raw))
        }
        return invalid.union(self._objects.referrers(key))

    def locations(self, namespace: str, project: str) -> frozenset[str]:
        """Return the locations that attachments and bindings of a namespace name in a ManagedProject."""
        return self._objects.locations(namespace, project)

    def exists(self, key: ObjectKey) -> bool:
        """Return whether the object exists. Objects of a kind that is not installed are assumed to exist."""
        return self.stored(key) is not None or key.kind not in self._listed

    def is_invalid(self, key: ObjectKey) -> bool:
        """Return whether the object exists, and the operator has seen no valid version of it."""
        return self._objects.was_never_valid(key)

    def other_declarers(self, key: ObjectKey) -> Iterable[ReconciledResource]:
        """Return the other objects that declare the same Google Cloud resource as this one."""
        entry = self._objects.get(key)
        keys = self._objects.declarers(entry.declares) if entry else ()
        return [found.obj for other in keys if other != key and (found := self._objects.get(other))]

    def declarers(self, kind: type[Resource], declares: str) -> Iterable[ObjectKey]:
        """Return the objects of a kind that declare a Google Cloud resource, as `Kind.declares` names it."""
        return self._objects.declarers((kind.__name__, declares))

    def is_refused(self, key: ObjectKey, project: ManagedProject) -> bool:
        """Return whether what the object declares is refused, for example by the guardrails."""
        entry = self._objects.get(key)
        allowed = Allowed(project, observe=False)
        return entry is not None and self._kinds[key.kind].refuses(entry.obj, allowed, self)

    def counts(self, now: datetime) -> ObjectCounts:
        """Return the counts of all objects for the metrics."""
        objects = self._objects
        keys, projects = objects.valid(IdentityKey), objects.valid(ManagedProject)
        return counts_of(objects.states(), keys, projects, self._kinds, now)

    # Google Cloud projects.

    def project_on(self, project_id: str) -> ManagedProject | None:
        """Return the ManagedProject that manages a Google Cloud project: the oldest one that names it."""
        declarers = self._objects.declarers((_PROJECT, project_id))
        projects = [project for key in declarers if (project := self.project(key.name))]
        return min(projects, key=older_first, default=None)

    def operates(self, project: ManagedProject) -> bool:
        """Return whether this operator acts on the project: its status names this operator."""
        stored = self.stored(ObjectKey.of(project))  # the last version, which may be invalid
        return self._operator is None or (
            stored is not None and recorded_operator(stored.raw) == self._operator
        )

    def invalid_project_on(self, project_id: str) -> ObjectKey | None:
        """Return the oldest ManagedProject of a Google Cloud project if it was never valid."""
        candidates = {
            key: raw
            for key, raw in self._objects.invalid()
            if key.kind == _PROJECT and project_id_said_by(raw) == project_id
        }
        valid = self.project_on(project_id) if candidates else None
        if valid and (entry := self._objects.get(ObjectKey.of(valid))):
            candidates[ObjectKey.of(valid)] = entry.raw
        oldest = min(candidates, key=lambda key: _age(candidates[key]), default=None)
        return oldest if oldest and self.is_invalid(oldest) else None

    def credential_accounts(self) -> frozenset[str]:
        """Return the e-mails, in lower case, of the accounts that the operator acts as."""
        if self._declared_credentials is None:  # computed once, because every reconcile asks for it
            # An invalid ManagedProject counts too: the operator used its accounts, and will use them again.
            raws = self._objects.raws(ManagedProject)
            raws += [raw for key, raw in self._objects.invalid() if key.kind == _PROJECT]
            self._declared_credentials = frozenset[str]().union(*map(accounts_said_by, raws))
        identity = self._operator_identity()
        return self._declared_credentials | {identity} if identity else self._declared_credentials

    def project_of(self, raw: Object) -> Object | None:
        """Return the ManagedProject that an object names, as the API server sent it."""
        stored = self.stored(project_key(project_named_by(raw))) if raw["kind"] != _PROJECT else None
        return stored.raw if stored else None

    # Namespaces.

    def admitted_namespaces(self, project: ManagedProject) -> frozenset[str]:
        """Return the existing namespaces that may use the project."""
        return self._namespaces.admitted_by(project)

    def has_namespace(self, namespace: str) -> bool:
        """Return whether a namespace with this name exists."""
        return namespace in self._namespaces.labels()

    def is_terminating(self, namespace: str) -> bool:
        """Return whether the namespace is being deleted."""
        return self._namespaces.is_terminating(namespace)


def _age(raw: Object) -> tuple[str, str]:
    """Return a sort key like `older_first`, for an object that may be invalid."""
    metadata = raw["metadata"]
    return metadata.get("creationTimestamp") or _NEVER, metadata["uid"]


_NEVER = "9999"
"""Sorts after every timestamp."""
