"""A plain HTTP client of an API server, which shows exactly what the server sends."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from tests.servers.kube_apis import tls_context
from tests.time_budget import time_budget

Object = dict[str, Any]

JSON = "application/json"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"

POLL_EVERY = 0.05


@dataclass(frozen=True)
class Answer:
    """Response of a request."""

    code: int
    body: Any
    headers: Mapping[str, list[str]]

    @property
    def reason(self) -> str:
        reason: str = self.body["reason"]
        return reason

    @property
    def message(self) -> str:
        message: str = self.body["message"]
        return message

    @property
    def causes(self) -> list[tuple[str, str, str]]:
        """Return field, reason and message of each cause."""
        return [(c["field"], c["reason"], c["message"]) for c in self.body["details"]["causes"]]

    @property
    def version(self) -> str:
        version: str = self.body["metadata"]["resourceVersion"]
        return version


class Watched:
    """The events of one watch."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def next(self) -> Object | None:
        """Return the next event, or None at the end of the watch."""
        async with time_budget():
            line = await self._response.content.readline()
        event: Object | None = json.loads(line) if line.strip() else None
        return event

    async def take(self, count: int) -> list[tuple[str, str]]:
        """Wait for this many events; return type and object name of each."""
        taken = []
        for _ in range(count):
            event = await self.next()
            assert event is not None
            taken.append((event["type"], event["object"]["metadata"]["name"]))
        return taken


class Api:
    """An API server, with the user of a kubeconfig."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = JSON,
        accept: str = JSON,
        **query: str,
    ) -> Answer:
        """Send a request; a body that is not bytes is sent as JSON."""
        raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": content_type, "Accept": accept}
        async with self._session.request(method, path, data=raw, params=query, headers=sent) as response:
            text = await response.text()
            received = {name: response.headers.getall(name) for name in response.headers}
            is_json = response.content_type == JSON
            return Answer(response.status, json.loads(text) if is_json else text, received)

    async def get(self, path: str, **query: str) -> Answer:
        return await self.call("GET", path, **query)

    async def post(self, path: str, body: Any, **query: str) -> Answer:
        return await self.call("POST", path, body, **query)

    async def put(self, path: str, body: Any, **query: str) -> Answer:
        return await self.call("PUT", path, body, **query)

    async def merge(self, path: str, patch: Any, **query: str) -> Answer:
        return await self.call("PATCH", path, patch, content_type=MERGE, **query)

    async def apply(self, path: str, config: Any, manager: str, **query: str) -> Answer:
        return await self.call("PATCH", path, config, content_type=APPLY, fieldManager=manager, **query)

    async def delete(self, path: str, options: Any = None, **query: str) -> Answer:
        return await self.call("DELETE", path, options, **query)

    @asynccontextmanager
    async def watch(self, path: str, *, accept: str = JSON, **query: str) -> AsyncIterator[Watched]:
        """Watch a collection until the block ends."""
        params = {"watch": "true", **query}
        async with self._session.get(path, params=params, headers={"Accept": accept}) as response:
            assert response.status == 200, await response.text()
            yield Watched(response)

    async def eventually(self, path: str, code: int) -> Answer:
        """Read until the response has that code."""
        return await self.until(path, lambda answer: answer.code == code)

    async def until(self, path: str, holds: Callable[[Answer], bool]) -> Answer:
        """Read until the response meets a condition."""
        async with time_budget():
            while True:
                answer = await self.get(path)
                if holds(answer):
                    return answer
                await asyncio.sleep(POLL_EVERY)


@asynccontextmanager
async def connect(kubeconfig: Path, *, token: str | None = None) -> AsyncIterator[Api]:
    """Connect as the user of a kubeconfig, or with another bearer token (empty: none)."""
    cluster, own_token = _entries(kubeconfig)
    token = own_token if token is None else token
    tls: ssl.SSLContext = tls_context(cluster)
    headers = {"Authorization": f"Bearer {token}", "User-Agent": "contract/1"} if token else {}
    connector = aiohttp.TCPConnector(ssl=tls)
    async with aiohttp.ClientSession(cluster["server"], connector=connector, headers=headers) as session:
        yield Api(session)


def _entries(kubeconfig: Path) -> tuple[Object, str]:
    config = yaml.safe_load(kubeconfig.read_text())
    return config["clusters"][0]["cluster"], config["users"][0]["user"]["token"]
