"""Base of every kind: metadata, spec, and its presentation to the API server and kubectl."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Literal

from pydantic import Field

from .group import API_VERSION, CATEGORY, RECONCILE_REQUESTED_AT, TOKEN_BOUND
from .schema import ApiModel, Timestamp, clip


class Scope(StrEnum):
    """Scope of a kind."""

    NAMESPACED = "Namespaced"
    CLUSTER = "Cluster"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`."""

    name: str
    """Heading of the column."""
    json_path: str
    """Path of the field that the column shows."""
    type: Literal["string", "integer", "date"] = "string"
    """Format of the column."""
    wide: bool = False
    """True if only `-o wide` shows the column."""


def _is_empty(value: Any) -> bool:
    return not value


class OwnerReference(ApiModel):
    """An owner: Kubernetes deletes the object after all its owners are deleted."""

    api_version: str
    kind: str
    name: str
    uid: str


class ObjectMeta(ApiModel):
    """The part of the Kubernetes object metadata that the operator uses. Empty fields are omitted."""

    name: str
    namespace: str = Field(default="", exclude_if=_is_empty)
    """Empty for objects of a cluster-scoped kind."""
    uid: str = Field(default="", exclude_if=_is_empty)
    generation: int = Field(default=0, exclude_if=_is_empty)
    resource_version: str = Field(default="", exclude_if=_is_empty)
    creation_timestamp: Timestamp | None = None
    deletion_timestamp: Timestamp | None = None
    finalizers: tuple[str, ...] = Field(default=(), exclude_if=_is_empty)
    labels: dict[str, str] = Field(default_factory=dict, exclude_if=_is_empty)
    annotations: dict[str, str] = Field(default_factory=dict, exclude_if=_is_empty)
    owner_references: tuple[OwnerReference, ...] = Field(default=(), exclude_if=_is_empty)


class Resource(ApiModel):
    """An object of a kind of this API group."""

    plural: ClassVar[str]
    """Plural name in URLs and kubectl."""
    singular: ClassVar[str]
    """Singular name in kubectl."""
    short_names: ClassVar[tuple[str, ...]]
    """Short names in kubectl."""
    category: ClassVar[str] = CATEGORY
    """Name under which kubectl lists the kind together with others."""
    scope: ClassVar[Scope] = Scope.NAMESPACED
    """Scope of the kind."""
    columns: ClassVar[tuple[Column, ...]]
    """Columns of `kubectl get`."""

    api_version: Literal["cloudrun-identity.dev/v1alpha1"] = API_VERSION
    kind: str
    metadata: ObjectMeta
    spec: ApiModel

    @property
    def is_deleting(self) -> bool:
        """True if the object is being deleted and waits for its finalizers."""
        return self.metadata.deletion_timestamp is not None

    @property
    def reconcile_requested_at(self) -> str | None:
        """The value of the annotation that requests a reconcile, cut to the length that the status echoes."""
        token = self.metadata.annotations.get(RECONCILE_REQUESTED_AT)
        return None if token is None else clip(token, TOKEN_BOUND)
