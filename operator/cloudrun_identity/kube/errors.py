"""Errors of the Kubernetes API, classified so that callers can decide what to do."""

from http import HTTPStatus


class KubeError(Exception):
    """A request that the API server refused or did not answer."""

    status: int
    """HTTP status; 0 if no answer arrived."""

    reason: str
    """Reason of the Status object, such as `NotFound`; `Timeout` or `Unreachable` without an answer."""

    message: str
    """Message of the returned Status object, or a description of the failure."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{reason} ({status}): {message}" if status else f"{reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message

    @property
    def is_not_found(self) -> bool:
        """True if the object or its kind does not exist."""
        return self.status == HTTPStatus.NOT_FOUND

    @property
    def is_conflict(self) -> bool:
        """True for a stale resourceVersion, a failed precondition, or the creation of an existing object."""
        return self.status == HTTPStatus.CONFLICT

    @property
    def is_gone(self) -> bool:
        """True if the resourceVersion or the continue token has expired."""
        return self.status == HTTPStatus.GONE

    @property
    def is_invalid(self) -> bool:
        """True if the object violates its schema or a validation rule of the API server."""
        return self.status == HTTPStatus.UNPROCESSABLE_ENTITY

    @property
    def is_forbidden(self) -> bool:
        """True if RBAC or admission (a terminating namespace, a quota) refused the request."""
        return self.status == HTTPStatus.FORBIDDEN

    @property
    def is_unavailable(self) -> bool:
        """True if the request was not answered or not processed. The same request may succeed later."""
        return self.status in (0, HTTPStatus.TOO_MANY_REQUESTS) or self.status >= 500


class OlderVersion(KubeError):
    """The API server shows an object in an older version than before: its storage was restored from a backup.

    The object is the one that a write in conflict was meant for. A read without a resourceVersion returns the
    newest version (https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list).
    """

    def __init__(self, what: str) -> None:
        super().__init__(HTTPStatus.CONFLICT, "OlderVersion", f"{what} is older than before")
        self.what = what
        """The object, such as `iambindings payments/web`."""


class ClusterUnreachable(Exception):
    """The operator cannot connect to the API server. The message is one line for the user."""


class KubeconfigInvalid(ClusterUnreachable):
    """The kubeconfig is missing, malformed, or yields no credentials. The message is one line."""
