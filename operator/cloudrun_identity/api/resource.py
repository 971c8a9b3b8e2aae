"""What every kind has: metadata, a spec, and how it presents itself to the API server and kubectl."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Literal

from pydantic import Field

from .group import API_VERSION, RECONCILE_REQUESTED_AT, TOKEN_BOUND
from .schema import ApiModel, Timestamp, clip


class Scope(StrEnum):
    """Where objects of a kind live."""

    NAMESPACED = "Namespaced"
    CLUSTER = "Cluster"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`, read from a plain field; `wide` ones are shown with `-o wide` only."""

    name: str
    json_path: str
    type: Literal["string", "integer", "date"] = "string"
    wide: bool = False


def _is_empty(value: Any) -> bool:
    return not value


class OwnerReference(ApiModel):
    """An object whose deletion takes this one along."""

    api_version: str
    kind: str
    name: str
    uid: str


class ObjectMeta(ApiModel):
    """The part of Kubernetes' object metadata that the operator uses. What is empty is left out."""

    name: str
    namespace: str = Field(default="", exclude_if=_is_empty)
    """Empty for objects of a cluster-wide kind."""
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
    """An object of one of our kinds."""

    plural: ClassVar[str]
    singular: ClassVar[str]
    short_names: ClassVar[tuple[str, ...]]
    scope: ClassVar[Scope] = Scope.NAMESPACED
    columns: ClassVar[tuple[Column, ...]]

    api_version: Literal["cloudrun-identity.dev/v1alpha1"] = API_VERSION
    kind: str
    metadata: ObjectMeta
    spec: ApiModel

    @property
    def is_deleting(self) -> bool:
        """Somebody asked for the deletion; the object stands until its finalizers are gone."""
        return self.metadata.deletion_timestamp is not None

    @property
    def reconcile_requested_at(self) -> str | None:
        """The token of the last request for a fresh pass, to be echoed in the status."""
        token = self.metadata.annotations.get(RECONCILE_REQUESTED_AT)
        return None if token is None else clip(token, TOKEN_BOUND)
