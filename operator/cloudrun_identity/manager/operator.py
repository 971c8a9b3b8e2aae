"""One acting replica: the parts put together, filled, started and drained."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from cloudrun_identity.api import KINDS, ManagedProject, PolicyLedger
from cloudrun_identity.controllers.cloud_run_identity.account_records import AccountRecords
from cloudrun_identity.controllers.cloud_run_identity.propagation import PropagationTracker
from cloudrun_identity.gcp.client_pool import ClientPool, credential_of
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.policies import Policies
from cloudrun_identity.gcp.ratelimit import Priority
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity.iam.principals import email
from cloudrun_identity.kube.event_recorder import EventRecorder
from cloudrun_identity.kube.objects import resource
from cloudrun_identity.kube.resources import NAMESPACES, Object
from cloudrun_identity.kube.secrets import KeySecrets
from cloudrun_identity.ledger.store import Ledgers
from cloudrun_identity.plan.model import Plan
from cloudrun_identity.plan.planner import Planner
from cloudrun_identity.policy.exclusive import RemovalRateLimiter, is_protected
from cloudrun_identity.policy.ports import SyncerPorts
from cloudrun_identity.policy.syncers import PolicySyncers
from cloudrun_identity.reconcile.cluster_state import ObjectKey
from cloudrun_identity.reconcile.dependencies import Dependencies
from cloudrun_identity.reconcile.events import EventReporter
from cloudrun_identity.reconcile.grants.resolver import GrantResolver
from cloudrun_identity.reconcile.interfaces import Controller
from cloudrun_identity.reconcile.invalid_objects import project_named_by
from cloudrun_identity.reconcile.preconditions import is_suspended, observes
from cloudrun_identity.reconcile.reconciler import Reconciler
from cloudrun_identity.reconcile.status_records import Records

from .cache import Cache
from .checkpoints import checkpoints
from .clock import now
from .credentials import credential_in
from .factory import controllers
from .kubernetes import CountedClient, KubeWrites
from .metrics import Metrics
from .resync import Resync, interval_of
from .work_queue import KeyedQueue
from .workers import Slots, Workers

_log = logging.getLogger(__name__)

DRAIN = 3.0
"""Seconds that passes under way are given to end."""

FALLBACK_INTERVAL = 300.0
"""Seconds: how old a read may be for an object whose project is unknown."""


class Operator:
    """Watches bring objects in through `observe`; everything else follows from them.

    `fill` and `start` once the Lease is held, `drain` before it is released.
    """

    def __init__(
        self,
        client: CountedClient,
        google: GoogleClients,
        metrics: Metrics,
        namespace: str,
        kinds: Iterable[str],
        may_act: Callable[[], bool],
        concurrency: int,
    ) -> None:
        """`namespace` is the operator's, `kinds` the names of those that are installed.

        `may_act()` says whether the lease is still held; `concurrency` passes work at the same time.
        """
        self._may_act = may_act
        self._client = client
        self.kinds = [kind for kind in KINDS if kind in set(kinds)]
        self._queue: KeyedQueue[ObjectKey] = KeyedQueue()
        self._ledgers = Ledgers(client, namespace)
        self._events = EventRecorder(client)
        self._tasks: list[asyncio.Task[None]] = []
        self._controllers: dict[str, Controller[Any, Any, Any]] = {}
        self._cache = Cache(self._controllers, self._ledgers, self._wake, lambda: google.identity)
        slots, checkpoint = Slots(concurrency), checkpoints()
        propagation = PropagationTracker(now, self._ledgers.owner_of)
        self._clients = ClientPool(google, partial(credential_in, self._cache))
        policies = Policies(self._clients)
        self._syncers = PolicySyncers(
            SyncerPorts(
                policies=policies,
                ledgers=self._ledgers,
                observer=metrics,
                wall_clock=now,
                is_fresh=propagation.is_fresh,
                removal_limiter=RemovalRateLimiter(self._removals_per_hour),
                is_protected=self._is_protected,
                may_return=self._may_return,
                is_suspended=lambda project_id: self._at_rest(project_id, is_suspended),
                is_observed=lambda project_id: self._at_rest(project_id, observes),
                checkpoint=checkpoint,
            )
        )
        event_reporter, roles = EventReporter(self._events, metrics), Roles(self._clients)
        kube = KubeWrites(client)
        records = Records(self._cache, kube, checkpoint)
        self._controllers |= controllers(
            self._clients,
            policies,
            roles,
            self._ledgers,
            KeySecrets(client),
            self._syncers,
            propagation,
            event_reporter,
            slots,
            records,
            checkpoint,
        )
        deps = Dependencies(
            store=self._cache,
            kube=kube,
            syncers=self._syncers,
            resolve_grants=GrantResolver(roles),
            event_reporter=event_reporter,
            wall_clock=now,
            slot_released=slots.slot_released,
        )
        self._reconciler = Reconciler(self._controllers, deps)
        account_records = AccountRecords(self._ledgers, now)
        self._planner = Planner(
            self._controllers, deps, self._ledgers, account_records, roles, policies, self._is_protected
        )
        self._workers = Workers(self._queue, self._reconciler, slots, metrics, self._interval_of)
        self._resync = Resync(self._cache, self._syncers, self._reconciler, self._queue.add)
        metrics.watch_queue(self._queue)
        metrics.watch_objects(self._cache.readiness)

    async def fill(self) -> None:
        """List everything once: nothing is decided on a cache that is half full. Raises KubeError."""
        await self._ledgers.fill()
        for raw in await self._client.list(NAMESPACES):
            self._cache.observe_namespace(raw, deleted=False)
        for kind in self.kinds:
            if kind in self._controllers:
                for raw in await self._client.list(resource(kind)):
                    self._cache.observe(raw, deleted=False)
                self._cache.listed(kind)
        self._syncers.expect(self._cache.owners())
        elsewhere = await self._ledgers.namespaces_elsewhere()
        if elsewhere:
            _log.warning(
                "there are PolicyLedgers in namespace %s, which this operator does not read: "
                "their grants are taken for somebody else's; is --operator-namespace right?",
                ", ".join(sorted(elsewhere)),
            )

    async def plan(self) -> Plan:
        """Work out, in place of `start`, what would be done about everything that is known."""
        return await self._planner.plan(self._cache.known())

    def start(self) -> None:
        """Begin to work on everything that is known."""
        self._events.start()
        for key in self._cache.known():
            self._queue.add(key, Priority.RESYNC)
            if key.kind == ManagedProject.__name__:
                self._resync.follow(key.name)
        self._tasks.append(asyncio.create_task(self._workers.run(), name="workers"))

    @property
    def is_alive(self) -> bool:
        """Whether everything that should run does."""
        return not any(task.done() for task in self._tasks)

    async def drain(self) -> None:
        """End: no new pass, a little time for those under way. What is left undone is found again.

        Without the lease there is no time: another replica acts already.
        """
        self._queue.shutdown()
        await self._resync.close()
        await self._workers.drain(DRAIN if self._may_act() else 0.0)
        await self._syncers.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._clients.close()
        await self._events.close()

    def observe(self, raw: Object, *, deleted: bool) -> None:
        """Take in what a watch says of an object of ours."""
        if raw["kind"] == PolicyLedger.__name__:
            lost = self._ledgers.observed(raw, deleted=deleted)
            self._wake(ObjectKey(*owner_key.split("/", 2)) for owner_key in lost)
            return
        change = self._cache.observe(raw, deleted=deleted)
        metadata = raw["metadata"]
        key = ObjectKey(raw["kind"], metadata.get("namespace", ""), metadata["name"])
        if change.changed:
            self._queue.add(key, Priority.EDIT)
        if (change.changed or deleted) and key.kind == ManagedProject.__name__:
            self._resync.follow(key.name)
            self._clients.close_unused(map(credential_of, self._cache.objects(ManagedProject)))
        self._wake(change.woken)

    def observe_namespace(self, raw: Object, *, deleted: bool) -> None:
        """Take in what a watch says of a namespace."""
        self._wake(self._cache.observe_namespace(raw, deleted=deleted))

    async def look_after_namespaces(self) -> None:
        """Notice those that ended while no watch could tell; raises KubeError."""
        known = dict(self._cache.namespaces())
        listed = {raw["metadata"]["name"] for raw in await self._client.list(NAMESPACES)}
        self._wake(self._cache.missing_namespaces(listed, known))

    def _wake(self, keys: Iterable[ObjectKey]) -> None:
        for key in keys:
            self._queue.add(key, Priority.EDIT)

    def _is_protected(self, member: str) -> bool:
        """Whether a member is never removed by an exclusive binding: Google's own, and whom we act as."""
        return is_protected(member) or email(member) in self._cache.credential_accounts()

    def _may_return(self, email: str, unique_id: str) -> bool:
        """Whether an identity has, or had, the account of this id: if it is deleted it may be undeleted."""
        record = self._ledgers.owner_of(email)
        return record is not None and unique_id in (record.unique_id, *record.unique_ids)

    def _at_rest(
        self, project_id: str, removal_limiter: Callable[[ManagedProject, ManagedProject], bool]
    ) -> bool:
        """Whether a brake is on in a project; in one that nobody has lent none is."""
        project = self._cache.project_on(project_id)
        return project is not None and removal_limiter(project, project)

    def _removals_per_hour(self, project_id: str) -> int:
        """The least that any ManagedProject on the project allows; none if there is no such any more."""
        limits = [
            project.spec.guardrails.max_removals_per_hour
            for project in self._cache.objects(ManagedProject)
            if project.project_id == project_id
        ]
        return min(limits, default=0)

    def _interval_of(self, key: ObjectKey) -> float:
        raw = self._cache.raw(key)
        if raw is None:
            return FALLBACK_INTERVAL
        name = key.name if key.kind == ManagedProject.__name__ else project_named_by(raw)
        project = self._cache.project(name)
        return interval_of(project) if project else FALLBACK_INTERVAL
