"""JSON merge patches (RFC 7386): made of two objects, and applied to one."""

from typing import Any

from .resources import Object


def merge_patch(old: Object, new: Object) -> Object:
    """Build the patch that turns `old` into `new`; empty when they are equal.

    Attributes that are gone become null, lists are replaced whole. `new` must hold no nulls of its own: a
    merge patch cannot set one.
    """
    patch: Object = {key: None for key in old if key not in new}
    for key, value in new.items():
        if key not in old:
            patch[key] = value
        elif old[key] != value:
            patch[key] = _change(old[key], value)
    return patch


def _change(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return merge_patch(old, new)
    return new


def merged(stored: Any, patch: Any) -> Any:
    """Apply a patch; what was stored stays as it is."""
    if not isinstance(patch, dict):
        return patch
    kept = dict(stored) if isinstance(stored, dict) else {}
    for name, value in patch.items():
        if value is None:
            kept.pop(name, None)
        else:
            kept[name] = merged(kept.get(name), value)
    return kept
