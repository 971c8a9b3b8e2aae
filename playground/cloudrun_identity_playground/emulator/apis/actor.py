"""The caller of the current call: Google records it on changed resources and checks its permissions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Caller:
    """A principal as in a policy (`user:ann@example.com`), or an empty string for none.

    `unique_id` is that of a service account of the emulator. A caller with `is_admin` is allowed everything.
    """

    principal: str
    unique_id: str = ""
    is_admin: bool = False

    @property
    def email(self) -> str:
        """E-mail of the principal, or its whole name if it has none."""
        kind, _, name = self.principal.partition(":")
        return name if kind in ("user", "serviceAccount") else self.principal


ADMIN = Caller("user:operator@example.com", is_admin=True)
"""The default caller without a token."""

OTHER_USER = Caller("user:somebody@example.com", is_admin=True)
"""The caller of changes through the control API."""

_caller = ContextVar("caller", default=ADMIN)


def caller() -> Caller:
    """Return the caller of the current call."""
    return _caller.get()


def actor() -> str:
    """Return the e-mail of the caller of the current call."""
    return caller().email


@contextmanager
def acting_as(who: Caller) -> Iterator[None]:
    """Make calls inside the block as `who`."""
    token = _caller.set(who)
    try:
        yield
    finally:
        _caller.reset(token)
