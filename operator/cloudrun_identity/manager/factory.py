"""Every kind's controller, with what it works with."""

import time
from collections.abc import Callable, Mapping
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

from .clock import key_clock, now
from .workers import Slots


def controllers(
    clients: ClientPool,
    policies: Policies,
    roles: Roles,
    ledgers: Ledgers,
    secrets: KeySecrets,
    syncers: PolicySyncers,
    propagation: PropagationTracker,
    event_reporter: EventReporter,
    slots: Slots,
    records: Records,
    checkpoint: Callable[[str], None],
) -> Mapping[str, Controller[Any, Any, Any]]:
    """The controller of every kind by the kind's name; `checkpoint(step)` is told after every step."""
    service_accounts, run = ServiceAccounts(clients), Run(clients)
    inventory = Inventory(service_accounts, run, time.monotonic)
    deps = AccountDependencies(
        service_accounts,
        inventory,
        AccountRecords(ledgers, now),
        propagation,
        RecentWrites(time.monotonic),
        checkpoint,
    )
    accounts = Accounts(deps)
    releaser = Releaser(syncers, slots.slot_released)
    deletion = IdentityDeletion(deps, accounts, Usage(inventory), releaser, event_reporter)
    custom_roles = CustomRoles(clients, time.monotonic)
    definitions = RoleDefinitions(custom_roles, roles, ledgers, syncers, now, checkpoint)
    access = PermissionChecks(policies, roles, time.monotonic)
    moved = AttachmentRecords(ledgers)
    attachments = IdentityAttachmentController(
        run,
        inventory,
        Preflight(inventory, access),
        Restoration(run, inventory, moved, event_reporter, checkpoint),
        moved,
        records,
        now,
        checkpoint,
    )
    keys = Keys(clients, time.monotonic)
    rotation = KeyRotation(keys, secrets, ledgers, event_reporter, key_clock(), checkpoint)
    return {
        ManagedProject.__name__: ManagedProjectController(
            Projects(clients), policies, OrgPolicies(clients), inventory, clients.identity, now
        ),
        CloudRunIdentity.__name__: CloudRunIdentityController(
            accounts, deletion, IdentityAuditor(inventory, access, keys), roles
        ),
        IAMBinding.__name__: IAMBindingController(releaser, inventory),
        IdentityAttachment.__name__: attachments,
        CustomRole.__name__: CustomRoleController(custom_roles, definitions, syncers),
        IdentityKey.__name__: IdentityKeyController(rotation),
    }
