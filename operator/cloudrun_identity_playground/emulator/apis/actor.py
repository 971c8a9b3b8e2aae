"""Who is calling, as far as Google notes it on what the call changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

CALLER = "operator@example.com"
"""Every caller over the wire; the emulator asks for no credentials."""

FOREIGNER = "somebody@example.com"
"""Whoever changes things through the control API."""

_actor = ContextVar("actor", default=CALLER)


def actor() -> str:
    """The e-mail of whoever makes the change under way."""
    return _actor.get()


@contextmanager
def acting_as(email: str) -> Iterator[None]:
    """Changes made inside are noted as made by `email`."""
    token = _actor.set(email)
    try:
        yield
    finally:
        _actor.reset(token)
