"""The engine: everything between the cache of objects and Google Cloud, built once per operator."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from cloudrun_identity.api import PolicyLedger
from cloudrun_identity.gcp.findings_reader import FindingsReader
from cloudrun_identity.kube.objects import compact, resource
from cloudrun_identity.kube.resources import NAMESPACES, Listing, Object, ObjectClient, Resource
from cloudrun_identity.ledger.store import Ledgers
from cloudrun_identity.policy.ports import PolicyPort
from cloudrun_identity.policy.syncers import PolicySyncers
from cloudrun_identity.reconcile.change_log import ChangeLog
from cloudrun_identity.reconcile.reconciler import AnyKindReconciler, Reconciler

from .cache import Cache
from .feed_health import FeedHealth
from .project_settings import ProjectSettings
from .registry import Cloud


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The parts that a process or a dry run drives. They share state."""

    cache: Cache
    """Every object and namespace as last seen."""
    ledgers: Ledgers
    """The PolicyLedgers in the operator's namespace."""
    feed_health: FeedHealth
    """States of the change feeds."""
    change_log: ChangeLog
    """The last changes by others, as the change feeds reported them."""
    settings: ProjectSettings
    """Settings of projects, looked up in the cache."""
    cloud: Cloud
    """Clients of Google Cloud, with the credentials of each project."""
    findings: FindingsReader
    """Findings of Google's Recommender, read in the background."""
    syncers: PolicySyncers
    """One syncer per IAM policy."""
    kinds: Mapping[str, AnyKindReconciler]
    """The reconciler of each kind."""
    policies: PolicyPort
    """Port through which the syncers read and write policies."""
    reconciler: Reconciler
    """The driver for every kind."""

    async def fill(
        self,
        client: ObjectClient,
        kinds: Iterable[str],
        listed: Callable[[Resource, Listing[Object]], None] = lambda *_: None,
    ) -> None:
        """List every object once, because no decision may rest on a partial cache. Raises KubeError.

        `listed` is called with all namespaces, all PolicyLedgers and all objects of each kind. The watches
        begin after these lists.
        """
        listed(resource(PolicyLedger.__name__), await self.ledgers.fill())
        namespaces = await client.list_all(NAMESPACES)
        for raw in namespaces.items:
            self.cache.observe_namespace(raw, deleted=False)
        listed(NAMESPACES, namespaces)
        for kind in kinds:
            if kind in self.kinds:
                objects = await client.list_all(resource(kind), form=compact)
                for raw in objects.items:
                    self.cache.observe(raw, deleted=False, is_compact=True)
                self.cache.listed(kind)
                listed(resource(kind), objects)
        self.syncers.expect(self.cache.owners())

    async def close(self) -> None:
        """Stop the syncers and the reads in the background, then close the connections to Google Cloud."""
        await self.syncers.close()
        await self.findings.close()
        await self.cloud.clients.close()
