"""What can go wrong between us and the Kubernetes API, as values to decide on."""

from http import HTTPStatus


class KubeError(Exception):
    """A request that the API server refused, or that never got an answer.

    `status` is the HTTP status, 0 where no answer came; `reason` and `message` are those of the returned
    Status object (`NotFound`, `AlreadyExists`, `Invalid`, …), `Timeout` or `Unreachable` without an answer.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{reason} ({status}): {message}" if status else f"{reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message

    @property
    def is_not_found(self) -> bool:
        """No such object, or no such kind."""
        return self.status == HTTPStatus.NOT_FOUND

    @property
    def is_conflict(self) -> bool:
        """A stale resourceVersion, a failed precondition, or a create of what exists already."""
        return self.status == HTTPStatus.CONFLICT

    @property
    def is_gone(self) -> bool:
        """The resourceVersion or the continue token is too old to be served."""
        return self.status == HTTPStatus.GONE

    @property
    def is_invalid(self) -> bool:
        """The object breaks a rule of its schema, or of the API server's own."""
        return self.status == HTTPStatus.UNPROCESSABLE_ENTITY

    @property
    def is_forbidden(self) -> bool:
        """Not allowed by RBAC, or refused by admission (a terminating namespace, a quota)."""
        return self.status == HTTPStatus.FORBIDDEN

    @property
    def is_unavailable(self) -> bool:
        """No answer, or one that says nothing about the request: the same request may pass later."""
        return self.status in (0, HTTPStatus.TOO_MANY_REQUESTS) or self.status >= 500


class ClusterUnreachable(Exception):  # noqa: N818 - it names a state of the world
    """There is no way to the API server; the message is one line for the user."""


class KubeconfigInvalid(ClusterUnreachable):
    """The kubeconfig is missing, unreadable or gives no credentials; the message is one line."""
