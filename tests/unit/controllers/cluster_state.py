"""Objects made from manifests, and the state of a cluster that has them."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeVar, cast

import yaml

from cloudrun_identity.api import (
    CloudRunIdentity,
    CustomRole,
    IAMBinding,
    IdentityAttachment,
    IdentityKey,
    LedgerAccount,
    LedgerAttachment,
    LedgerEntry,
    LedgerRole,
    ManagedProject,
    ReconciledResource,
    Resource,
    RoleState,
    TargetKind,
)
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.namespace_selection import admitted_namespaces
from cloudrun_identity.iam.principals import lower_email
from cloudrun_identity.ledger.keys import KeyRing
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.ledger.temporary_grants import TemporaryGrants
from cloudrun_identity.reconcile.cluster_state import (
    ObjectKey,
    attachment_key,
    custom_role_key,
    identity_key,
    project_key,
)

Kind = TypeVar("Kind", bound=Resource)

KINDS: dict[str, type[ReconciledResource]] = {
    kind.__name__: kind
    for kind in (CloudRunIdentity, CustomRole, IAMBinding, IdentityAttachment, IdentityKey, ManagedProject)
}

PROJECT = """
kind: ManagedProject
metadata: {name: payments-prod, uid: u-project, generation: 1}
spec:
  projectID: payments-prod-1234
  namespaces: {names: [payments, shop]}
  guardrails:
    grants:
      - roles: [roles/cloudsql.client]
        targetKinds: [Project]
        members: ["user:*", identities]
        namespaces: ["*"]
      - {roles: [roles/run.invoker], targetKinds: [Service], members: ["group:*"], namespaces: ["*"]}
    workloads:
      - {namespaces: [payments], names: ["checkout*"]}
status: {projectNumber: "417203958816"}
"""

IDENTITY = """
kind: CloudRunIdentity
metadata: {name: checkout, namespace: payments, uid: u-checkout, generation: 1}
spec: {projectRef: {name: payments-prod}}
"""

EMAIL = "checkout@payments-prod-1234.iam.gserviceaccount.com"


def parsed(text: str, **spec: Any) -> Any:
    """Return the object that a manifest describes, with fields of its spec replaced."""
    raw = dict(_loaded(text))
    raw["spec"] = {**raw.get("spec", {}), **spec}
    return KINDS[raw["kind"]].model_validate(raw)


@lru_cache  # property tests parse one text thousands of times
def _loaded(text: str) -> Any:
    return yaml.safe_load(text)


def project(text: str = PROJECT, **spec: Any) -> ManagedProject:
    return cast("ManagedProject", parsed(text, **spec))


def admitted(emails: Iterable[str], *namespaces: str) -> list[dict[str, Any]]:
    """Return guardrail entries for accounts, by default for the namespace of the identity."""
    return [{"email": email, "namespaces": list(namespaces or ("payments",))} for email in emails]


def identity(text: str = IDENTITY, **spec: Any) -> CloudRunIdentity:
    return cast("CloudRunIdentity", parsed(text, **spec))


def binding(text: str, **spec: Any) -> IAMBinding:
    return cast("IAMBinding", parsed(text, **spec))


def record(owner: str = "payments/checkout", email: str = EMAIL, **fields: Any) -> LedgerAccount:
    """Return the record of a settled account."""
    return LedgerAccount(email=email, owner=owner, owner_uid="u-checkout", **{"unique_id": "111", **fields})


class FakeClusterState:
    """Objects, namespaces and records that a test sets."""

    def __init__(
        self,
        *objects: ReconciledResource,
        accounts: Iterable[LedgerAccount] = (),
        namespaces: Iterable[str] = ("payments", "shop"),
        roles: Iterable[LedgerRole] = (),
        entries: Mapping[Grant, LedgerEntry] | None = None,
    ) -> None:
        self._objects = {ObjectKey.of(obj): obj for obj in objects}
        self._accounts = {each.owner: each for each in accounts}
        self._namespaces = {name: dict[str, str]() for name in namespaces}
        self._roles = {each.role_id: each for each in roles}
        self._entries = entries or {}
        self.rings: dict[Target, KeyRing] = {}
        self.unique_ids: dict[Target, str] = {}
        self.declarers: dict[ObjectKey, list[ReconciledResource]] = {}
        self.refused: set[ObjectKey] = set()
        self.attached: LedgerAttachment | None = None
        self.references: dict[ObjectKey, set[ObjectKey]] = {}
        self.invalid: set[ObjectKey] = set()
        self.terminating: set[str] = set()
        self.stored_ledgers: list[Ledger] = []
        self.left_accounts: list[LedgerAccount] = []
        self.temporary: TemporaryGrants = {}

    def project(self, name: str) -> ManagedProject | None:
        return cast("ManagedProject | None", self._objects.get(project_key(name)))

    def project_on(self, project_id: str) -> ManagedProject | None:
        delegated = (each for each in self._objects.values() if isinstance(each, ManagedProject))
        return next((each for each in delegated if each.project_id == project_id), None)

    def identity(self, namespace: str, name: str) -> CloudRunIdentity | None:
        return cast("CloudRunIdentity | None", self._objects.get(identity_key(namespace, name)))

    def custom_role(self, namespace: str, name: str) -> CustomRole | None:
        return cast("CustomRole | None", self._objects.get(custom_role_key(namespace, name)))

    def attachment(self, namespace: str, name: str) -> IdentityAttachment | None:
        return cast("IdentityAttachment | None", self._objects.get(attachment_key(namespace, name)))

    def key(self, namespace: str, name: str) -> IdentityKey | None:
        found = self._objects.get(ObjectKey(IdentityKey.__name__, namespace, name))
        return cast("IdentityKey | None", found)

    def role(self, project_id: str, role_id: str) -> LedgerRole | None:
        return self._roles.get(role_id)

    def role_home(self, role: CustomRole) -> tuple[str, LedgerRole] | None:
        owner = f"{role.metadata.namespace}/{role.metadata.name}"
        return next(
            (
                (self._project_id(role), each)
                for each in self._roles.values()
                if each.owner == owner and each.state is not RoleState.DELETED
            ),
            None,
        )

    def _project_id(self, obj: CustomRole) -> str:
        project = self.project(obj.spec.project_ref.name)
        return project.project_id if project else ""

    def key_ring(self, account: Target) -> KeyRing:
        return self.rings.get(account, KeyRing())

    def key_home(self, key: IdentityKey) -> tuple[Target, str] | None:
        owner = f"{key.metadata.namespace}/{key.metadata.name}"
        home = next((home for home, ring in self.rings.items() if owner in ring.owners), None)
        return (home, self.unique_ids[home]) if home else None

    def held_by_role(self, role: str) -> Iterable[tuple[Grant, LedgerEntry]]:
        return [(grant, held) for grant, held in self._entries.items() if grant.role == role]

    def objects(self, kind: type[Kind]) -> Iterable[Kind]:
        return [obj for obj in self._objects.values() if isinstance(obj, kind)]

    def referrers(self, key: ObjectKey) -> Iterable[ObjectKey]:
        return self.references.get(key, ())

    def locations(self, namespace: str, project: str) -> frozenset[str]:
        found = [
            (obj, obj.spec.target.location if isinstance(obj, IAMBinding) else obj.spec.workload.location)
            for obj in self._objects.values()
            if isinstance(obj, IAMBinding | IdentityAttachment)
        ]
        return frozenset(
            location
            for obj, location in found
            if location and (obj.metadata.namespace, obj.spec.project_ref.name) == (namespace, project)
        )

    def exists(self, key: ObjectKey) -> bool:
        return key in self._objects

    def is_invalid(self, key: ObjectKey) -> bool:
        return key in self.invalid

    def ledger(self, target: Target) -> Ledger:
        entries = {grant: held for grant, held in self._entries.items() if grant.target == target}
        accounts = (*self.left_accounts, *self._accounts.values())
        account = next((each for each in accounts if each.email == target.name), None)
        ledger = Ledger.of(target, entries).with_attachment(self.attached)
        temporary = {key: each for key, each in self.temporary.items() if key[1].target == target}
        ledger = ledger.with_temporary(temporary)
        return ledger.replace(account=account) if account else ledger

    operated_elsewhere: frozenset[str] = frozenset()
    """Names of the ManagedProjects of another operator."""

    def operates(self, project: ManagedProject) -> bool:
        return project.metadata.name not in self.operated_elsewhere

    def invalid_ledger_of(self, owner_key: str) -> str:
        return ""

    def ledgers(self, project_id: str) -> Iterable[Ledger]:
        return self.stored_ledgers

    def other_declarers(self, key: ObjectKey) -> Iterable[ReconciledResource]:
        return self.declarers.get(key, ())

    def is_refused(self, key: ObjectKey, project: ManagedProject) -> bool:
        return key in self.refused

    def identities(self) -> Mapping[str, DeclaredIdentity]:
        return {
            lower_email(each.email): DeclaredIdentity(*each.owner.split("/"))
            for each in self._accounts.values()
        }

    def admitted_namespaces(self, project: ManagedProject) -> frozenset[str]:
        return admitted_namespaces(project, self._namespaces)

    def credential_accounts(self) -> frozenset[str]:
        return frozenset({"operator@ops.iam.gserviceaccount.com"})

    def account_home(self, identity: CloudRunIdentity) -> Target | None:
        record, project = self.account(identity), self.project(identity.spec.project_ref.name)
        if record is None or project is None:
            return None
        return Target(TargetKind.SERVICE_ACCOUNT, project.project_id, name=record.email)

    def has_namespace(self, namespace: str) -> bool:
        return namespace in self._namespaces

    def is_terminating(self, namespace: str) -> bool:
        return namespace in self.terminating

    def account(self, identity: CloudRunIdentity) -> LedgerAccount | None:
        return self._accounts.get(f"{identity.metadata.namespace}/{identity.metadata.name}")

    def owner_of(self, email: str) -> LedgerAccount | None:
        declared = self.identities().get(lower_email(email))
        return self._accounts.get(f"{declared.namespace}/{declared.name}") if declared else None
