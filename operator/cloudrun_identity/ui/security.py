"""Protection of the page: headers, and checks of the host and of the peer of a request."""

from collections.abc import Collection
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
"""Hosts of a page that is served on this machine."""

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
"""The page loads its own files only. It has no inline script and no inline style."""

HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "Server": "cloudrun-identity",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Headers of every answer."""

NOT_LOCAL: Final = (
    "The page is served to connections from the pod itself only. Use: "
    "kubectl port-forward deployment/NAME PORT --namespace NAMESPACE\n"
)
"""Answer to a connection from another address. `kubectl port-forward` connects from within the pod."""


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Add the security headers to an answer."""
    response.headers.update(HEADERS)


def host_check(hosts: Collection[str]) -> Middleware:
    """Return the middleware that refuses requests for other hosts.

    A page of another site can resolve its own name to the loopback address (DNS rebinding). The browser then
    sends that name as the host.
    """

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        name = _hostname(request.host)
        if name not in hosts:
            text = f"The host {name or 'of the request'} is not served here.\n"
            return web.Response(status=HTTPStatus.MISDIRECTED_REQUEST, text=text)
        return await handler(request)

    return check


@web.middleware
async def local_peers_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse connections from other addresses than the loopback address.

    Every pod of the cluster can connect to the operator's port, and the page shows all namespaces. A port
    forward connects from the network namespace of the pod
    (https://github.com/containerd/containerd/blob/main/internal/cri/server/sandbox_portforward_linux.go), and
    Kubernetes permits it by RBAC: create on pods/portforward.
    """
    peer = request.transport.get_extra_info("peername") if request.transport else None
    address = str(peer[0]).removeprefix("::ffff:") if peer else ""
    if address not in LOOPBACK:
        return web.Response(status=HTTPStatus.FORBIDDEN, text=NOT_LOCAL)
    return await handler(request)


def _hostname(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
