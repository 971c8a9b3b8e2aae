"""User-managed keys of a service account, as Google Cloud lists them."""

from dataclasses import dataclass
from datetime import datetime

MAX_KEYS = 10
"""Maximum number of user-managed keys of an account."""


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A user-managed key as Google lists it."""

    key_id: str
    """ID of the key."""
    created: datetime
    """Time of its creation."""
    expires: datetime | None = None
    """Time at which Google ends the key; None if it does not expire."""
    disabled: bool = False
    """True if the key is disabled."""
