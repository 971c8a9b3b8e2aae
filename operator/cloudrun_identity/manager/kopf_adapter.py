"""The only module that uses private names and undocumented behavior of kopf.

Each private name is documented here with its use and the reason why no public API serves. The contract test
`tests/unit/manager/test_kopf_adapter.py` fails when kopf changes one of them. `pyproject.toml` allows only
the versions in `TESTED_VERSIONS`, which that test covers.

Undocumented behavior that the operator relies on:

- A task of `kopf.spawn_tasks()` ends with `APIError` when the API server no longer serves a kind (404), or
  refuses a watch with 410. kopf retries 403, 429 and 5xx for as long as `networking.error_backoffs` yields.
- The other watches then continue without an owner. `kopf.run_tasks()` cancels them after 5 s, once, and waits
  for them without limit. A watch that waits for a reply at that time ignores the cancellation, because its
  pause waiter was canceled with it. So `run_tasks` is not used: `end_tasks` cancels until all have ended.
- A task that is started after `kopf.spawn_tasks()`, in the same context, uses that operator's credentials.
- Outside the main thread kopf leaves SIGTERM and SIGINT alone.
- The inactivity timeout of a watch is an `asyncio.timeout()` inside the generator. It also runs while the
  consumer of an event pauses, and then cancels the consumer. `watch_settings` has the replacement.
- kopf ends the process 10 min after it was canceled, unless `process.ultimate_exiting_timeout` is None.
"""

import asyncio
import logging
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NoReturn

import kopf
from kopf._cogs.clients import errors, watching
from kopf._cogs.structs.references import Resource as WatchedResource

from cloudrun_identity.api import GROUP
from cloudrun_identity.kube.client import PAGE_SIZE
from cloudrun_identity.kube.connection import ClusterAccess
from cloudrun_identity.kube.resources import Object, Resource

from .watches import Progress

TESTED_VERSIONS = ">=1.45.2,<1.46"
"""The versions of kopf that the contract test covers: the same range as in `pyproject.toml`."""

APIError = errors.APIError
"""`kopf._cogs.clients.errors.APIError`: the API server refused a list or a watch.

Used to restart the watches after a CRD was deleted, instead of ending with a traceback. kopf raises it from
the public `kopf.operator()`, but exports no name for it or for a base class.
"""

LOG_LEVELS: Mapping[str, int] = {
    "kopf": logging.WARNING,
    "kopf._core.reactor.orchestration": logging.CRITICAL,
    "kopf._core.reactor.running": logging.CRITICAL,
}
"""The least severe level that each logger of kopf may log at.

`kopf` logs every event at INFO. The two private loggers log a lost watch at ERROR, with a traceback, before
`APIError` is raised; `manager.leadership` logs the same fact in one line. kopf has no setting for this, and
silencing all of `kopf` would hide warnings that are logged nowhere else.
"""


_CANCEL_INTERVAL = 1.0
"""Seconds after which a task that has not ended is canceled again."""

_WATCH_REQUEST = 300
"""Seconds after which the API server ends one request of a watch. kopf continues with the next one."""

_LOST_BEFORE = _WATCH_REQUEST - 5.0
"""Seconds before which a request has ended because its connection was lost, or by a proxy."""


@dataclass(frozen=True, slots=True)
class Stream:
    """The changes of all objects of one resource, outside of kopf's handlers."""

    resource: Resource
    """The resource, in all namespaces."""
    since: str
    """The resourceVersion of a list, after which the changes are delivered."""
    deliver: Callable[[Object, bool], Awaitable[None]]
    """Called with each version of an object in order, and True for the last version of a deleted one. The
    next one is read when the call has ended."""
    progress: Callable[[Progress], None]
    """Called with each bookmark and each new list, and after a lost connection until the first new list:
    after that, kopf reports no lost connection."""

    async def run(self, settings: kopf.OperatorSettings) -> None:
        """Deliver every change; after the version to continue from has expired, first every object again.

        `kopf._cogs.clients.watching.watch_objs` watches, and `infinite_watch` lists, watches, reconnects, and
        lists again after 410. An event handler gets the same events through a queue, a task and a record that
        kopf keeps for each object: that takes a tenth of the processor time of an object that becomes Ready.
        kopf has no setting to leave them out, and none to begin after a list that was made before.
        """
        watched = WatchedResource(
            self.resource.group,
            self.resource.version,
            self.resource.plural,
            namespaced=self.resource.namespaced,
        )
        async for event in self._until_expired(watched, settings):
            await self._take_in(event)
        async for sign in watching.infinite_watch(settings=settings, resource=watched, namespace=None):
            if isinstance(sign, watching.Bookmark):
                self.progress(Progress.LISTED)
            else:
                await self._take_in(sign)

    async def _until_expired(
        self, watched: WatchedResource, settings: kopf.OperatorSettings
    ) -> AsyncIterator[Mapping[str, Any]]:
        """Yield what follows the list until the version to continue from has expired (410)."""
        since, clock, was_lost = self.since, asyncio.get_running_loop().time, False
        while True:
            began = clock()
            events: AsyncIterator[Mapping[str, Any]] = watching.watch_objs(
                settings=settings,
                resource=watched,
                namespace=None,
                since=since,
                operator_pause_waiter=asyncio.get_running_loop().create_future(),
            )
            async for event in events:
                if event["type"] == "ERROR":
                    if event["object"]["code"] == HTTPStatus.GONE:
                        return
                    raise watching.WatchingError(f"Error in the watch-stream: {event['object']}")
                if was_lost:
                    self.progress(Progress.RESUMED)
                    was_lost = False
                since = event["object"]["metadata"]["resourceVersion"]
                yield event
            was_lost = was_lost or clock() - began < _LOST_BEFORE

    async def _take_in(self, event: Mapping[str, Any]) -> None:
        if event["type"] == "BOOKMARK":
            self.progress(Progress.CURRENT)
        else:
            await self.deliver(event["object"], event["type"] == "DELETED")


async def run(
    registry: kopf.OperatorRegistry,
    settings: kopf.OperatorSettings,
    streams: Collection[Stream],
    namespace: str,
) -> NoReturn:
    """Run the watches of `registry` in a namespace, and `streams` beside them with the same credentials.

    Raises the error that ends one of them; `end_tasks` ends the others.
    """
    tasks = await kopf.spawn_tasks(
        registry=registry, settings=settings, namespaces=[namespace], standalone=True
    )
    watches = [
        asyncio.create_task(stream.run(settings), name=f"watch of {stream.resource.plural}")
        for stream in streams
    ]
    done, _ = await asyncio.wait([*tasks, *watches], return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    raise RuntimeError(f"kopf ended its task {next(iter(done)).get_name()!r}")


async def end_tasks() -> None:
    """Cancel all tasks of kopf in the running loop until none is left.

    The schedulers of its workers are left out: they end with their watch, which waits for them.
    """
    own = asyncio.current_task()
    while tasks := [task for task in asyncio.all_tasks() if task is not own and not is_scheduler(task)]:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=_CANCEL_INTERVAL)


def is_scheduler(task: "asyncio.Task[Any]") -> bool:
    """Return whether a task belongs to `kopf._cogs.aiokits.aiotasks.Scheduler`, which starts workers."""
    return getattr(task.get_coro(), "__qualname__", "").startswith("Scheduler.")


def watch_settings() -> kopf.OperatorSettings:
    """Return settings that reduce kopf to a watcher: no Events, peering or annotations; endless retries."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.networking.request_timeout = 30.0
    settings.networking.connect_timeout = 10.0
    settings.watching.chunk_size = PAGE_SIZE
    # A pause of the consumer must not end a watch: see the module's docstring. aiohttp measures the time of a
    # request only while it reads. The monitor of the watches notices a dead one sooner.
    settings.watching.inactivity_timeout = math.inf
    settings.watching.server_timeout = _WATCH_REQUEST
    settings.watching.client_timeout = _WATCH_REQUEST + settings.networking.request_timeout
    settings.networking.error_backoffs = _EndlessBackoff()
    settings.queueing.exit_timeout = 0.5
    settings.process.ultimate_exiting_timeout = None
    settings.persistence.finalizer = f"kopf.{GROUP}/unused"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=f"kopf.{GROUP}")
    settings.persistence.diffbase_storage = _NoDiffBase()
    return settings


def connection_info(access: ClusterAccess) -> kopf.ConnectionInfo:
    """Return the connection to the API server in kopf's form."""
    scheme, _, token = access.authorization.partition(" ")
    return kopf.ConnectionInfo(
        server=access.server,
        ca_path=access.ca_file,
        insecure=not access.verify,
        scheme=scheme or None,
        token=token or None,
        certificate_path=access.certificate_file,
        private_key_path=access.key_file,
    )


class _NoDiffBase(kopf.DiffBaseStorage):
    """Storage without content: kopf then does not copy every object of every event to compare it."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


class _EndlessBackoff:
    """Backoff that never gives up: an outage of the API server may last any time."""

    def __iter__(self) -> Iterator[float]:
        seconds = 0.5
        while True:
            yield seconds * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
            seconds = min(seconds * 2, 5.0)
