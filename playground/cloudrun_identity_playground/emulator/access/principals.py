"""The names of those who call: as a policy names them, and two that no policy knows."""

from __future__ import annotations

import re

ADMIN = "admin"
"""May do everything."""

NOBODY = "nobody"
"""Has no credentials."""

_PRINCIPAL = re.compile(
    r"(?:user|serviceAccount):[^@\s:]+@[^@\s:]+"
    r"|serviceAccount:[^\s\[\]]+\.svc\.id\.goog\[[^\s/\[\]]+/[^\s/\[\]]+\]"
    r"|principal://\S+"
)


def is_principal(name: str) -> bool:
    """Whether `name` is that of a principal who can call; a group cannot."""
    return _PRINCIPAL.fullmatch(name) is not None


def known_principal(name: str) -> str:
    """`name`, if it is that of a principal who can call.

    Raises ValueError: it is not.
    """
    if not is_principal(name):
        raise ValueError("is none of user:EMAIL, serviceAccount:EMAIL, principal://…")
    return name


def known_caller(name: str) -> str:
    """`name`, if it may stand for whoever calls without a token.

    Raises ValueError: it may not.
    """
    if name not in (ADMIN, NOBODY) and not is_principal(name):
        raise ValueError("is none of admin, nobody, user:EMAIL, serviceAccount:EMAIL, principal://…")
    return name
