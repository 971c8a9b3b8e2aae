"""Recovery of lost ledgers: the records that objects, their status and Google Cloud justify.

The operator's own reconcile runs over copies of the objects, with an executor that never writes. It declares
the grants that the guardrails admit. A grant that the policy has already is recorded as managed.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from cloudrun_identity.api import (
    CloudRunIdentity,
    CustomRole,
    GrantState,
    LedgerAccount,
    LedgerEntry,
    LedgerRole,
    Origin,
    ProjectScopedResource,
    RoleState,
)
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.custom_roles import CustomRoles
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.service_accounts import ServiceAccount, expected_email
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.kube.resources import Object
from cloudrun_identity.ledger.interface import Change
from cloudrun_identity.ledger.model import Ledger, changed_entry
from cloudrun_identity.ledger.owners import owner_key_of
from cloudrun_identity.manager.engine import Engine
from cloudrun_identity.reconcile.cluster_state import ObjectKey, older_first

from .dry_run import DryRunSession, dry_run_session, policies_of
from .dry_run_policies import grant_text
from .in_memory_client import InMemoryClient
from .model import PlanBlocker

Declaring = TypeVar("Declaring", bound=ProjectScopedResource)


@dataclass(frozen=True, slots=True)
class RecoveredLedger:
    """The records that are missing in the ledger of one policy."""

    target: Target
    """Resource with the policy."""
    account: LedgerAccount | None
    """Record of the account; None if there is none to add."""
    roles: tuple[LedgerRole, ...]
    """Records of custom roles to add."""
    entries: Mapping[Grant, LedgerEntry]
    """Grants to record as managed."""

    @property
    def is_empty(self) -> bool:
        """Return whether nothing is missing."""
        return not (self.account or self.roles or self.entries)

    def lines(self) -> Iterator[str]:
        """Yield the records, one line each, with the objects that they belong to."""
        if self.account:
            origin = (self.account.origin or Origin.ADOPTED).lower()
            yield f"account, {origin}  (CloudRunIdentity {self.account.owner})"
        for role in self.roles:
            yield f"custom role {role.role_id}, {role.origin.lower()}  (CustomRole {role.owner})"
        for grant, entry in sorted(self.entries.items(), key=lambda item: grant_text(item[0])):
            owners = ", ".join(owner_key_of(owner).replace("/", " ", 1) for owner in entry.owners)
            yield f"{grant_text(grant)}  ({owners})"

    def change(self) -> Change:
        """Return the function that adds the records to a ledger. A record that exists is kept."""

        def added(ledger: Ledger) -> Ledger:
            if self.account and not ledger.account:
                ledger = ledger.with_account(self.account)
            for role in self.roles:
                if ledger.role(role.role_id) is None:
                    ledger = ledger.with_role(role)
            return ledger.with_entries({**ledger.entries, **self.entries}) if self.entries else ledger

        return added


@dataclass(frozen=True, slots=True)
class Recovery:
    """The records that are missing in all ledgers, and what prevents further ones."""

    ledgers: tuple[RecoveredLedger, ...]
    """Ledgers with missing records."""
    blockers: tuple[PlanBlocker, ...]
    """Objects that would not become Ready, so that their grants are not recovered."""


@dataclass(frozen=True, slots=True)
class RecoveryOptions:
    """Records that need the judgment of a person."""

    without_status: bool = False
    """True to record accounts and roles whose object has no status that proves that the operator had them.

    Any namespace that may use the project can declare an account or a role of this name.
    """
    present_before: bool = False
    """True to record as managed the grants that the ledger records as present before their object."""


async def recover(
    google: GoogleClients, objects: Iterable[Object], namespace: str, options: RecoveryOptions
) -> Recovery:
    """Return the missing records of the ledgers in a namespace.

    `objects` are the namespaces, the objects of all kinds and the ledgers of a cluster. Those that are being
    deleted do not count. `google` must refuse to write.

    Raises:
        GoogleError: An account or a role cannot be read.

    """
    client = InMemoryClient()
    for raw in objects:
        if "deletionTimestamp" not in raw["metadata"]:
            client.put(raw)
    async with dry_run_session(google, client, namespace) as run:
        before = {ledger.target: ledger for ledger in run.engine.ledgers.all()}
        await _record_accounts(run.engine, without_status=options.without_status)
        await _record_roles(run.engine, without_status=options.without_status)
        await run.reconcile_all()
        found = (_recovered(run, ledger, before, options) for ledger in run.engine.ledgers.all())
        missing = sorted((each for each in found if not each.is_empty), key=lambda each: each.target)
        return Recovery(tuple(missing), tuple(run.blockers()))


async def _record_accounts(engine: Engine, *, without_status: bool) -> None:
    """Record the existing accounts of identities without a record, in memory."""
    for identity in _oldest(engine, CloudRunIdentity):
        project = engine.cache.project(identity.spec.project_ref.name)
        if project is None or engine.cache.account_home(identity):
            continue
        email = identity.status.email or expected_email(project.project_id, identity.account_id)
        account = await _existing(engine, project.project_id, email)
        is_proven = account is not None and identity.status.unique_id == account.unique_id
        if account is None or not (is_proven or without_status):
            continue
        metadata = identity.metadata
        record = LedgerAccount(
            email=account.email,
            unique_id=account.unique_id,
            unique_ids=(account.unique_id,),
            origin=(identity.status.origin if is_proven else None) or Origin.ADOPTED,
            owner=f"{metadata.namespace}/{metadata.name}",
            owner_uid=metadata.uid,
            disabled=account.disabled,
        )
        home = Target.service_account(project.project_id, account.email)
        await engine.ledgers.update(home, _with_account(record))


async def _record_roles(engine: Engine, *, without_status: bool) -> None:
    """Record the existing custom roles of objects without a record, in memory."""
    roles = CustomRoles(engine.cloud.clients, time.monotonic)
    for obj in _oldest(engine, CustomRole):
        project = engine.cache.project(obj.spec.project_ref.name)
        if project is None or engine.cache.role(project.project_id, obj.spec.role_id):
            continue
        role = await roles.role(project.project_id, obj.spec.role_id, 0.0)
        is_proven = role is not None and obj.status.name == role.name and obj.status.origin is not None
        if role is None or role.deleted or not (is_proven or without_status):
            continue
        record = LedgerRole(
            role_id=obj.spec.role_id,
            owner=f"{obj.metadata.namespace}/{obj.metadata.name}",
            owner_uid=obj.metadata.uid,
            origin=(obj.status.origin if is_proven else None) or Origin.ADOPTED,
            state=RoleState.PRESENT,
        )
        await engine.ledgers.update(Target.project(project.project_id), _with_role(record))


def _oldest(engine: Engine, kind: type[Declaring]) -> Iterator[Declaring]:
    """Yield the objects of a kind, of several that declare the same resource only the oldest."""
    for obj in engine.cache.objects(kind):
        others = engine.cache.other_declarers(ObjectKey.of(obj))
        if all(older_first(obj) < older_first(other) for other in others):
            yield obj


async def _existing(engine: Engine, project_id: str, email: str) -> ServiceAccount | None:
    try:
        return await engine.cloud.service_accounts.get(project_id, email)
    except GoogleError as error:
        if error.fault is Fault.NOT_FOUND:
            return None
        raise


def _recovered(
    run: DryRunSession, ledger: Ledger, before: Mapping[Target, Ledger], options: RecoveryOptions
) -> RecoveredLedger:
    """Return the records that a ledger has after the reconciles, and had not before."""
    known = before.get(ledger.target, Ledger.of(ledger.target))
    present = policies_of(run.engine).present_before(ledger.target)
    declared = _declared(run)
    entries: dict[Grant, LedgerEntry] = {}
    for grant, entry in ledger.entries.items():
        former = known.entries.get(grant)
        is_missing = former is None or (options.present_before and former.present_before)
        if grant in present and grant in declared and is_missing:
            entries[grant] = changed_entry(entry, present_before=False, state=GrantState.GRANTED)
    return RecoveredLedger(
        target=ledger.target,
        account=None if known.account else ledger.account,
        roles=tuple(role for role in ledger.roles if known.role(role.role_id) is None),
        entries=entries,
    )


def _declared(run: DryRunSession) -> frozenset[Grant]:
    """Return the grants that objects declare. The operator manages none of an observed object."""
    return frozenset(
        desired.grant
        for owner in run.engine.cache.owners()
        if not run.executor.is_observed(ObjectKey(owner.kind, owner.namespace, owner.name))
        for desired in run.engine.syncers.desired_grants_of(owner)
    )


def _with_account(record: LedgerAccount) -> Callable[[Ledger], Ledger]:
    return lambda ledger: ledger.with_account(record)


def _with_role(record: LedgerRole) -> Callable[[Ledger], Ledger]:
    return lambda ledger: ledger.with_role(record)
