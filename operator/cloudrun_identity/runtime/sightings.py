"""What two versions of one raw object have to do with each other."""

from cloudrun_identity.api import GROUP, ManagedProject
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


def spec_like(raw: Object | None) -> object:
    """What asks for a pass over the object when it changes: not the status, labels or foreign annotations."""
    if raw is None:
        return None
    metadata = raw["metadata"]
    return (
        metadata["uid"],
        metadata.get("generation"),
        metadata.get("deletionTimestamp"),
        tuple(metadata.get("finalizers", ())),
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
