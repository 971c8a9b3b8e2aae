"""Checks of a request against its object: type, key and preconditions."""

import json
from typing import Any

from .errors import ApiError, Cause, FieldError, bad_request, conflict, invalid
from .resources import Resource
from .store import ObjectKey

Object = dict[str, Any]

_LARGEST = 3 << 19  # 1.5 MiB


def refusal(
    resource: Resource, name: str, errors: list[FieldError], patched: Object | None = None
) -> ApiError:
    """Return the error for schema errors; a wrong type in a built-in kind is a bad request.

    `patched` is the object that a patch resulted in.
    """
    wrong = next((error for error in errors if error.cause is Cause.TYPE), None)
    if wrong is not None and not resource.definition:
        return undecodable(resource, str(wrong)) if patched is None else invalid_patch(patched, str(wrong))
    return invalid(resource.kind, resource.group, name, errors)


def undecodable(resource: Resource, why: str) -> ApiError:
    """Return the error for a body that does not match the types of its kind."""
    kind = resource.kind
    return bad_request(f'{kind} in version "{resource.version}" cannot be handled as a {kind}: {why}')


def invalid_patch(patched: Object, why: str) -> ApiError:
    """Return the error for a patch whose result does not match the types of its kind."""
    shown = json.dumps(json.dumps(patched, separators=(",", ":")))
    return invalid("", "", "", [FieldError("patch", Cause.INVALID, f"Invalid value: {shown}: {why}")])


def check_absent(resource: Resource, name: str, own: Object) -> None:
    """Check the metadata of an apply patch for an object that does not exist; its version is ignored.

    Raises ApiError: 409, it names the uid of an object.
    """
    own.pop("resourceVersion", None)
    if own.get("uid"):
        why = (
            f"uid mismatch: the provided object specified uid {own['uid']}, and no existing object was found"
        )
        raise conflict(resource, name, why)


def check_type(resource: Resource, obj: Object) -> None:
    """Raise ApiError if a body has another type. A body of a built-in kind need not have one."""
    version, kind = obj.get("apiVersion"), obj.get("kind")
    if resource.definition and not (version and kind):
        raise bad_request(
            f"the object provided is unrecognized (must be of type {resource.kind}): "
            "its apiVersion or kind is missing"
        )
    if version is not None and version != resource.api_version:
        raise bad_request(
            f"the API version in the data ({version}) does not match the expected API version "
            f"({resource.api_version})"
        )
    if kind is not None and kind != resource.kind:
        error = FieldError("kind", Cause.INVALID, f'Invalid value: "{kind}": must be {resource.kind}')
        name = str((obj.get("metadata") or {}).get("name", ""))
        raise invalid(str(kind), resource.group, name, [error])


def check_key(key: ObjectKey, own: Object) -> None:
    """Raise ApiError 400 if the body has another name or namespace than the URL."""
    namespace, name = key
    if own.get("name", name) != name:
        raise bad_request(
            f"the name of the object ({own['name']}) does not match the name on the URL ({name})"
        )
    if own.get("namespace", namespace) != namespace:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


def check_identity(resource: Resource, name: str, old: Object, new: Object) -> None:
    """Raise ApiError 422 if the uid differs."""
    if new.get("uid", old["uid"]) != old["uid"]:
        immutable = f'Invalid value: "{new["uid"]}": field is immutable'
        error = FieldError("metadata.uid", Cause.INVALID, immutable)
        raise invalid(resource.kind, resource.group, name, [error])


def check_size(obj: Object) -> None:
    """Raise ApiError 500 if an object is larger than etcd accepts, as a real API server answers."""
    if len(json.dumps(obj)) > _LARGEST:
        raise ApiError(500, "", "etcdserver: request is too large")


def check_preconditions(resource: Resource, own: Object, preconditions: Object) -> None:
    """Raise ApiError 409 if the uid or the resourceVersion differs from the client's precondition."""
    for field_name, label, so in (
        ("uid", "UID", "deleted and then recreated"),
        ("resourceVersion", "ResourceVersion", "modified"),
    ):
        wanted = preconditions.get(field_name)
        if wanted and wanted != own[field_name]:
            raise conflict(
                resource,
                own["name"],
                f"the {label} in the precondition ({wanted}) does not match the {label} in record "
                f"({own[field_name]}). The object might have been {so}",
            )
