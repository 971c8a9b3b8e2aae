"""What two versions of one raw object have to do with each other."""

from cloudrun_identity.api import GROUP, ManagedProject
from cloudrun_identity.api.group import FINALIZER
from cloudrun_identity.kube.resources import Object


def is_older(raw: Object, known: Object, *, deleted: bool) -> bool:
    """Whether `raw` was stored before `known`. The end of an object bears the version of its end."""
    new, old = raw["metadata"], known["metadata"]
    if new["uid"] != old["uid"] or deleted:
        return _version(raw) < _version(known)
    return _version(raw) <= _version(known)


def _version(raw: Object) -> int:
    # Opaque once, ordered integers by KEP-5504, and so in every server there is.
    version = raw["metadata"].get("resourceVersion", "0")
    return int(version) if version.isdigit() else 0


def asks_for_pass(raw: Object, known: Object | None) -> bool:
    """Whether an object that was `known` asks for a pass: not by its status, labels or foreign annotations.

    Our finalizer asks for one where it was taken off. That it is there now tells of a write of our own, whose
    reply the watch may overtake.
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


def facts(raw: Object | None) -> object:
    """What others go by: a change of it wakes them."""
    if raw is None:
        return None
    metadata, status = raw["metadata"], raw.get("status") or {}
    return (
        metadata["uid"],
        metadata.get("generation"),
        "deletionTimestamp" in metadata,
        status.get("projectNumber"),
        raw["kind"] == ManagedProject.__name__ and "conditions" in status,
    )
