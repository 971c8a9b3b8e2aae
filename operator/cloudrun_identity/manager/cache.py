"""Every object of ours as last seen, indexed both ways by reference; what controllers call the world.

It is filled by our own list before anything is worked on, then by the watches and by the replies of our
writes. Whatever is older than what is known is dropped.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from cloudrun_identity.api import (
    CloudRunIdentity,
    ConditionStatus,
    ConditionType,
    CustomRole,
    IdentityAttachment,
    ManagedProject,
    ReconciledResource,
    Resource,
)
from cloudrun_identity.iam.admission import admits_namespace
from cloudrun_identity.iam.role_permissions import home_of
from cloudrun_identity.kube.objects import compact
from cloudrun_identity.kube.resources import Object
from cloudrun_identity.ledger.model import Ledger
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
    role_key,
)
from cloudrun_identity.reconcile.invalid_objects import accounts_said_by, project_id_said_by, project_named_by
from cloudrun_identity.reconcile.reconciler import AnyKindReconciler

from .change_predicates import asks_for_pass, facts, is_older
from .ledger_view import LedgerView
from .namespaces import Namespaces
from .object_index import Entry, Kind, ObjectIndex


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """What a look at an object asks for: a pass over itself, passes over others."""

    changed: bool = False
    woken: frozenset[ObjectKey] = frozenset()


NOTHING_NEW = ObjectChange()

_PROJECT = ManagedProject.__name__


class Cache(LedgerView):
    """The world, and the raw objects in it."""

    def __init__(
        self,
        kinds: Mapping[str, AnyKindReconciler],
        ledgers: Ledgers,
        wake: Callable[[Iterable[ObjectKey]], None],
        operator_identity: Callable[[], str] = lambda: "",
    ) -> None:
        """`wake` is called with objects that a write of ours, or a ledger, gave a reason to look again."""
        super().__init__(ledgers)
        self._kinds = kinds
        self._wake = wake
        self._operator_identity = operator_identity
        self._readable = ObjectIndex(kinds)
        self._invalid: dict[ObjectKey, Object] = {}
        self._listed: set[str] = set()
        self._namespaces = Namespaces()
        self._acted_as: frozenset[str] | None = None
        for ledger in ledgers.all():
            self._ledger_changed(Ledger(ledger.target), ledger)
        ledgers.subscribe(self._ledger_changed)

    def listed(self, kind: str) -> None:
        """Note that every object of the kind has been observed: who is missing does not exist."""
        self._listed.add(kind)

    # What the watches bring.

    def observe(self, raw: Object, *, deleted: bool) -> ObjectChange:
        """Take in an object of ours, or its end."""
        key = _key(raw)
        old = self._readable.get(key)
        if old and is_older(raw, old.raw, deleted=deleted):
            return NOTHING_NEW
        if key.kind == _PROJECT:
            self._acted_as = None
        if deleted:
            self._readable.remove(key)
            self._invalid.pop(key, None)
            return ObjectChange(changed=True, woken=self._concerned(key, old))
        raw = compact(raw)
        try:
            obj = self._kinds[key.kind].model.model_validate(raw)
        except ValidationError:
            is_news = self.raw(key) is None
            self._invalid[key] = raw  # the pass over it says what is wrong
            return ObjectChange(changed=True, woken=self._concerned(key, old) if is_news else frozenset())
        self._invalid.pop(key, None)
        self._readable.put(key, raw, obj)
        woken = self._concerned(key, old) if facts(old.raw if old else None) != facts(raw) else frozenset()
        return ObjectChange(changed=asks_for_pass(raw, old.raw if old else None), woken=woken)

    def observe_namespace(self, raw: Object, *, deleted: bool) -> frozenset[ObjectKey]:
        """Take in a namespace; returns the objects for which it makes a difference."""
        name = raw["metadata"]["name"]
        before = self._namespaces.labels().get(name)
        if not self._namespaces.observe(raw, deleted=deleted):
            return frozenset()
        own = {key for key in self._readable if key.namespace == name}
        return frozenset(own.union(*map(self.referrers, self._admitting_otherwise(name, before))))

    def missing_namespaces(
        self, listed: Collection[str], known: Mapping[str, Mapping[str, str]]
    ) -> frozenset[ObjectKey]:
        """Take in which namespaces a list showed; returns the objects for which it makes a difference.

        `known` are those that were known before the list was asked for. A watch that begins anew tells
        nothing of what ended before it, and a namespace has no finalizer of ours.
        """
        ended = self._namespaces.missing(listed, known)
        raws = ({"metadata": {"name": name}} for name in ended)
        return frozenset[ObjectKey]().union(*(self.observe_namespace(raw, deleted=True) for raw in raws))

    # The world.

    def raw(self, key: ObjectKey) -> Object | None:
        """The object as the API server sent it last."""
        if key in self._invalid:
            return self._invalid[key]
        entry = self._readable.get(key)
        return entry.raw if entry else None

    def stored(self, key: ObjectKey) -> StoredObject | None:
        """Return the object as last seen; None if it does not exist."""
        if key in self._invalid:
            return StoredObject(self._invalid[key], None)
        return self._readable.get(key)

    def absorb(self, raw: Object) -> None:
        """Take in the reply of a write of ours, which is no reason for a pass over the object itself."""
        if _key(raw) in self._readable:  # or else it ended before its reply came
            self._wake(self.observe(raw, deleted=False).woken)

    def drop(self, raw: Object) -> None:
        """Forget an object that a write of ours found gone."""
        self._wake(self.observe(raw, deleted=True).woken)

    def known(self) -> Iterable[ObjectKey]:
        """Every object there is."""
        return [*self._readable, *filter(self.is_invalid, self._invalid)]

    def owners(self) -> Iterable[Owner]:
        """Every object, as ledgers name it."""
        return [ledger_owner(entry.obj) for key, entry in self._readable.entries() if key.namespace]

    def project(self, name: str) -> ManagedProject | None:
        """The ManagedProject of this name."""
        return self._readable.one(ManagedProject, project_key(name))

    def identity(self, namespace: str, name: str) -> CloudRunIdentity | None:
        """The CloudRunIdentity of this name."""
        return self._readable.one(CloudRunIdentity, identity_key(namespace, name))

    def custom_role(self, namespace: str, name: str) -> CustomRole | None:
        """The CustomRole of this name."""
        return self._readable.one(CustomRole, custom_role_key(namespace, name))

    def attachment(self, namespace: str, name: str) -> IdentityAttachment | None:
        """The IdentityAttachment of this name."""
        return self._readable.one(IdentityAttachment, attachment_key(namespace, name))

    def objects(self, kind: type[Kind]) -> Iterable[Kind]:
        """All objects of one kind."""
        return self._readable.all(kind)

    def referrers(self, key: ObjectKey) -> Iterable[ObjectKey]:
        """The objects that refer to this one; of those that cannot be read the ones of a project."""
        unread = {each for each, raw in self._invalid.items() if key == project_key(project_named_by(raw))}
        return unread.union(self._readable.referrers(key))

    def is_there(self, key: ObjectKey) -> bool:
        """Whether the object exists; taken for granted of a kind that is not served, which nobody listed."""
        return self.raw(key) is not None or key.kind not in self._listed

    def is_invalid(self, key: ObjectKey) -> bool:
        """Whether the object exists and could never be read, because it does not fit its kind."""
        return key in self._invalid and key not in self._readable

    def rivals(self, key: ObjectKey) -> Iterable[Resource]:
        """The other objects that declare the very thing in Google Cloud that this one declares."""
        entry = self._readable.get(key)
        others = self._readable.declarers(entry.declares) if entry else ()
        return [found.obj for other in others if other != key and (found := self._readable.get(other))]

    def credential_accounts(self) -> frozenset[str]:
        """The e-mails, in lower case, of the accounts that the operator acts as."""
        if self._acted_as is None:  # asked some times in every pass
            # What cannot be read now was acted as before, and is again once it can.
            unread = [raw for key, raw in self._invalid.items() if key.kind == _PROJECT]
            said = map(accounts_said_by, [*self._readable.raws(ManagedProject), *unread])
            self._acted_as = frozenset[str]().union(*said)
        identity = self._operator_identity()
        return self._acted_as | {identity} if identity else self._acted_as

    def project_on(self, project_id: str) -> ManagedProject | None:
        """The ManagedProject that a Google Cloud project is worked in by: the oldest on it."""
        declarers = self._readable.declarers((_PROJECT, project_id))
        projects = [project for key in declarers if (project := self.project(key.name))]
        return min(projects, key=older_first, default=None)

    def unread_project_on(self, project_id: str) -> ObjectKey | None:
        """A ManagedProject on a Google Cloud project that could never be read, if it is the oldest on it."""
        there = {
            key: raw
            for key, raw in self._invalid.items()
            if key.kind == _PROJECT and project_id_said_by(raw) == project_id
        }
        known = self.project_on(project_id) if there else None
        if known and (entry := self._readable.get(ObjectKey.of(known))):
            there[ObjectKey.of(known)] = entry.raw
        oldest = min(there, key=lambda key: _age(there[key]), default=None)
        return oldest if oldest and self.is_invalid(oldest) else None

    def namespaces(self) -> Mapping[str, Mapping[str, str]]:
        """The labels of every namespace."""
        return self._namespaces.labels()

    def admitted_namespaces(self, project: ManagedProject) -> frozenset[str]:
        """The existing namespaces that may use the project."""
        return self._namespaces.admitted_by(project)

    def has_namespace(self, namespace: str) -> bool:
        """Whether a namespace of this name has been observed."""
        return namespace in self._namespaces.labels()

    def is_terminating(self, namespace: str) -> bool:
        """Whether the namespace is on its way out."""
        return self._namespaces.is_terminating(namespace)

    def readiness(self) -> Mapping[tuple[str, str], int]:
        """How many objects of each kind have which value of Ready; one that cannot be read is not."""
        unread = ((key.kind, ConditionStatus.FALSE) for key in self._invalid)
        read = ((key, entry.obj) for key, entry in self._readable.entries() if key not in self._invalid)
        return Counter([*unread, *((key.kind, _readiness_of(obj)) for key, obj in read)])

    # Whom a change concerns.

    def _admitting_otherwise(self, name: str, before: Mapping[str, str] | None) -> Iterable[ObjectKey]:
        """The projects that admitted the namespace with its labels of before and do not now, or the reverse.

        How many namespaces a project admits decides about its workloads, so all its objects are concerned.
        """
        now = self._namespaces.labels().get(name)
        for project in self.objects(ManagedProject):
            if _admits(project, name, before) != _admits(project, name, now):
                yield ObjectKey.of(project)

    def _concerned(self, key: ObjectKey, old: Entry | None) -> frozenset[ObjectKey]:
        """Who refers to an object, its rivals, and if it left who waited for that."""
        concerned = set(self.referrers(key)) | {ObjectKey.of(rival) for rival in self.rivals(key)}
        if old and key not in self._readable:
            concerned |= set(self._readable.declarers(old.declares))
            concerned |= {each for each in map(self._named, old.references) if self._is_leaving(each)}
        return frozenset(each for each in concerned if self.raw(each) is not None)

    def _named(self, reference: ObjectKey) -> ObjectKey:
        """The object that a reference means; a role in full stands for the CustomRole that has it."""
        home = home_of(reference.name) if reference == role_key(reference.name) else None
        record = self.role(*home) if home else None
        return custom_role_key(*record.owner.split("/", 1)) if record else reference

    def _is_leaving(self, key: ObjectKey) -> bool:
        """Whether an object is to go as soon as nobody refers to it any more."""
        entry = self._readable.get(key)
        return entry is not None and entry.obj.is_deleting

    def _ledger_changed(self, old: Ledger, new: Ledger) -> None:
        for key in self._take_in(old, new):
            self._wake(self.referrers(key))


def _age(raw: Object) -> tuple[str, str]:
    """The order of `older_first`, of an object that need not be readable."""
    metadata = raw["metadata"]
    return metadata.get("creationTimestamp") or _NEVER, metadata["uid"]


_NEVER = "9999"  # comes after every time


def _readiness_of(obj: ReconciledResource) -> ConditionStatus:
    ready = obj.status.condition(ConditionType.READY)
    return ready.status if ready else ConditionStatus.UNKNOWN


def _admits(project: ManagedProject, name: str, labels: Mapping[str, str] | None) -> bool:
    return labels is not None and admits_namespace(project, name, labels)


def _key(raw: Object) -> ObjectKey:
    metadata = raw["metadata"]
    return ObjectKey(raw["kind"], metadata.get("namespace", ""), metadata["name"])
