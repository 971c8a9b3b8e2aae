"""Change predicates: what the difference between two versions of an object requires."""

from cloudrun_identity.api import GROUP, ManagedProject
from cloudrun_identity.api.group import FINALIZER
from cloudrun_identity.kube.objects import version_in
from cloudrun_identity.kube.resources import Object


def is_older(raw: Object, known: Object, *, deleted: bool) -> bool:
    """Return whether `raw` is older than `known`, or the same version. A deletion has its own version."""
    new, old = raw["metadata"], known["metadata"]
    if new["uid"] != old["uid"] or deleted:
        return version_in(new) < version_in(old)
    return version_in(new) <= version_in(old)


def needs_reconcile(raw: Object, known: Object | None) -> bool:
    """Return whether an object must be reconciled: not for its status, labels or other parties' annotations.

    The removal of the operator's finalizer requires a reconcile. Its addition does not: it is a write of the
    operator, whose reply the watch may overtake.
    """
    if known is None:
        return True
    new, old = raw["metadata"], known["metadata"]
    return _spec_like(new) != _spec_like(old) or (
        FINALIZER in old.get("finalizers", ()) and FINALIZER not in new.get("finalizers", ())
    )


def _spec_like(metadata: Object) -> object:
    return (
        metadata["uid"],
        metadata.get("generation"),
        metadata.get("deletionTimestamp"),
        _own_annotations(metadata),
    )


def _own_annotations(metadata: Object) -> tuple[tuple[str, str], ...]:
    annotations = metadata.get("annotations") or {}
    return tuple(sorted((name, value) for name, value in annotations.items() if name.startswith(GROUP)))


def visible_to_referrers(raw: Object | None) -> object:
    """Return what referrers read of an object. When it changes, the referrers are reconciled."""
    if raw is None:
        return None
    metadata, status = raw["metadata"], raw.get("status") or {}
    return (
        metadata["uid"],
        metadata.get("generation"),
        "deletionTimestamp" in metadata,
        status.get("projectNumber"),
        raw["kind"] == ManagedProject.__name__ and "conditions" in status,
        operator_in(raw),
    )


def operator_in(raw: Object) -> object:
    """Return the operator in the status of a ManagedProject. The object need not fit its kind."""
    status = raw.get("status") or {}
    return str(status.get("operator")) if raw["kind"] == ManagedProject.__name__ else None
