"""User-managed keys of a service account, as Google Cloud lists them."""

from dataclasses import dataclass
from datetime import datetime

MAX_KEYS = 10
"""User-managed keys that an account can have."""


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A user-managed key as Google lists it; `expires` is None for one that does not by itself."""

    key_id: str
    created: datetime
    expires: datetime | None = None
    disabled: bool = False
