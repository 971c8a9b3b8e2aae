"""Names of callers: principals as in a policy, and two names of the emulator."""

from __future__ import annotations

import re

ADMIN = "admin"
"""A caller that is allowed everything."""

ADMIN_AS = "admin:"
"""Prefix of a caller that is allowed everything, under the name of the principal that follows."""

NOBODY = "nobody"
"""A caller without credentials."""

_PRINCIPAL = re.compile(
    r"(?:user|serviceAccount):[^@\s:]+@[^@\s:]+"
    r"|serviceAccount:[^\s\[\]]+\.(?:svc|hub)\.id\.goog\[[^\s/\[\]]+/[^\s/\[\]]+\]"
    r"|principal://\S+(?: +\S+)*"
)


def is_principal(name: str) -> bool:
    """Return whether `name` is a principal that can call; a group cannot."""
    return _PRINCIPAL.fullmatch(name) is not None


def require_principal(name: str) -> str:
    """Return `name` if it is a principal that can call.

    Raises ValueError: It is not.
    """
    if not is_principal(name):
        raise ValueError("must be user:EMAIL, serviceAccount:EMAIL or principal://…")
    return name


def require_caller(name: str) -> str:
    """Return `name` if it can be the caller without a token.

    Raises ValueError: It cannot.
    """
    if name not in (ADMIN, NOBODY) and not is_principal(name):
        raise ValueError("must be `admin`, `nobody`, user:EMAIL, serviceAccount:EMAIL or principal://…")
    return name
