"""The roles that are as wide as a project."""

from typing import Final

# admin, writer and reader are the successors of owner, editor and viewer, as wide as these.
BASIC_ROLES: Final = frozenset(
    f"roles/{name}" for name in ("owner", "editor", "viewer", "admin", "writer", "reader")
)
