"""The only module that uses private names and undocumented behavior of kopf.

Each private name is documented here with its use and the reason why no public API serves. The contract test
`tests/unit/manager/test_kopf_adapter.py` fails when kopf changes one of them. `pyproject.toml` allows only
the versions in `TESTED_VERSIONS`, which that test covers.

Undocumented behavior that the operator relies on:

- `kopf.operator()` raises `APIError` when the API server no longer serves a kind (404). It retries 403, 429
  and 5xx for as long as `networking.error_backoffs` yields.
- It runs cleanup handlers before it cancels the tasks that were started after it. `Manager.drain` is such a
  handler, so work in flight ends in good order.
- It takes SIGTERM and SIGINT for itself, and returns after the cleanup handlers when one arrives.
- It waits 5 s at its end for its task that waits for the stop flag, unless the flag is set by then.
"""

import logging
import random
from collections.abc import Iterator, Mapping
from typing import Any

import kopf
from kopf._cogs.clients import errors

from cloudrun_identity.api import GROUP
from cloudrun_identity.kube.connection import ClusterAccess

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
`APIError` is raised; `manager.process` logs the same fact in one line. kopf has no setting for this, and
silencing all of `kopf` would hide warnings that are logged nowhere else.
"""


def watch_settings() -> kopf.OperatorSettings:
    """Return settings that reduce kopf to a watcher: no Events, peering or annotations; endless retries."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.watching.chunk_size = 500
    settings.networking.error_backoffs = _EndlessBackoff()
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
            seconds = min(seconds * 2, 30.0)
