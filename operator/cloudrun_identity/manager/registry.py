"""The kinds that the operator reconciles, and how their reconcilers are built.

To add a kind, write a function that builds its reconciler and add one line to `KINDS`.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cloudrun_identity.api import (
    CloudRunIdentity,
    CustomRole,
    IAMBinding,
    IdentityAttachment,
    IdentityKey,
    ManagedProject,
)
from cloudrun_identity.controllers.cloud_run_identity.account_records import AccountRecords
from cloudrun_identity.controllers.cloud_run_identity.audit import IdentityAuditor
from cloudrun_identity.controllers.cloud_run_identity.controller import CloudRunIdentityController
from cloudrun_identity.controllers.cloud_run_identity.execution import AccountExecutor
from cloudrun_identity.controllers.cloud_run_identity.observation import AccountDependencies, AccountObserver
from cloudrun_identity.controllers.cloud_run_identity.propagation import PropagationTracker, RecentWrites
from cloudrun_identity.controllers.custom_role.controller import CustomRoleController
from cloudrun_identity.controllers.custom_role.execution import RoleExecution
from cloudrun_identity.controllers.custom_role.role_records import RoleRecords
from cloudrun_identity.controllers.iam_binding import IAMBindingController
from cloudrun_identity.controllers.identity_attachment.attachment_records import AttachmentRecords
from cloudrun_identity.controllers.identity_attachment.controller import IdentityAttachmentController
from cloudrun_identity.controllers.identity_attachment.execution import AttachmentExecution
from cloudrun_identity.controllers.identity_attachment.preflight import Preflight
from cloudrun_identity.controllers.identity_key.assumption import KeyAssumption
from cloudrun_identity.controllers.identity_key.controller import IdentityKeyController
from cloudrun_identity.controllers.identity_key.execution import KeyExecution
from cloudrun_identity.controllers.identity_key.key_records import KeyRecords
from cloudrun_identity.controllers.managed_project.change_feed import FeedReader
from cloudrun_identity.controllers.managed_project.controller import ManagedProjectController
from cloudrun_identity.controllers.managed_project.orphans import OrphanReleaser
from cloudrun_identity.controllers.managed_project.powerful_accounts import PowerfulAccounts
from cloudrun_identity.gcp.client_pool import ClientPool
from cloudrun_identity.gcp.custom_roles import CustomRoles
from cloudrun_identity.gcp.findings_reader import FindingsReader
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.keys import Keys
from cloudrun_identity.gcp.last_use import MAX_WAIT, LastUses
from cloudrun_identity.gcp.org_policies import OrgPolicies
from cloudrun_identity.gcp.permission_checks import PermissionChecks
from cloudrun_identity.gcp.policies import Policies
from cloudrun_identity.gcp.projects import Projects
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity.gcp.run import Run
from cloudrun_identity.gcp.service_accounts import ServiceAccounts
from cloudrun_identity.gcp.unique_ids import UniqueIDs
from cloudrun_identity.iam.shares import Budget
from cloudrun_identity.kube.secrets import KeySecrets
from cloudrun_identity.ledger.store import Ledgers
from cloudrun_identity.reconcile.dependencies import Dependencies
from cloudrun_identity.reconcile.executor import Executor
from cloudrun_identity.reconcile.finish import Finisher
from cloudrun_identity.reconcile.kind_reconciler import KindReconciler
from cloudrun_identity.reconcile.reconciler import AnyKindReconciler
from cloudrun_identity.reconcile.repeated_drift import DriftHistory
from cloudrun_identity.reconcile.status_records import Records

from .hooks import key_clock, now


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """The Google Cloud clients that the kinds share."""

    clients: ClientPool
    """Connections by project, with the credentials that its ManagedProject declares."""
    policies: Policies
    """IAM policies."""
    roles: Roles
    """Permissions of predefined and custom roles, cached."""
    service_accounts: ServiceAccounts
    """Single service accounts."""
    unique_ids: UniqueIDs
    """Unique ids of targets and accounts."""
    run: Run
    """Single Cloud Run workloads."""
    inventory: Inventory
    """Lists of service accounts and workloads, cached."""
    keys: Keys
    """Service account keys, cached."""
    custom_roles: CustomRoles
    """Custom roles, cached."""
    permission_checks: PermissionChecks
    """Permissions of a principal, cached."""
    last_uses: LastUses
    """Last uses of accounts and keys, read once per hour."""

    @classmethod
    def of(cls, clients: ClientPool, *, reads_once: bool = False) -> "Cloud":
        """Return the clients on one pool of connections.

        With `reads_once`, accounts, workloads and roles are not read twice, whatever age is accepted.
        """
        policies, roles = Policies(clients), Roles(clients, reads_once=reads_once)
        service_accounts, run = ServiceAccounts(clients), Run(clients)
        unique_ids = UniqueIDs(clients, service_accounts)
        return cls(
            clients=clients,
            policies=policies,
            roles=roles,
            service_accounts=service_accounts,
            unique_ids=unique_ids,
            run=run,
            inventory=Inventory(service_accounts, run, time.monotonic, reads_once=reads_once),
            keys=Keys(clients, time.monotonic),
            custom_roles=CustomRoles(clients, time.monotonic),
            permission_checks=PermissionChecks(policies, roles, unique_ids, time.monotonic),
            last_uses=LastUses(clients, key_clock(), None if reads_once else MAX_WAIT),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KindParts:
    """The parts of the operator that kinds are built from."""

    cloud: Cloud
    """Clients of Google Cloud."""
    deps: Dependencies
    """Parts that the reconciler depends on."""
    executor: Executor
    """Executor of the actions of all kinds."""
    finisher: Finisher
    """Writes the status at the end of a reconcile."""
    ledgers: Ledgers
    """Records of the accounts, roles, keys and attachments that the operator manages."""
    secrets: KeySecrets
    """Secrets that hold service account keys."""
    propagation: PropagationTracker
    """Accounts that Google Cloud may not know everywhere yet."""
    records: Records
    """Status fields that are persisted before the action that they describe."""
    checkpoint: Callable[[str], None]
    """Called after each step that a crash could follow."""
    removals: Callable[[str], Budget]
    """Returns the removals of unmanaged members in a project in the last hour, by namespace."""
    drift_history: DriftHistory
    """Times of the last repairs of drift."""
    findings: FindingsReader
    """Findings of Google's Recommender, shared by the identities of a project."""
    feed: FeedReader
    """Returns the state of the change feed of a project."""
    feed_interval: Callable[[ManagedProject], float]
    """Returns the seconds between two resyncs of a project at present."""
    audits: bool
    """True to read what only the status shows: unmanaged keys, powerful accounts, workloads by account."""


def managed_project(parts: KindParts) -> AnyKindReconciler:
    """Build the reconciler of ManagedProjects."""
    cloud = parts.cloud
    kind = ManagedProjectController(
        Projects(cloud.clients),
        cloud.policies,
        OrgPolicies(cloud.clients),
        cloud.inventory,
        cloud.clients.identity,
        OrphanReleaser(parts.ledgers, parts.deps.syncers),
        now,
        PowerfulAccounts(cloud.policies, cloud.roles, time.monotonic) if parts.audits else None,
        parts.removals,
        parts.drift_history.repeated,
        findings=parts.findings if parts.audits else None,
        feed=parts.feed,
        resync_interval=parts.feed_interval,
    )
    return KindReconciler(kind, parts.deps, parts.executor, parts.finisher, resource=kind)


def cloud_run_identity(parts: KindParts) -> AnyKindReconciler:
    """Build the reconciler of CloudRunIdentities."""
    cloud = parts.cloud
    deps = AccountDependencies(
        cloud.service_accounts,
        cloud.inventory,
        AccountRecords(parts.ledgers, now),
        parts.propagation,
        RecentWrites(time.monotonic),
        parts.checkpoint,
    )
    kind = CloudRunIdentityController(
        AccountObserver(deps),
        AccountExecutor(deps),
        IdentityAuditor(cloud.inventory, cloud.permission_checks, cloud.keys) if parts.audits else None,
        cloud.roles,
        cloud.last_uses,
        parts.findings if parts.audits else None,
    )
    return KindReconciler(kind, parts.deps, parts.executor, parts.finisher, resource=kind, grants=kind)


def iam_binding(parts: KindParts) -> AnyKindReconciler:
    """Build the reconciler of IAMBindings."""
    kind = IAMBindingController(parts.cloud.inventory, parts.cloud.permission_checks)
    return KindReconciler(kind, parts.deps, parts.executor, parts.finisher, grants=kind)


def custom_role(parts: KindParts) -> AnyKindReconciler:
    """Build the reconciler of CustomRoles."""
    cloud = parts.cloud
    roles, records = cloud.custom_roles, RoleRecords(parts.ledgers, now)
    execution = RoleExecution(roles, cloud.roles, records, now, parts.checkpoint)
    kind = CustomRoleController(roles, records, execution, parts.deps.syncers, cloud.policies, now)
    return KindReconciler(kind, parts.deps, parts.executor, parts.finisher, resource=kind)


def identity_attachment(parts: KindParts) -> AnyKindReconciler:
    """Build the reconciler of IdentityAttachments."""
    cloud = parts.cloud
    attachments, checks = (
        AttachmentRecords(parts.ledgers),
        Preflight(cloud.inventory, cloud.permission_checks),
    )
    execution = AttachmentExecution(cloud.run, cloud.inventory, attachments, parts.records, parts.checkpoint)
    kind = IdentityAttachmentController(
        cloud.run, cloud.inventory, checks, attachments, execution, parts.deps.causes
    )
    return KindReconciler(kind, parts.deps, parts.executor, parts.finisher, resource=kind)


def identity_key(parts: KindParts) -> AnyKindReconciler:
    """Build the reconciler of IdentityKeys."""
    records = KeyRecords(parts.ledgers)
    cloud = parts.cloud
    execution = KeyExecution(
        cloud.keys, parts.secrets, records, key_clock(), parts.checkpoint, cloud.last_uses
    )
    kind = IdentityKeyController(execution, KeyAssumption(records, now))
    return KindReconciler(kind, parts.deps, parts.executor, parts.finisher, resource=kind)


KINDS: Mapping[str, Callable[[KindParts], AnyKindReconciler]] = {
    ManagedProject.__name__: managed_project,
    CloudRunIdentity.__name__: cloud_run_identity,
    IAMBinding.__name__: iam_binding,
    CustomRole.__name__: custom_role,
    IdentityAttachment.__name__: identity_attachment,
    IdentityKey.__name__: identity_key,
}
"""The function that builds the reconciler of each kind."""
