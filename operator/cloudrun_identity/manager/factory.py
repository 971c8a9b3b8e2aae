"""Compose the operator's engine: everything between the cache of objects and Google Cloud.

Production and the dry run share this composition. They differ in what `Ports` holds: where objects are read
and written, who executes actions, and where policies are written.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from cloudrun_identity.api import CustomRole, IAMBinding, IdentityAttachment, IdentityKey, ManagedProject
from cloudrun_identity.controllers.cloud_run_identity.propagation import PropagationTracker
from cloudrun_identity.controllers.custom_role.controller import CustomRoleController
from cloudrun_identity.controllers.iam_binding import IAMBindingController
from cloudrun_identity.controllers.identity_attachment.attachment_records import AttachmentRecords
from cloudrun_identity.controllers.identity_attachment.controller import IdentityAttachmentController
from cloudrun_identity.controllers.identity_attachment.preflight import Preflight
from cloudrun_identity.controllers.identity_key.assumption import KeyAssumption
from cloudrun_identity.controllers.identity_key.controller import IdentityKeyController
from cloudrun_identity.controllers.identity_key.execution import KeyExecution
from cloudrun_identity.controllers.identity_key.key_records import KeyRecords
from cloudrun_identity.controllers.managed_project.controller import ManagedProjectController
from cloudrun_identity.gcp.client_pool import ClientPool
from cloudrun_identity.gcp.clients import GoogleClients
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
from cloudrun_identity.iam.principals import email
from cloudrun_identity.kube.objects import resource
from cloudrun_identity.kube.resources import NAMESPACES, Verbs
from cloudrun_identity.kube.secrets import KeySecrets
from cloudrun_identity.ledger.store import Ledgers
from cloudrun_identity.policy.exclusive import is_protected
from cloudrun_identity.policy.ports import SyncerPorts, SyncerSettings, SyncObserver
from cloudrun_identity.policy.removal_limit import RemovalRateLimiter
from cloudrun_identity.policy.syncers import PolicySyncers
from cloudrun_identity.policy.writer import PolicyPort
from cloudrun_identity.reconcile.cluster_state import ObjectKey
from cloudrun_identity.reconcile.deadline import Deadline
from cloudrun_identity.reconcile.dependencies import Dependencies, KubePort
from cloudrun_identity.reconcile.events import DriftObserver, EventPort, EventReporter
from cloudrun_identity.reconcile.executor import CloudExecutor, Executor
from cloudrun_identity.reconcile.finish import Finisher, ReportObserver, ignore_report
from cloudrun_identity.reconcile.grants.resolver import GrantResolver
from cloudrun_identity.reconcile.kind_reconciler import KindReconciler
from cloudrun_identity.reconcile.preconditions import is_suspended, observes
from cloudrun_identity.reconcile.reconciler import AnyKindReconciler, Reconciler
from cloudrun_identity.reconcile.status_records import Records

from .cache import Cache
from .checkpoints import checkpoints
from .clock import key_clock, now
from .credentials import credential_in
from .workers import Slots


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The outside of the engine."""

    client: Verbs
    """Kubernetes API, or objects in memory."""
    kube: KubePort
    """Writes of a reconcile to Kubernetes."""
    google: GoogleClients
    namespace: str
    """Namespace of the operator and of its ledgers."""
    events: EventPort
    drift: DriftObserver
    syncs: SyncObserver
    slots: Slots
    """Slots of the workers, which a waiting reconcile releases."""
    wake: Callable[[Iterable[ObjectKey]], None]
    """Called with objects that another object's change gives a reason to reconcile."""
    executor: Callable[[EventReporter], Executor] = CloudExecutor
    policies: Callable[[Policies, Ledgers], PolicyPort] = lambda policies, _: policies
    """Where policies are read and written; by default Google Cloud."""
    settings: SyncerSettings = field(default_factory=SyncerSettings)
    ignores_observe: bool = False
    """True to sync the policies of observed projects too, as a dry run does."""
    on_report: ReportObserver = ignore_report
    """Called with the report of every reconcile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The composed parts that a process or a command drives."""

    cache: Cache
    ledgers: Ledgers
    clients: ClientPool
    syncers: PolicySyncers
    reconciler: Reconciler
    kinds: Mapping[str, AnyKindReconciler]
    executor: Executor
    policies: PolicyPort

    async def fill(self, client: Verbs, kinds: Iterable[str]) -> None:
        """List everything once: nothing is decided on a cache that is half full. Raises KubeError."""
        await self.ledgers.fill()
        for raw in await client.list(NAMESPACES):
            self.cache.observe_namespace(raw, deleted=False)
        for kind in kinds:
            if kind in self.kinds:
                for raw in await client.list(resource(kind)):
                    self.cache.observe(raw, deleted=False)
                self.cache.listed(kind)
        self.syncers.expect(self.cache.owners())


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """The Google Cloud clients that the kinds share."""

    clients: ClientPool
    policies: Policies
    roles: Roles
    service_accounts: ServiceAccounts
    run: Run
    inventory: Inventory
    keys: Keys
    permission_checks: PermissionChecks

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
    """What the kinds are composed from."""

    cloud: Cloud
    deps: Dependencies
    executor: Executor
    finisher: Finisher
    ledgers: Ledgers
    secrets: KeySecrets
    records: Records
    propagation: PropagationTracker
    checkpoint: Callable[[str], None]


def compose(ports: Ports) -> Engine:
    """Compose the engine."""
    checkpoint = checkpoints()
    ledgers = Ledgers(ports.client, ports.namespace)
    kinds: dict[str, AnyKindReconciler] = {}
    cache = Cache(kinds, ledgers, ports.wake, lambda: ports.google.identity)
    clients = ClientPool(ports.google, partial(credential_in, cache))
    cloud = Cloud.of(clients)
    policies = ports.policies(cloud.policies, ledgers)
    propagation = PropagationTracker(now, ledgers.owner_of)
    syncers = _syncers(ports, policies, cache, ledgers, propagation, checkpoint)
    event_reporter = EventReporter(ports.events, ports.drift)
    deps = Dependencies(
        store=cache,
        kube=ports.kube,
        syncers=syncers,
        resolver=GrantResolver(cloud.roles),
        event_reporter=event_reporter,
        wall_clock=now,
        slot_released=ports.slots.slot_released,
    )
    executor, finisher = ports.executor(event_reporter), Finisher(deps, ports.on_report)
    parts = KindParts(
        cloud=cloud,
        deps=deps,
        executor=executor,
        finisher=finisher,
        ledgers=ledgers,
        secrets=KeySecrets(ports.client),
        records=Records(cache, ports.kube, checkpoint),
        propagation=propagation,
        checkpoint=checkpoint,
    )
    kinds |= {name: register(parts) for name, register in KINDS.items()}
    return Engine(
        cache=cache,
        ledgers=ledgers,
        clients=clients,
        syncers=syncers,
        reconciler=Reconciler(kinds, deps, finisher, Deadline()),
        kinds=kinds,
        executor=executor,
        policies=policies,
    )


def _managed_project(parts: KindParts) -> AnyKindReconciler:
    cloud = parts.cloud
    kind = ManagedProjectController(
        Projects(cloud.clients),
        cloud.policies,
        OrgPolicies(cloud.clients),
        cloud.inventory,
        cloud.clients.identity,
        now,
    )
    return KindReconciler(kind, parts.deps, parts.executor, parts.finisher, resource=kind)


def _iam_binding(parts: KindParts) -> AnyKindReconciler:
    kind = IAMBindingController(parts.cloud.inventory)
    return KindReconciler(kind, parts.deps, parts.executor, parts.finisher, grants=kind)


def _custom_role(parts: KindParts) -> AnyKindReconciler:
    cloud = parts.cloud
    kind = CustomRoleController(
        CustomRoles(cloud.clients, time.monotonic),
        cloud.roles,
        parts.ledgers,
        parts.deps.syncers,
        now,
        parts.checkpoint,
    )
    return KindReconciler(kind, parts.deps, parts.executor, parts.finisher, resource=kind)


def _identity_attachment(parts: KindParts) -> AnyKindReconciler:
    cloud = parts.cloud
    kind = IdentityAttachmentController(
        cloud.run,
        cloud.inventory,
        Preflight(cloud.inventory, cloud.permission_checks),
        AttachmentRecords(parts.ledgers),
        parts.records,
        parts.checkpoint,
    )
    return KindReconciler(kind, parts.deps, parts.executor, parts.finisher, resource=kind)


def _identity_key(parts: KindParts) -> AnyKindReconciler:
    records = KeyRecords(parts.ledgers)
    execution = KeyExecution(parts.cloud.keys, parts.secrets, records, key_clock(), parts.checkpoint)
    kind = IdentityKeyController(execution, KeyAssumption(records))
    return KindReconciler(kind, parts.deps, parts.executor, parts.finisher, resource=kind)


KINDS: Mapping[str, Callable[[KindParts], AnyKindReconciler]] = {
    ManagedProject.__name__: _managed_project,
    IAMBinding.__name__: _iam_binding,
    CustomRole.__name__: _custom_role,
    IdentityAttachment.__name__: _identity_attachment,
    IdentityKey.__name__: _identity_key,
}
"""How each kind is composed: a new kind is one entry."""


def _syncers(
    ports: Ports,
    policies: PolicyPort,
    cache: Cache,
    ledgers: Ledgers,
    propagation: PropagationTracker,
    checkpoint: Callable[[str], None],
) -> PolicySyncers:
    def applies(project_id: str, policy: Callable[[ManagedProject, ManagedProject], bool]) -> bool:
        project = cache.project_on(project_id)
        return project is not None and policy(project, project)

    def removals_per_hour(project_id: str) -> int:
        """Return the lowest limit of the ManagedProjects on a project; none if it has no ManagedProject."""
        limits = [
            project.spec.guardrails.max_removals_per_hour
            for project in cache.objects(ManagedProject)
            if project.project_id == project_id
        ]
        return min(limits, default=0)

    def may_return(account: str, unique_id: str) -> bool:
        """Return whether an identity has, or had, the account of this id, and may undelete it."""
        record = ledgers.owner_of(account)
        return record is not None and unique_id in (record.unique_id, *record.unique_ids)

    return PolicySyncers(
        SyncerPorts(
            policies=policies,
            ledgers=ledgers,
            observer=ports.syncs,
            wall_clock=now,
            is_fresh=propagation.is_fresh,
            removal_limiter=RemovalRateLimiter(removals_per_hour),
            is_protected=lambda member: is_protected(member) or email(member) in cache.credential_accounts(),
            may_return=may_return,
            is_suspended=lambda project_id: applies(project_id, is_suspended),
            is_observed=lambda project_id: not ports.ignores_observe and applies(project_id, observes),
            checkpoint=checkpoint,
            settings=ports.settings,
        )
    )
