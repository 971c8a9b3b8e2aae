"""Plan manifests for the cluster as it is: the operator's own reconcile over its objects and ledgers.

The objects and ledgers of the cluster are loaded into the cache of the operator. The manifests are merged
into them. The cache then returns the objects that each change concerns, as it does for a watch event, and
these are reconciled. All other objects retain what they hold, and are not read in Google Cloud.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from cloudrun_identity.api import (
    ConditionType,
    ProjectScopedResource,
    Reason,
)
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.objects import resource_of
from cloudrun_identity.kube.resources import NAMESPACES, Object, ObjectClient
from cloudrun_identity.reconcile.cluster_state import ObjectKey, StoredObject

from .applied import applied
from .dry_run import DryRunSession, Progress, dry_run_session
from .in_memory_client import InMemoryClient
from .model import DryRun, PlanBlocker


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterObjects:
    """The objects of a cluster that a plan depends on."""

    objects: tuple[Object, ...]
    """Namespaces, objects of all kinds, and the ledgers."""
    namespace: str
    """Namespace of the ledgers."""
    secrets: ObjectClient
    """The API server, of which Secrets of IdentityKeys in the plan are read."""


async def plan_in_cluster(
    google: GoogleClients,
    cluster: ClusterObjects,
    manifests: Iterable[Object],
    *,
    prune: bool = False,
    progress: Progress = lambda *_: None,
) -> DryRun:
    """Return what applying the manifests to the cluster would change in Google Cloud.

    With `prune`, objects of the manifests' kinds and namespaces that are not among them are deleted.
    ManagedProjects are never pruned: they have no namespace. `google` must refuse to write.
    """
    client = InMemoryClient(cluster.secrets)
    for raw in cluster.objects:
        client.put(raw)
    async with dry_run_session(google, client, cluster.namespace, reads_ids=True) as run:
        cache = run.engine.cache
        for owner in cache.owners():
            run.engine.syncers.retain_all(owner)
        manifests = list(manifests)
        given = [_key(obj) for obj in manifests if obj["kind"] != "Namespace"]
        missing = await _add_namespaces(run, manifests)
        before = {key: _unready(stored) for key in cache.known() if (stored := cache.stored(key))}
        for key, obj in zip(given, (obj for obj in manifests if obj["kind"] != "Namespace"), strict=True):
            await _apply(run, key, obj)
        pruned = list(_surplus(cache.known(), given)) if prune else []
        for key in pruned:
            _delete(run, key)
        run.scope.update(given, pruned, _unread_projects(run))
        await run.reconcile(progress)
        return DryRun(
            run.steps(),
            tuple(_blockers(run, {*given, *pruned}, before)),
            (
                *map(_created_first, missing),
                *run.notices(),
            ),
        )


def _created_first(namespace: str) -> str:
    return f"Namespace {namespace} does not exist in the cluster; the plan assumes that it is created first."


async def _add_namespaces(run: DryRunSession, manifests: Iterable[Object]) -> list[str]:
    """Apply the given namespaces, and add those that objects need. Return the names of the latter."""
    declared = [obj for obj in manifests if obj["kind"] == "Namespace"]
    for obj in declared:
        name = obj["metadata"]["name"]
        try:
            obj = applied(await run.client.get(NAMESPACES, name), obj)
        except KubeError:
            obj = {**obj, "metadata": {**obj["metadata"], "uid": name}}
        _observe_namespace(run, obj)
    needed = sorted({obj["metadata"].get("namespace", "") for obj in manifests} - {""})
    missing = [name for name in needed if not run.engine.cache.has_namespace(name)]
    for name in missing:
        _observe_namespace(run, {"kind": "Namespace", "metadata": {"name": name, "uid": name}})
    return missing


def _observe_namespace(run: DryRunSession, obj: Object) -> None:
    run.scope.update(run.engine.cache.observe_namespace(run.client.put(obj), deleted=False))


async def _apply(run: DryRunSession, key: ObjectKey, manifest: Object) -> None:
    """Apply a manifest, and add the objects that the change concerns to the scope."""
    try:
        stored = await run.client.get(resource_of(manifest), key.name, key.namespace)
    except KubeError:
        new = await run.client.create(resource_of(manifest), manifest)
    else:
        new = run.client.put(applied(stored, manifest))
    run.scope.update(run.engine.cache.observe(new, deleted=False).woken)


def _delete(run: DryRunSession, key: ObjectKey) -> None:
    """Delete an object, which its finalizer keeps, and add the objects that this concerns to the scope."""
    stored = run.engine.cache.stored(key)
    if stored is None:
        return
    metadata = stored.raw["metadata"]
    deleted = {"deletionTimestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), **metadata}
    generation = {"generation": metadata.get("generation", 1) + 1}
    new = run.client.put({**stored.raw, "metadata": deleted | generation})
    run.scope.update(run.engine.cache.observe(new, deleted=False).woken)


def _surplus(known: Iterable[ObjectKey], given: Iterable[ObjectKey]) -> Iterator[ObjectKey]:
    """Yield the objects of the kinds and namespaces of the given ones that are not among these."""
    given = set(given)
    kinds, namespaces = {key.kind for key in given}, {key.namespace for key in given} - {""}
    for key in sorted(known):
        if key not in given and key.kind in kinds and key.namespace in namespaces:
            yield key


def _unread_projects(run: DryRunSession) -> Iterator[ObjectKey]:
    """Yield the ManagedProjects of objects in scope that the operator has not reconciled yet."""
    for key in run.scope:
        stored = run.engine.cache.stored(key)
        if stored and isinstance(stored.obj, ProjectScopedResource):
            project = run.engine.cache.project(stored.obj.spec.project_ref.name)
            if project and project.status.project_number is None:
                yield ObjectKey.of(project)


def _blockers(
    run: DryRunSession, own: set[ObjectKey], before: Mapping[ObjectKey, str]
) -> Iterator[PlanBlocker]:
    """Yield why objects would not become Ready: of other objects only what the manifests bring about."""
    for blocker in run.blockers():
        if blocker.object in own or blocker.reason != before.get(blocker.object):
            yield blocker
    for key in sorted(own - run.reports.latest.keys()):
        if run.engine.cache.stored(key):
            message = "The plan came to no result, because the object waits for another one"
            yield PlanBlocker(key, Reason.DEPENDENCY_NOT_READY, message, final=True)


def _unready(stored: StoredObject) -> str:
    """Return the reason why an object is not Ready; empty if it is Ready or new."""
    for condition in (stored.raw.get("status") or {}).get("conditions") or ():
        if condition.get("type") == ConditionType.READY and condition.get("status") != "True":
            return str(condition.get("reason", ""))
    return ""


def _key(obj: Object) -> ObjectKey:
    metadata = obj["metadata"]
    return ObjectKey(obj["kind"], metadata.get("namespace", ""), metadata["name"])
