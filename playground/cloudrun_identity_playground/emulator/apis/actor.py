"""Who is calling: whom Google notes on what the call changes, and whose permissions decide about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Caller:
    """A principal as a policy names it (`user:ann@example.com`); empty: nobody in particular.

    `unique_id` is that of a service account of the emulator. An `almighty` caller may do everything.
    """

    principal: str
    unique_id: str = ""
    almighty: bool = False

    @property
    def email(self) -> str:
        """The e-mail of the principal, or its whole name where it has none."""
        kind, _, name = self.principal.partition(":")
        return name if kind in ("user", "serviceAccount") else self.principal


ADMIN = Caller("user:operator@example.com", almighty=True)
"""Whoever calls without a token, unless the emulator is told otherwise."""

FOREIGNER = Caller("user:somebody@example.com", almighty=True)
"""Whoever changes things through the control API."""

_caller = ContextVar("caller", default=ADMIN)


def caller() -> Caller:
    """Who makes the call under way."""
    return _caller.get()


def actor() -> str:
    """The e-mail of whoever makes the call under way."""
    return caller().email


@contextmanager
def acting_as(who: Caller) -> Iterator[None]:
    """Calls made inside are made by `who`."""
    token = _caller.set(who)
    try:
        yield
    finally:
        _caller.reset(token)
