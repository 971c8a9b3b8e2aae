"""Detection of regions without a host. Without it, a mistyped region appears as an unavailable API."""

import asyncio
import socket

TIMEOUT = 5.0
"""Seconds for the lookup of a host name."""


async def is_missing(regional_host: str, global_host: str) -> bool:
    """Return whether the name of a regional host does not exist, while that of the global host does.

    gRPC reports both an unknown name and an unreachable API as UNAVAILABLE. If the global name cannot be
    resolved either, the resolver is at fault. Behind a proxy, neither name may be known.
    """
    if not await _is_unknown(regional_host):
        return False
    return await _is_known(global_host)


async def _is_unknown(host: str) -> bool:
    try:
        await _resolve(host)
    except socket.gaierror as error:
        return error.errno in _NO_SUCH_NAME
    except (OSError, TimeoutError):
        return False
    return False


async def _is_known(host: str) -> bool:
    try:
        await _resolve(host)
    except (OSError, TimeoutError):
        return False
    return True


async def _resolve(host: str) -> None:
    async with asyncio.timeout(TIMEOUT):
        await asyncio.get_running_loop().getaddrinfo(host, 443)


# A resolver that cannot answer now raises EAI_AGAIN instead.
_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
