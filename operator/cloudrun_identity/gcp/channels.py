"""gRPC channels: one per host, because gRPC multiplexes all calls on it."""

import asyncio
import re
from collections.abc import Callable, Mapping

import grpc
import grpc.aio

from cloudrun_identity.api import MULTI_REGION, TARGET_KINDS
from cloudrun_identity.api.generic_target import REGIONAL_HOSTS

from . import locations
from .errors import Fault, GoogleError

Headers = Callable[[], Mapping[str, str]]
"""Function that returns the headers for the next call."""


class Channels:
    """Channels of one credential, opened on first use in the event loop that uses them.

    With `endpoint` (`HOST:PORT`) there is one plaintext channel, which sends no `headers`. Otherwise there is
    one TLS channel per API host, and in some APIs one per region.
    """

    def __init__(self, endpoint: str | None, headers: Headers) -> None:
        self._endpoint = endpoint
        self._headers = headers
        self._open: dict[str, grpc.aio.Channel] = {}

    def get(self, api: str, region: str) -> grpc.aio.Channel:
        """Return the channel of the API, in the region if that is not empty.

        Raises:
            GoogleError: INVALID_ARGUMENT: `api` is not the host of an API, or `region` is not the name of a
                region.

        """
        _check_host(api)
        target = self._endpoint or f"{_host(api, region)}:443"
        if target not in self._open:
            self._open[target] = self._create(target)
        return self._open[target]

    async def has_no_host(self, api: str, region: str) -> bool:
        """Return whether the region has no host of the API: it does not exist."""
        return bool(region) and not self._endpoint and await locations.is_missing(_host(api, region), api)

    async def close(self, grace: float | None) -> None:
        """Close all channels. Calls in flight are canceled, after `grace` seconds if given."""
        channels, self._open = self._open, {}
        await asyncio.gather(*(channel.close(grace) for channel in channels.values()))

    def _create(self, target: str) -> grpc.aio.Channel:
        if self._endpoint:
            # An emulator runs on this machine or network. A proxy in the environment is for Google Cloud.
            return grpc.aio.insecure_channel(target, options=[*_OPTIONS, ("grpc.enable_http_proxy", 0)])
        credentials = grpc.composite_channel_credentials(
            grpc.ssl_channel_credentials(), grpc.metadata_call_credentials(_CallHeaders(self._headers))
        )
        return grpc.aio.secure_channel(target, credentials, options=_OPTIONS)


class _CallHeaders(grpc.AuthMetadataPlugin):  # type: ignore[misc]
    """Passes the headers to gRPC per call, so that the client libraries do not log them with the metadata."""

    def __init__(self, headers: Headers) -> None:
        self._headers = headers

    def __call__(
        self,
        context: grpc.AuthMetadataContext,  # noqa: ARG002 - gRPC's signature
        callback: Callable[[tuple[tuple[str, str], ...], Exception | None], None],
    ) -> None:
        callback(tuple(self._headers().items()), None)


def _check_host(api: str) -> None:
    """Check that a host belongs to Google: it receives an access token."""
    if not _API.fullmatch(api):
        raise GoogleError(Fault.INVALID_ARGUMENT, api, f"{api!r} is not the host of a Google Cloud API")


def _host(api: str, region: str) -> str:
    """Return the host. The location of multi-region services is served by the global host."""
    if not region or region == MULTI_REGION:
        return api
    if not _REGION.fullmatch(region):
        # The region becomes part of a host name that receives an access token.
        raise GoogleError(Fault.INVALID_ARGUMENT, api, f"{region!r} is not the name of a region")
    return _REGIONAL_HOSTS[api].format(location=region)


_REGIONAL_HOSTS: Mapping[str, str] = {
    descriptor.host: descriptor.regional_host
    for descriptor in TARGET_KINDS.values()
    if descriptor.regional_host
} | dict(REGIONAL_HOSTS)
"""Pattern of the regional hosts of an API, by its global host."""
_API = re.compile(r"[a-z][a-z0-9]*\.googleapis\.com")
_REGION = re.compile(r"[a-z][a-z0-9-]{0,40}")
# A page of services or a full policy can exceed gRPC's default of 4 MiB.
_OPTIONS = [("grpc.max_receive_message_length", 64 << 20)]
