"""The kinds that the operator reconciles, and how their controllers are built.

To add a kind, write a function that builds its controller and add one line to `CONTROLLERS`.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cloudrun_identity.api import (
    CloudRunIdentity,
    CustomRole,
    IAMBinding,
    IdentityAttachment,
    IdentityKey,
    ManagedProject,
)
from cloudrun_identity.controllers.cloud_run_identity.account_dependencies import AccountDependencies
from cloudrun_identity.controllers.cloud_run_identity.account_records import AccountRecords
from cloudrun_identity.controllers.cloud_run_identity.accounts import Accounts
from cloudrun_identity.controllers.cloud_run_identity.audit import IdentityAuditor
from cloudrun_identity.controllers.cloud_run_identity.controller import CloudRunIdentityController
from cloudrun_identity.controllers.cloud_run_identity.deletion import IdentityDeletion
from cloudrun_identity.controllers.cloud_run_identity.propagation import PropagationTracker
from cloudrun_identity.controllers.cloud_run_identity.recent_writes import RecentWrites
from cloudrun_identity.controllers.cloud_run_identity.usage import Usage
from cloudrun_identity.controllers.custom_role.controller import CustomRoleController
from cloudrun_identity.controllers.custom_role.definitions import RoleDefinitions
from cloudrun_identity.controllers.iam_binding import IAMBindingController
from cloudrun_identity.controllers.identity_attachment.attachment_records import AttachmentRecords
from cloudrun_identity.controllers.identity_attachment.controller import IdentityAttachmentController
from cloudrun_identity.controllers.identity_attachment.preflight import Preflight
from cloudrun_identity.controllers.identity_attachment.restoration import Restoration
from cloudrun_identity.controllers.identity_key.controller import IdentityKeyController
from cloudrun_identity.controllers.identity_key.rotation import KeyRotation
from cloudrun_identity.controllers.managed_project.controller import ManagedProjectController
from cloudrun_identity.gcp.client_pool import ClientPool
from cloudrun_identity.gcp.custom_roles import CustomRoles
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.keys import Keys
from cloudrun_identity.gcp.org_policies import OrgPolicies
from cloudrun_identity.gcp.permission_checks import PermissionChecks
from cloudrun_identity.gcp.policies import Policies
from cloudrun_identity.gcp.projects import Projects
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity.gcp.run import Run
from cloudrun_identity.gcp.service_accounts import ServiceAccounts
from cloudrun_identity.kube.secrets import KeySecrets
from cloudrun_identity.ledger.store import Ledgers
from cloudrun_identity.policy.syncers import PolicySyncers
from cloudrun_identity.reconcile.events import EventReporter
from cloudrun_identity.reconcile.grants.release import Releaser
from cloudrun_identity.reconcile.interfaces import Controller
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
    run: Run
    """Single Cloud Run workloads."""
    inventory: Inventory
    """Lists of service accounts and workloads, cached."""
    keys: Keys
    """Service account keys, cached."""
    permission_checks: PermissionChecks
    """Permissions of a principal, cached."""

    @classmethod
    def of(cls, clients: ClientPool) -> "Cloud":
        """Return the clients on one pool of connections."""
        policies, roles = Policies(clients), Roles(clients)
        service_accounts, run = ServiceAccounts(clients), Run(clients)
        return cls(
            clients=clients,
            policies=policies,
            roles=roles,
            service_accounts=service_accounts,
            run=run,
            inventory=Inventory(service_accounts, run, time.monotonic),
            keys=Keys(clients, time.monotonic),
            permission_checks=PermissionChecks(policies, roles, time.monotonic),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KindParts:
    """The parts of the operator that controllers are built from."""

    cloud: Cloud
    """Clients of Google Cloud."""
    ledgers: Ledgers
    """Records of the accounts, roles, keys and attachments that the operator manages."""
    secrets: KeySecrets
    """Secrets that hold service account keys."""
    syncers: PolicySyncers
    """The desired grants of all objects, by policy."""
    releaser: Releaser
    """Releases the grants of an object that is being deleted."""
    propagation: PropagationTracker
    """Accounts that Google Cloud may not know everywhere yet."""
    records: Records
    """Status fields that are persisted before the action that they describe."""
    event_reporter: EventReporter
    """Kubernetes Events."""
    checkpoint: Callable[[str], None]
    """Called after each step that a crash could follow."""


def managed_project(parts: KindParts) -> ManagedProjectController:
    """Build the controller of ManagedProjects."""
    cloud = parts.cloud
    return ManagedProjectController(
        Projects(cloud.clients),
        cloud.policies,
        OrgPolicies(cloud.clients),
        cloud.inventory,
        cloud.clients.identity,
        now,
    )


def cloud_run_identity(parts: KindParts) -> CloudRunIdentityController:
    """Build the controller of CloudRunIdentities."""
    cloud = parts.cloud
    deps = AccountDependencies(
        cloud.service_accounts,
        cloud.inventory,
        AccountRecords(parts.ledgers, now),
        parts.propagation,
        RecentWrites(time.monotonic),
        parts.checkpoint,
    )
    accounts = Accounts(deps)
    deletion = IdentityDeletion(deps, accounts, Usage(cloud.inventory), parts.releaser, parts.event_reporter)
    auditor = IdentityAuditor(cloud.inventory, cloud.permission_checks, cloud.keys)
    return CloudRunIdentityController(accounts, deletion, auditor, cloud.roles)


def iam_binding(parts: KindParts) -> IAMBindingController:
    """Build the controller of IAMBindings."""
    return IAMBindingController(parts.releaser, parts.cloud.inventory)


def identity_attachment(parts: KindParts) -> IdentityAttachmentController:
    """Build the controller of IdentityAttachments."""
    cloud, records = parts.cloud, AttachmentRecords(parts.ledgers)
    return IdentityAttachmentController(
        cloud.run,
        cloud.inventory,
        Preflight(cloud.inventory, cloud.permission_checks),
        Restoration(cloud.run, cloud.inventory, records, parts.event_reporter, parts.checkpoint),
        records,
        parts.records,
        now,
        parts.checkpoint,
    )


def custom_role(parts: KindParts) -> CustomRoleController:
    """Build the controller of CustomRoles."""
    cloud = parts.cloud
    roles = CustomRoles(cloud.clients, time.monotonic)
    definitions = RoleDefinitions(roles, cloud.roles, parts.ledgers, parts.syncers, now, parts.checkpoint)
    return CustomRoleController(roles, definitions, parts.syncers)


def identity_key(parts: KindParts) -> IdentityKeyController:
    """Build the controller of IdentityKeys."""
    return IdentityKeyController(
        KeyRotation(
            parts.cloud.keys,
            parts.secrets,
            parts.ledgers,
            parts.event_reporter,
            key_clock(),
            parts.checkpoint,
        )
    )


CONTROLLERS: Mapping[str, Callable[[KindParts], Controller[Any, Any, Any]]] = {
    ManagedProject.__name__: managed_project,
    CloudRunIdentity.__name__: cloud_run_identity,
    IAMBinding.__name__: iam_binding,
    IdentityAttachment.__name__: identity_attachment,
    CustomRole.__name__: custom_role,
    IdentityKey.__name__: identity_key,
}
"""The function that builds the controller of each kind."""
