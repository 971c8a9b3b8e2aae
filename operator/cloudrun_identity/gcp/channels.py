"""One channel a host, for as long as its credential is in use: gRPC multiplexes all calls on it."""

import asyncio
import re
from collections.abc import Callable, Mapping

import grpc
import grpc.aio

from .errors import Fault, GoogleError
from .ratelimit import Api

Headers = Callable[[], Mapping[str, str]]
"""What is sent with a call that goes out now."""


class Channels:
    """Opened when first needed, in the event loop that uses them, and open until `close`.

    With `endpoint` (`HOST:PORT`) there is one, in plaintext, on which no `headers` are sent. Otherwise each
    API has its own host, in some APIs one a region, which is called over TLS.
    """

    def __init__(self, endpoint: str | None, headers: Headers) -> None:
        self._endpoint = endpoint
        self._headers = headers
        self._open: dict[str, grpc.aio.Channel] = {}

    def to(self, api: Api, region: str) -> grpc.aio.Channel:
        """The channel on which the API is called, of that region if one is named.

        Raises:
            GoogleError: INVALID_ARGUMENT, `region` cannot be the name of one.

        """
        target = self._endpoint or f"{_host(api, region)}:443"
        if target not in self._open:
            self._open[target] = self._opened(target)
        return self._open[target]

    async def close(self, grace: float | None) -> None:
        """Close all; calls under way are cancelled, after `grace` seconds if given."""
        channels, self._open = self._open, {}
        await asyncio.gather(*(channel.close(grace) for channel in channels.values()))

    def _opened(self, target: str) -> grpc.aio.Channel:
        if self._endpoint:
            # An emulator is near; a proxy from the environment is for the world outside.
            return grpc.aio.insecure_channel(target, options=[*_OPTIONS, ("grpc.enable_http_proxy", 0)])
        identity = grpc.composite_channel_credentials(
            grpc.ssl_channel_credentials(), grpc.metadata_call_credentials(_CallHeaders(self._headers))
        )
        return grpc.aio.secure_channel(target, identity, options=_OPTIONS)


class _CallHeaders(grpc.AuthMetadataPlugin):  # type: ignore[misc]
    """Hands gRPC the headers of each call: so they stay out of what the client libraries log of metadata."""

    def __init__(self, headers: Headers) -> None:
        self._headers = headers

    def __call__(
        self,
        context: grpc.AuthMetadataContext,  # noqa: ARG002 - gRPC's signature
        callback: Callable[[tuple[tuple[str, str], ...], Exception | None], None],
    ) -> None:
        callback(tuple(self._headers().items()), None)


def _host(api: Api, region: str) -> str:
    if not region:
        return api
    if not _REGION.fullmatch(region):
        # It becomes part of a host name that is sent a token.
        raise GoogleError(Fault.INVALID_ARGUMENT, api, f"{region!r} is not the name of a region")
    return f"{region}-{api}"


_REGION = re.compile(r"[a-z][a-z0-9-]{0,40}")
# A page of services or a full policy can pass gRPC's 4 MiB.
_OPTIONS = [("grpc.max_receive_message_length", 64 << 20)]
