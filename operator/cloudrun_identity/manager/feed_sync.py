"""The sync of what an entry of the audit log names, with a constant number of calls.

A changed policy is synced as in a resync, but alone. Of any other changed resource the older reads are
dropped, and the objects that declare it are enqueued. They have the priority of a resync, below the edits of
users.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterable
from typing import assert_never

from cloudrun_identity.api import (
    CloudRunIdentity,
    CustomRole,
    IdentityAttachment,
    IdentityKey,
    ManagedProject,
    WorkloadKind,
)
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.gcp.ratelimit import Priority, call_priority
from cloudrun_identity.gcp.requests import request_reason
from cloudrun_identity.gcp.workloads import Workload
from cloudrun_identity.iam.audited_changes import (
    AccountChange,
    PolicyChange,
    ProjectChange,
    RoleChange,
    Subject,
    WorkloadChange,
)
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.policy.syncers import PolicySyncers
from cloudrun_identity.reconcile.cluster_state import (
    ObjectKey,
    account_key,
    identity_key,
    project_key,
    role_key,
)
from cloudrun_identity.reconcile.invalid_objects import project_named_by

from .cache import Cache
from .registry import Cloud

REASON = "ManagedProject/{name}@change-feed"
"""Request reason of the calls that an entry causes."""


class FeedSync:
    """Syncs changed subjects of managed projects."""

    def __init__(
        self,
        cache: Cache,
        syncers: PolicySyncers,
        cloud: Cloud,
        enqueue: Callable[[ObjectKey, Priority], None],
    ) -> None:
        self._cache = cache
        self._syncers = syncers
        self._cloud = cloud
        self._enqueue = enqueue

    async def sync(self, subject: Subject) -> None:
        """Compare a subject with Google Cloud, and enqueue the objects with differences.

        An error of Google Cloud is left to the reconciles of these objects, which report and retry it.
        """
        project = self._cache.project_on(subject.project_id)
        call_priority.set(Priority.RESYNC)
        request_reason.set(REASON.format(name=project.metadata.name if project else ""))
        match subject:
            case PolicyChange(target=target):
                await self._sync_policy(target)
            case AccountChange():
                await self._sync_account(subject, project)
            case RoleChange():
                self._sync_role(subject, project)
            case WorkloadChange(target=target):
                await self._sync_workload(target, project)
            case ProjectChange():
                # A reconcile with the priority of a resync would accept an old read of the project.
                self._enqueue_all([project_key(project.metadata.name)] if project else (), Priority.EDIT)
            case _:
                assert_never(subject)

    async def _sync_policy(self, target: Target) -> None:
        if self._syncers.concerns(target):
            owners = await self._syncers.resync_target(target)
            self._enqueue_all(ObjectKey(owner.kind, owner.namespace, owner.name) for owner in owners)

    async def _sync_account(self, change: AccountChange, project: ManagedProject | None) -> None:
        email = change.email or self._email_of(change)
        declared = self._cache.identities().get(email)
        identities = {identity_key(declared.namespace, declared.name)} if declared else set()
        if project and email:
            declares = f"{project.metadata.name}/{email.partition('@')[0]}"
            identities |= set(self._cache.declarers(CloudRunIdentity, declares))
        keys = {
            key
            for identity in identities
            for key in self._cache.referrers(identity)
            if key.kind == IdentityKey.__name__
        }
        if change.of_keys:
            for account in (email, change.unique_id):
                self._cloud.keys.forget(change.project_id, account)
            self._enqueue_all((*identities, *keys))
            return
        referrers = tuple(self._cache.referrers(account_key(email)))
        if identities or referrers:  # a cache remembers each account that it invalidates
            self._cloud.inventory.invalidate_account(change.project_id, email)
        if identities:
            await _ignoring_errors(self._cloud.inventory.service_account(change.project_id, email, 0.0))
        attached = [
            key for key in referrers if key.kind in (IdentityAttachment.__name__, IdentityKey.__name__)
        ]
        self._enqueue_all((*identities, *keys, *attached))

    def _email_of(self, change: AccountChange) -> str:
        """Return the e-mail of an account that an entry names by its unique id; empty if it is unmanaged."""
        for ledger in self._cache.ledgers(change.project_id):
            if ledger.account and ledger.account.unique_id == change.unique_id:
                return ledger.account.email
        return ""

    def _sync_role(self, change: RoleChange, project: ManagedProject | None) -> None:
        declarers: tuple[ObjectKey, ...] = ()
        referrers = tuple(self._cache.referrers(role_key(change.role)))
        if project:
            role_id = change.role.rpartition("/")[2]
            declarers = tuple(self._cache.declarers(CustomRole, f"{project.metadata.name}/{role_id}"))
            if declarers or referrers:
                self._cloud.custom_roles.invalidate(change.project_id, role_id)
        # Each project reads the role of an organization with its own credential.
        projects = {change.project_id} if project else {*map(self._project_of, referrers)} - {""}
        for project_id in projects:
            self._cloud.roles.forget(change.role, project_id)
        self._enqueue_all((*declarers, *referrers))

    def _project_of(self, key: ObjectKey) -> str:
        """Return the ID of the project that an object names; empty if it is unknown."""
        stored = self._cache.stored(key)
        project = self._cache.project(project_named_by(stored.raw)) if stored else None
        return project.project_id if project else ""

    async def _sync_workload(self, target: Target, project: ManagedProject | None) -> None:
        workload = Workload(WorkloadKind(target.kind), target.project_id, target.location, target.name)
        declares = f"{project.metadata.name}/{target}" if project else ""
        attachments = tuple(self._cache.declarers(IdentityAttachment, declares))
        if attachments:
            self._cloud.inventory.invalidate_workload(workload)
            await _ignoring_errors(self._cloud.inventory.workload(workload, 0.0))
            self._enqueue_all(attachments)
        await self._sync_policy(target)

    def _enqueue_all(self, keys: Iterable[ObjectKey], priority: Priority = Priority.RESYNC) -> None:
        for key in keys:
            self._enqueue(key, priority)


async def _ignoring_errors(read: Awaitable[object]) -> None:
    """Read a resource for the reconcile that follows, which reports an error of its own read."""
    with contextlib.suppress(GoogleError):
        await read
