"""The API server over HTTPS on loopback."""

import asyncio
import hmac
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from . import credentials, kubeconfig
from .datafile import DataFile, DataFileError
from .errors import ApiError, unauthorized
from .lifecycle import Lifecycle
from .operations import Operations, Write
from .requests import RequestHandler
from .resources import NAMESPACES, Catalog, builtin_resources
from .responses import status_response
from .store import DEFAULT_HISTORY, Store

_LOG = logging.getLogger(__name__)
HOST = "127.0.0.1"
"""The only address that the server listens on."""
# etcd refuses requests above 1.5 MB, and the API server those above 3 MB.
_MOST_BYTES = 3 * 1024 * 1024
_FIRST_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_PUBLIC_PATHS = frozenset({"/healthz", "/livez", "/readyz"})
# Grace period of open requests when the server stops; watches end at once.
_SHUTDOWN_SECONDS = 1.0


class KubeApi:
    """An API server for the duration of its context.

    ```python async with KubeApi(kubeconfig=path) as api:
        ...  # api.url, api.kubeconfig, api.token, api.authority
    ```
    """

    def __init__(
        self,
        kubeconfig: Path | None = None,
        *,
        port: int = 0,
        data: Path | None = None,
        history: int = DEFAULT_HISTORY,
    ) -> None:
        """Prepare a server.

        Args:
            kubeconfig: Path of the kubeconfig to write; None writes none.
            port: Port to listen on; 0 takes a free one.
            data: File that stores the objects between runs; None stores them in memory only. The file
                `NAME.credentials` beside it stores the certificate and the token.
            history: Number of changes of a resource after which a watch cannot resume.
        """
        self.kubeconfig = kubeconfig
        self.url = ""
        self._port = port
        own = credentials.kept(data) if data is not None else credentials.created()
        self.token, self._identity = own.token, own.identity
        self._store = Store(history)
        catalog = Catalog()
        for resource in builtin_resources():
            catalog.install(resource)
        # Public for callers of the same process, which need no connection.
        self.operations = Operations(self._store, catalog, Lifecycle(self._store, catalog))
        self.handler = RequestHandler(self.operations)
        self._data = DataFile(data, self._store, catalog) if data is not None else None
        self._context = AsyncExitStack()
        self._runner = web.AppRunner(
            self._application(),
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )

    @property
    def authority(self) -> bytes:
        """Certificate (PEM) that a client must trust."""
        return self._identity.certificate

    async def __aenter__(self) -> Self:
        """Start listening and write the kubeconfig.

        Raises:
            OSError: The port is in use, or a file cannot be written.
            FileNotOwnedError: The path of the kubeconfig has a file that this server did not write.
            DataFileError: The data file is invalid or in use.

        """
        async with AsyncExitStack() as context:
            if self.kubeconfig is not None:
                kubeconfig.check(self.kubeconfig)
            if self._data is not None:
                context.enter_context(self._data.opened())
            self._create_first_namespaces()
            await self._listen(context)
            if self.kubeconfig is not None:
                kubeconfig.write(self.kubeconfig, self.render_kubeconfig())
            if self._data is not None:
                context.push_async_callback(self._data.save)
                await self._data.save()
            context.callback(self._store.close)
            self._context = context.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the watches and stop."""
        await self._context.aclose()

    @asynccontextmanager
    async def in_memory(self, url: str) -> AsyncIterator[Callable[[], asyncio.Protocol]]:
        """Serve without a port during the block, under a URL that only the block's clients know.

        Yields the factory of the server's protocol: one for each connection.
        """
        self.url = url
        self._create_first_namespaces()
        async with AsyncExitStack() as context:
            await self._runner.setup()
            context.push_async_callback(self._runner.cleanup)
            context.callback(self._store.close)
            server = self._runner.server
            if server is None:
                raise RuntimeError("the server is not set up")
            yield server

    def render_kubeconfig(self) -> str:
        """Return the kubeconfig as text."""
        return kubeconfig.render(self.url, self.authority, self.token)

    async def _listen(self, context: AsyncExitStack) -> None:
        await self._runner.setup()
        context.push_async_callback(self._runner.cleanup)
        await web.TCPSite(self._runner, HOST, self._port, ssl_context=self._identity.server_context()).start()
        self.url = f"https://{HOST}:{self._runner.addresses[0][1]}"

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=_MOST_BYTES)
        application.router.add_route("*", "/{path:.*}", self._answer)
        return application

    def _create_first_namespaces(self) -> None:
        resource = self.operations.catalog.stored_as(NAMESPACES)
        if resource is None:
            raise LookupError("namespaces are not among the built-in resources")
        for name in _FIRST_NAMESPACES:
            if self._store.find(NAMESPACES, ("", name)) is not None:
                continue
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            self.operations.create(resource, "", body, Write(manager="kube-apiserver"))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            if request.path not in _PUBLIC_PATHS:
                self._authenticate(request)
            response = await self.handler.answer(request)
            if self._data is not None:
                await self._data.save()
            return response
        except ApiError as error:
            return status_response(error)
        except DataFileError as error:
            why = f"Internal error occurred: the change is made, but not kept: {error}"
            return status_response(ApiError(500, "InternalError", why))
        except web.HTTPRequestEntityTooLarge:
            limit = f"Request entity too large: limit is {_MOST_BYTES}"
            return status_response(ApiError(413, "RequestEntityTooLarge", limit))
        except (ConnectionError, asyncio.CancelledError, web.HTTPException):
            raise
        except Exception as error:  # a bug ends one request, not the server, and is reported as such
            _LOG.exception("%s %s", request.method, request.path)
            return status_response(
                ApiError(500, "InternalError", f"Internal error occurred: {type(error).__name__}")
            )

    def _authenticate(self, request: web.Request) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), self.token.encode()):
            raise unauthorized()
