"""The error of an edit that cannot be made."""

from __future__ import annotations


class EditError(Exception):
    """An edit that cannot be made; one line with the reason."""
