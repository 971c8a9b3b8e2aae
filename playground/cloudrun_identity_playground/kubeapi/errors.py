"""Errors as Kubernetes reports them: a `Status` object with code, reason and causes."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .resources import Resource

Object = dict[str, Any]


class Cause(StrEnum):
    """Reason of an invalid field (`details.causes[].reason`)."""

    REQUIRED = "FieldValueRequired"
    INVALID = "FieldValueInvalid"
    TYPE = "FieldValueTypeInvalid"
    NOT_SUPPORTED = "FieldValueNotSupported"
    TOO_LONG = "FieldValueTooLong"
    TOO_MANY = "FieldValueTooMany"
    DUPLICATE = "FieldValueDuplicate"
    FORBIDDEN = "FieldValueForbidden"


@dataclass(frozen=True)
class FieldError:
    """One invalid field; `message` is the text after `field: `."""

    field: str
    cause: Cause
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class ApiError(Exception):
    """A request that fails with an HTTP status and a `Status` body."""

    def __init__(self, code: int, reason: str, message: str, details: Object | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def status(self) -> Object:
        """Return the `Status` object, for the response or an ERROR event of a watch."""
        status: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status


def bad_request(message: str) -> ApiError:
    """Return 400: the request is malformed."""
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    """Return 401: no bearer token, or another than that of the kubeconfig."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def path_not_found() -> ApiError:
    """Return 404 for a path or a resource that is not served."""
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def method_not_allowed(message: str) -> ApiError:
    """Return 405: the resource does not support the verb."""
    return ApiError(405, "MethodNotAllowed", message)


def unsupported_media_type(accepted: Sequence[str]) -> ApiError:
    """Return 415: the format of the body is not supported."""
    return ApiError(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: "
        + ", ".join(accepted),
    )


def expired(message: str) -> ApiError:
    """Return 410: the requested version is no longer in the history; the client must list again."""
    return ApiError(410, "Expired", message)


def version_too_large(asked: int, current: int) -> ApiError:
    """Return 504: the resourceVersion is newer than any of this server."""
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    return ApiError(
        504,
        "Timeout",
        f"Timeout: Too large resource version: {asked}, current: {current}",
        {"causes": [cause], "retryAfterSeconds": 1},
    )


def not_found(resource: Resource, name: str) -> ApiError:
    """Return 404 for one object."""
    return ApiError(
        404, "NotFound", f'{resource.qualified_name} "{name}" not found', _details(resource, name)
    )


def already_exists(resource: Resource, name: str) -> ApiError:
    """Return 409 for a create of a name that is in use."""
    return ApiError(
        409,
        "AlreadyExists",
        f'{resource.qualified_name} "{name}" already exists',
        _details(resource, name),
    )


def conflict(resource: Resource, name: str, why: str | None = None) -> ApiError:
    """Return 409 for a write that is based on an older version of the object."""
    why = why or (
        "the object has been modified; please apply your changes to the latest version and try again"
    )
    return ApiError(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {resource.qualified_name} "{name}": {why}',
        _details(resource, name),
    )


def forbidden(resource: Resource, name: str, why: str) -> ApiError:
    """Return 403 for a write that the state of another object forbids."""
    return ApiError(
        403,
        "Forbidden",
        f'{resource.qualified_name} "{name}" is forbidden: {why}',
        _details(resource, name),
    )


def invalid(kind: str, group: str, name: str, errors: Sequence[FieldError]) -> ApiError:
    """Return 422 with one cause per field."""
    qualified = f"{kind}.{group}" if group else kind
    texts = [str(error) for error in errors]
    summary = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    causes = [{"reason": e.cause.value, "message": e.message, "field": e.field} for e in errors]
    details = {"name": name, "group": group, "kind": kind, "causes": causes}
    return ApiError(422, "Invalid", f'{qualified} "{name}" is invalid: {summary}', details)


def _details(resource: Resource, name: str) -> Object:
    return {"name": name, "group": resource.group, "kind": resource.plural}
