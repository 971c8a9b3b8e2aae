"""Properties of a request: its kind, the resource that it names, and the object that it is sent for.

The reconciler and the policy syncers name the object here, without a dependency on the clients.
"""

from contextvars import ContextVar

from .ratelimit import CallKind

request_reason: ContextVar[str] = ContextVar("request_reason", default="")
"""Object of the current reconcile (`Kind/namespace/name@generation`). Google's audit logs show it."""


def kind_of(method: str) -> CallKind:
    """Return whether a method (`package.Service/Method`) reads or writes."""
    verb = method.rpartition("/")[2]
    return CallKind.READ if verb.startswith(_READ_PREFIXES) else CallKind.WRITE


def resource_in(request: object) -> str:
    """Return the name of the resource in a request; empty if it has none of the usual fields."""
    named = (getattr(request, field, "") for field in ("resource", "name", "parent"))
    return next((name for name in named if name and isinstance(name, str)), "")


def reason_header() -> tuple[tuple[str, str], ...]:
    """Return the gRPC metadata with `request_reason`."""
    reason = request_reason.get()
    return (("x-goog-request-reason", reason),) if reason else ()


# GenerateAccessToken changes nothing, and reads need a token too.
_READ_PREFIXES = ("Get", "List", "Query", "TestIamPermissions", "GenerateAccessToken")
