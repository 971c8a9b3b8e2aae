"""The objects of a cluster as one read returned them: parsed once per version, with their Events."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Protocol, TypeVar

from pydantic import ValidationError

from cloudrun_identity.api import KINDS, PolicyLedger, ReconciledResource, Resource, Scope
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.objects import compact, resource
from cloudrun_identity.kube.resources import EVENTS, Object, Objects, as_sent
from cloudrun_identity.kube.resources import Resource as ResourcePath

from .cluster_status import parsed

Kind = TypeVar("Kind", bound=Resource)

SHOWN_KINDS: Final = tuple(kind for kind, model in KINDS.items() if model is not PolicyLedger)
"""The kinds that people declare. Ledgers are the operator's own record."""


class Lister(Protocol):
    """The only part of `kube.resources.ObjectClient` that the views need: they never write."""

    async def list(
        self,
        resource: ResourcePath,
        namespace: str = "",
        *,
        label_selector: str = "",
        form: Callable[[Object], Object] = as_sent,
    ) -> Objects:
        """Read all objects of a namespace, or of all namespaces if it is empty, each in the given form."""
        ...


class Parser:
    """Parses objects, and keeps the models of the versions that the last read returned."""

    def __init__(self) -> None:
        self._models: dict[tuple[str, str], Resource | ValidationError] = {}

    def parse(self, raw: Object) -> Resource:
        """Return the model of an object. Raises ValidationError."""
        key = _version(raw)
        if key not in self._models:
            try:
                self._models[key] = parsed(raw)
            except ValidationError as error:
                self._models[key] = error
        model = self._models[key]
        if isinstance(model, ValidationError):
            raise model
        return model

    def keep_only(self, objects: Iterable[Object]) -> None:
        """Drop the models of all other versions."""
        current = set(map(_version, objects))
        self._models = {key: model for key, model in self._models.items() if key in current}


@dataclass(frozen=True, slots=True)
class ClusterObjects:
    """Objects and Events of a cluster, from one read."""

    raw: tuple[Object, ...] = ()
    """The objects, each with its `kind`."""
    events: tuple[Object, ...] = ()
    """The Events about these objects."""
    notices: tuple[str, ...] = ()
    """Reasons why the read is incomplete, one sentence each."""
    parser: Parser = field(default_factory=Parser)
    """Parses the objects."""

    def of(self, model: type[Kind]) -> Iterator[Kind]:
        """Return the valid objects of a kind."""
        return (found for found in self.reconciled() if isinstance(found, model))

    def reconciled(self) -> Iterator[ReconciledResource]:
        """Yield the valid objects of all kinds."""
        for raw in self.raw:
            try:
                found = self.parser.parse(raw)
            except ValidationError:
                continue
            if isinstance(found, ReconciledResource):
                yield found

    def versions(self) -> frozenset[tuple[str, str]]:
        """Return the version of each object and Event: two reads with equal versions are equal."""
        return frozenset(map(_version, (*self.raw, *self.events)))


async def read_objects(client: Lister, namespace: str, parser: Parser) -> ClusterObjects:
    """Return the objects of a namespace and the ManagedProjects, or all objects.

    Kinds that the user may not list are left out, with a notice.

    Raises:
        KubeError: The cluster cannot be read.

    """
    found: Objects = []
    notices: list[str] = []
    for kind in SHOWN_KINDS:
        where = "" if KINDS[kind].scope is Scope.CLUSTER else namespace
        try:
            listed = await client.list(resource(kind), where, form=compact)
        except KubeError as error:
            if error.status != HTTPStatus.FORBIDDEN:
                raise
            notices.append(f"{kind} objects are left out: {error.message}")
            continue
        found += [{**raw, "kind": kind} for raw in listed]
    parser.keep_only(found)
    try:
        events = await client.list(EVENTS, namespace, form=compact)
    except KubeError as error:
        if error.status != HTTPStatus.FORBIDDEN:
            raise
        notices.append(f"Events are left out: {error.message}")
        events = []
    shown = {raw["metadata"].get("uid") for raw in found}
    about = tuple(event for event in events if _subject(event).get("uid") in shown)
    return ClusterObjects(tuple(found), about, tuple(notices), parser)


def _subject(event: Object) -> Mapping[str, str]:
    subject: Mapping[str, str] = event.get("involvedObject") or {}
    return subject


def _version(raw: Object) -> tuple[str, str]:
    metadata = raw["metadata"]
    return str(metadata.get("uid", "")), str(metadata.get("resourceVersion", ""))
