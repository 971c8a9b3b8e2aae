"""The composition root: the only module that connects the parts of the operator.

`build_manager` composes the process. `compose` composes the engine, which a dry run shares. They differ in
what `Ports` holds. The kinds are composed from the table in `registry`.
"""

import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from cloudrun_identity.api import CloudRunIdentity, ProjectOperator
from cloudrun_identity.controllers.cloud_run_identity.propagation import PropagationTracker
from cloudrun_identity.gcp.client_pool import ClientPool
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.findings_reader import FindingsReader
from cloudrun_identity.gcp.policies import Policies
from cloudrun_identity.gcp.pubsub import Subscriber
from cloudrun_identity.gcp.ratelimit import Priority
from cloudrun_identity.gcp.recommender import Recommender
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.kube.errors import OlderVersion
from cloudrun_identity.kube.event_recorder import EventRecorder
from cloudrun_identity.kube.lease import NAME as LEASE
from cloudrun_identity.kube.lease_observer import LeaseObserver
from cloudrun_identity.kube.resources import ObjectClient
from cloudrun_identity.kube.secrets import KeySecrets
from cloudrun_identity.ledger.store import Ledgers
from cloudrun_identity.policy.ports import (
    PolicyPort,
    SyncerPorts,
    SyncerSettings,
    SyncObserver,
    UnlimitedWrites,
)
from cloudrun_identity.policy.removal_limit import RecentRemovals, RemovalRateLimiter
from cloudrun_identity.policy.syncers import PolicySyncers
from cloudrun_identity.reconcile.advice import advised
from cloudrun_identity.reconcile.change_log import ChangeLog
from cloudrun_identity.reconcile.cluster_state import ObjectKey, project_key
from cloudrun_identity.reconcile.deadline import Deadline
from cloudrun_identity.reconcile.dependencies import Dependencies, KubePort
from cloudrun_identity.reconcile.events import LIMITED, DriftObserver, EventPort, EventReporter
from cloudrun_identity.reconcile.executor import CloudExecutor, Executor
from cloudrun_identity.reconcile.finish import Finisher, ReportObserver, ignore_report
from cloudrun_identity.reconcile.grants.resolver import GrantResolver
from cloudrun_identity.reconcile.project_operator import OperatorGate
from cloudrun_identity.reconcile.reconciler import AnyKindReconciler, Reconciler
from cloudrun_identity.reconcile.repeated_drift import DriftHistory
from cloudrun_identity.reconcile.status_records import Records

from .cache import Cache
from .change_feed import ChangeFeeds, reports_actors
from .engine import Engine
from .feed_health import FeedHealth
from .feed_sync import FeedSync
from .feed_work import FeedWork
from .hooks import checkpoints, grant_clock, now
from .kubernetes import CountedClient, KubeWrites
from .manager import Manager
from .metrics import Metrics
from .project_operators import ProjectOperators
from .project_settings import ProjectSettings
from .registry import KINDS, Cloud, KindParts
from .resync import Resync
from .role_watch import RoleWatch
from .slots import Slots
from .work_queue import KeyedQueue
from .workers import Workers


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The outside of the engine."""

    client: ObjectClient
    """The Kubernetes API, or objects in memory."""
    kube: KubePort
    """Writes of a reconcile to Kubernetes."""
    google: GoogleClients
    """Connections to Google Cloud with the operator's own credentials."""
    namespace: str
    """The namespace of the PolicyLedgers."""
    events: EventPort
    """The receiver of Kubernetes Events."""
    drift: DriftObserver
    """The receiver of detected and repaired drift."""
    syncs: SyncObserver
    """The receiver of the outcomes of policy syncs."""
    wake: Callable[[Iterable[ObjectKey]], None]
    """Called with the objects that the change of another object concerns."""
    compare: Callable[[Iterable[ObjectKey]], None] = lambda _: None
    """Called with objects to compare without urgency, because advice about them has changed."""
    executor: Callable[[EventReporter], Executor] = CloudExecutor
    """Builds the executor of the actions of all kinds."""
    policies: Callable[[Policies, Ledgers], PolicyPort] = lambda policies, _: policies
    """Returns where policies are read and written; by default Google Cloud."""
    target_id: Callable[[Target], Awaitable[str]] | None = None
    """Reads the unique id of a target; by default from Google Cloud."""
    sync_settings: SyncerSettings = field(default_factory=SyncerSettings)
    operator: ProjectOperator | None = None
    """This operator; None in a dry run, which operates every project."""
    projects_elsewhere: Callable[[int], None] = lambda _: None
    """Called with the number of projects of other operators."""
    is_dry_run: bool = False
    """True to sync the policies of observed projects too, to read nothing twice, and to audit no account."""
    on_report: ReportObserver = ignore_report
    """Called with the report of every reconcile."""
    change_feed: str = ""
    """The subscription with the audit logs of projects that name none; empty without one."""
    removals: RecentRemovals = field(default_factory=RecentRemovals)
    """The removals of unmanaged members that count against the limits of the projects."""


def build_manager(
    client: CountedClient,
    google: GoogleClients,
    metrics: Metrics,
    *,
    namespace: str,
    kinds: Iterable[str],
    concurrency: int,
    may_act: Callable[[], bool],
    removals: RecentRemovals,
    on_older_version: Callable[[OlderVersion], None],
    change_feed: str = "",
) -> Manager:
    """Compose the manager of the installed `kinds`.

    It keeps its ledgers in `namespace` and runs `concurrency` reconciles at the same time. `may_act` returns
    whether the Lease is still held. `removals` are those of earlier managers of the process.
    `on_older_version` is called if a read shows that the storage of the API server was restored.
    `change_feed` is the subscription of projects that name none.
    """
    queue: KeyedQueue[ObjectKey] = KeyedQueue(flow_of=lambda key: key.namespace)
    slots, events = Slots(concurrency), EventRecorder(client, limited=LIMITED)
    engine = compose(
        Ports(
            client=client,
            kube=KubeWrites(client),
            google=google,
            namespace=namespace,
            operator=ProjectOperator(namespace=namespace, lease=LEASE),
            projects_elsewhere=metrics.projects_elsewhere,
            events=events,
            drift=metrics,
            syncs=metrics,
            wake=partial(queue.add_all, priority=Priority.EDIT),
            compare=partial(queue.add_all, priority=Priority.RESYNC),
            change_feed=change_feed,
            removals=removals,
        )
    )
    events.use_stand_ins(engine.cache.project_of)
    metrics.watch_queue(queue)
    metrics.watch_slots(slots.held)
    metrics.watch_objects(lambda: engine.cache.counts(now()))
    metrics.watch_ledgers(engine.ledgers.invalid_count)

    def feed_changed(project: str) -> None:
        queue.add(project_key(project), Priority.RESYNC)
        resync.follow(project)

    feeds = ChangeFeeds(
        engine.cache,
        engine.syncers,
        engine.feed_health,
        engine.change_log,
        FeedWork(FeedSync(engine.cache, engine.syncers, engine.cloud, queue.add).sync, now),
        subscriber=partial(Subscriber, google),
        identity=engine.cloud.clients.identity,
        observer=metrics,
        on_change=feed_changed,
        wall_clock=now,
    )
    resync = Resync(
        engine.cache,
        engine.syncers,
        engine.reconciler,
        RoleWatch(engine.cloud.roles, engine.cache),
        queue.add,
        engine.feed_health.interval,
    )
    return Manager(
        client=client,
        engine=engine,
        queue=queue,
        workers=Workers(
            queue, engine.reconciler, slots, metrics, engine.settings.resync_max_age, on_older_version
        ),
        resync=resync,
        feeds=feeds,
        events=events,
        kinds=kinds,
        may_act=may_act,
    )


def compose(ports: Ports) -> Engine:
    """Compose the engine."""
    checkpoint = checkpoints()
    ledgers = Ledgers(ports.client, ports.namespace)
    # The cache asks the kinds for the references of an object. They are added below, because they need it.
    kinds: dict[str, AnyKindReconciler] = {}
    cache = Cache(kinds, ledgers, ports.wake, lambda: ports.google.identity, ports.operator)
    feed_health = FeedHealth(ports.change_feed, lambda: ports.google.identity)
    change_log = ChangeLog(feed_health.missed, reports_actors=partial(reports_actors, cache), wall_clock=now)
    settings = ProjectSettings(cache, feed_health.interval)
    cloud = Cloud.of(ClientPool(ports.google, settings.credential), reads_once=ports.is_dry_run)
    policies = ports.policies(cloud.policies, ledgers)
    propagation = PropagationTracker(now, ledgers.owner_of)
    clock = grant_clock()
    removal_limiter = RemovalRateLimiter(
        settings.removals_per_hour, settings.namespaces_with_removals, ports.removals
    )
    syncers = PolicySyncers(
        SyncerPorts(
            policies=policies,
            ledgers=ledgers,
            observer=ports.syncs,
            wall_clock=clock,
            is_fresh=propagation.is_fresh,
            removal_limiter=removal_limiter,
            namespaces_on=settings.namespaces_on,
            is_protected=settings.is_protected,
            is_operator=settings.is_operator,
            target_id=ports.target_id or cloud.unique_ids.of_target,
            account_id=cloud.unique_ids.of_account,
            may_return=partial(_may_return, ledgers),
            is_declared=cache.is_account_declared,
            is_suspended=settings.is_suspended,
            is_observed=lambda project: not ports.is_dry_run and settings.is_observed(project),
            write_budget=cloud.policies if ports.operator else UnlimitedWrites(),
            checkpoint=checkpoint,
            settings=ports.sync_settings,
        )
    )
    event_reporter = EventReporter(ports.events, ports.drift)
    deps = Dependencies(
        store=cache,
        kube=ports.kube,
        syncers=syncers,
        resolver=GrantResolver(cloud.roles, clock),
        event_reporter=event_reporter,
        wall_clock=clock,
        causes=change_log,
    )
    drift_history = DriftHistory(time.monotonic)
    executor, finisher = ports.executor(event_reporter), Finisher(deps, drift_history, ports.on_report)
    findings = FindingsReader(
        Recommender(cloud.clients),
        time.monotonic,
        now,
        advised,
        lambda project_id: ports.compare(_identities_in(cache, project_id)),
    )
    parts = KindParts(
        cloud=cloud,
        deps=deps,
        executor=executor,
        finisher=finisher,
        ledgers=ledgers,
        secrets=KeySecrets(ports.client),
        propagation=propagation,
        records=Records(cache, ports.kube, checkpoint),
        checkpoint=checkpoint,
        removals=removal_limiter.budget,
        drift_history=drift_history,
        findings=findings,
        feed=feed_health.state if ports.operator else lambda _: None,
        feed_interval=feed_health.interval,
        audits=not ports.is_dry_run,
    )
    kinds |= {kind: build(parts) for kind, build in KINDS.items()}
    return Engine(
        cache=cache,
        feed_health=feed_health,
        change_log=change_log,
        ledgers=ledgers,
        settings=settings,
        cloud=cloud,
        findings=findings,
        syncers=syncers,
        kinds=kinds,
        policies=policies,
        reconciler=Reconciler(
            kinds, deps, finisher, Deadline(), _operator_gate(ports, cache, ledgers, event_reporter)
        ),
    )


def _operator_gate(
    ports: Ports, cache: Cache, ledgers: Ledgers, event_reporter: EventReporter
) -> OperatorGate | None:
    if ports.operator is None:
        return None
    return ProjectOperators(
        ports.operator,
        objects=cache,
        ledgers=ledgers,
        leases=LeaseObserver(ports.client, time.monotonic),
        kube=ports.kube,
        warn=event_reporter.warn_about,
        count=ports.projects_elsewhere,
    )


def _identities_in(cache: Cache, project_id: str) -> Iterable[ObjectKey]:
    """Return the identities of a project."""
    project = cache.project_on(project_id)
    referrers = cache.referrers(ObjectKey.of(project)) if project else ()
    return [key for key in referrers if key.kind == CloudRunIdentity.__name__]


def _may_return(ledgers: Ledgers, email: str, unique_id: str) -> bool:
    """Return whether an identity has, or had, the account with this ID, so that it may be undeleted."""
    record = ledgers.owner_of(email)
    return record is not None and unique_id in (record.unique_id, *record.unique_ids)
