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
from cloudrun_identity.controllers.cloud_run_identity.account_records import AccountRecords
from cloudrun_identity.controllers.cloud_run_identity.account_tools import AccountTools
from cloudrun_identity.controllers.cloud_run_identity.accounts import Accounts
from cloudrun_identity.controllers.cloud_run_identity.audit import IdentityAuditor
from cloudrun_identity.controllers.cloud_run_identity.controller import CloudRunIdentityController
from cloudrun_identity.controllers.cloud_run_identity.deletion import IdentityDeletion
from cloudrun_identity.controllers.cloud_run_identity.probation import Probation
from cloudrun_identity.controllers.cloud_run_identity.recent_writes import RecentWrites
from cloudrun_identity.controllers.cloud_run_identity.usage import Usage
from cloudrun_identity.controllers.custom_role.controller import CustomRoleController
from cloudrun_identity.controllers.custom_role.definitions import RoleDefinitions
from cloudrun_identity.controllers.grants.release import Releaser
from cloudrun_identity.controllers.iam_binding import IAMBindingController
from cloudrun_identity.controllers.identity_attachment.attachment_records import AttachmentRecords
from cloudrun_identity.controllers.identity_attachment.controller import IdentityAttachmentController
from cloudrun_identity.controllers.identity_attachment.preflight import Preflight
from cloudrun_identity.controllers.identity_attachment.restoration import Restoration
from cloudrun_identity.controllers.identity_key.controller import IdentityKeyController
from cloudrun_identity.controllers.identity_key.rotation import KeyRotation
from cloudrun_identity.controllers.managed_project.controller import ManagedProjectController
from cloudrun_identity.controllers.reconcile.announcements import Announcer
from cloudrun_identity.controllers.reconcile.controller import Controller
from cloudrun_identity.controllers.reconcile.records import Records
from cloudrun_identity.gcp.access import Access
from cloudrun_identity.gcp.client_pool import ClientPool
from cloudrun_identity.gcp.custom_roles import CustomRoles
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.keys import Keys
from cloudrun_identity.gcp.org_policies import OrgPolicies
from cloudrun_identity.gcp.policies import Policies
from cloudrun_identity.gcp.policy_engine.lanes import Lanes
from cloudrun_identity.gcp.projects import Projects
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity.gcp.run import Run
from cloudrun_identity.gcp.service_accounts import ServiceAccounts
from cloudrun_identity.kube.ledger import Ledgers
from cloudrun_identity.kube.secrets import KeySecrets

from .clock import key_clock, now
from .workers import Slots


def controllers(
    clients: ClientPool,
    policies: Policies,
    roles: Roles,
    ledgers: Ledgers,
    secrets: KeySecrets,
    lanes: Lanes,
    probation: Probation,
    announcer: Announcer,
    slots: Slots,
    records: Records,
    checkpoint: Callable[[str], None],
) -> Mapping[str, Controller[Any, Any, Any]]:
    """The controller of every kind by the kind's name; `checkpoint(step)` is told after every step."""
    service_accounts, run = ServiceAccounts(clients), Run(clients)
    inventory = Inventory(service_accounts, run, time.monotonic)
    tools = AccountTools(
        service_accounts,
        inventory,
        AccountRecords(ledgers, now),
        probation,
        RecentWrites(time.monotonic),
        checkpoint,
    )
    accounts = Accounts(tools)
    releaser = Releaser(lanes, slots.parked)
    deletion = IdentityDeletion(tools, accounts, Usage(inventory), releaser, announcer)
    custom_roles = CustomRoles(clients, time.monotonic)
    definitions = RoleDefinitions(custom_roles, roles, ledgers, lanes, now, checkpoint)
    access = Access(policies, roles, time.monotonic)
    moved = AttachmentRecords(ledgers)
    attachments = IdentityAttachmentController(
        run,
        inventory,
        Preflight(inventory, access),
        Restoration(run, inventory, moved, announcer, checkpoint),
        moved,
        records,
        now,
        checkpoint,
    )
    keys = Keys(clients, time.monotonic)
    rotation = KeyRotation(keys, secrets, ledgers, announcer, key_clock(), checkpoint)
    return {
        ManagedProject.__name__: ManagedProjectController(
            Projects(clients), policies, OrgPolicies(clients), inventory, clients.identity, now
        ),
        CloudRunIdentity.__name__: CloudRunIdentityController(
            accounts, deletion, IdentityAuditor(inventory, access, keys), roles
        ),
        IAMBinding.__name__: IAMBindingController(releaser, inventory),
        IdentityAttachment.__name__: attachments,
        CustomRole.__name__: CustomRoleController(custom_roles, definitions, lanes),
        IdentityKey.__name__: IdentityKeyController(rotation),
    }
