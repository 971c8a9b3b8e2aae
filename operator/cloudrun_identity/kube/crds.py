"""The installed CustomResourceDefinitions: which kinds are served, and with which fields."""

import asyncio
from collections.abc import Iterator, Mapping
from enum import Enum, auto
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from cloudrun_identity.api import KINDS, ManagedProject, PolicyLedger
from cloudrun_identity.api import Resource as Kind
from cloudrun_identity.api.group import GROUP, VERSION
from cloudrun_identity.api.schema import ApiModel

from .errors import KubeError
from .resources import CUSTOM_RESOURCE_DEFINITIONS, Object, ObjectClient

if TYPE_CHECKING:
    from .client import KubeClient

INSTALL = "cloudrun-identity crds | kubectl apply --server-side -f -"
"""Command that installs or upgrades the CRDs."""

REQUIRED = (ManagedProject.__name__, PolicyLedger.__name__)
"""Kinds without which the operator cannot run."""


class CrdState(Enum):
    """State of a CRD in the cluster."""

    ABSENT = auto()
    """Not installed."""
    PENDING = auto()
    """Installed, but not served yet."""
    ESTABLISHED = auto()
    """Served."""
    DELETING = auto()
    """Being deleted together with all of its objects; served until the last object is deleted."""


SERVED = frozenset({CrdState.ESTABLISHED, CrdState.DELETING})


class CrdsUnsuitable(Exception):
    """The operator cannot run with the installed CRDs. The message is one line with the command to run."""


async def installed(client: ObjectClient) -> Mapping[str, CrdState]:
    """Return the state of the CRD of each kind. Raises `KubeError`."""
    return {kind: await state_of(client, model) for kind, model in KINDS.items()}


async def state_of(client: ObjectClient, model: type[Kind]) -> CrdState:
    """Return the state of the CRD of one kind. Raises `KubeError`."""
    return _state(await _definition(client, model.__name__))


class CrdReader:
    """Reads the state of CRDs. Callers that wait at the same time share a read.

    A caller gets the result of a read that started after its call, which shows all earlier changes.
    """

    def __init__(self, client: ObjectClient) -> None:
        self._client = client
        self._upcoming: dict[str, asyncio.Task[CrdState]] = {}
        self._running: dict[str, asyncio.Task[CrdState]] = {}

    async def state_of(self, kind: str) -> CrdState:
        """Return the state of the CRD of a kind. Raises `KubeError`."""
        if kind not in self._upcoming:
            read = asyncio.create_task(self._read(kind, self._running.get(kind)), name=f"CRD of {kind}")
            read.add_done_callback(_retrieve)  # no caller may be left to raise its error
            self._upcoming[kind] = read
        return await asyncio.shield(self._upcoming[kind])

    async def _read(self, kind: str, before: asyncio.Task[CrdState] | None) -> CrdState:
        if before:
            await asyncio.wait([before])
        self._running[kind] = self._upcoming.pop(kind)
        try:
            return await state_of(self._client, KINDS[kind])
        finally:
            del self._running[kind]


def _retrieve(read: asyncio.Task[CrdState]) -> None:
    if not read.cancelled():
        read.exception()


async def served_kinds(client: "KubeClient") -> list[str]:
    """Return the served kinds, in one request. Raises `KubeError`.

    A CRD that is being deleted is still served: it stays until the finalizers of its objects are removed.
    """
    kinds = await client.kinds(GROUP, VERSION)
    return [kind for kind in KINDS if kind in kinds]


async def check_compatible(client: ObjectClient) -> list[str]:
    """Check that the required kinds are served, and that each installed CRD has the fields of this version.

    Discovery shows a new kind later than its CRD does.

    Returns:
        The served kinds.

    The API server silently drops a field that the installed schema does not have.

    Raises:
        CrdsUnsuitable: A required CRD is not installed, or an installed CRD is older than this operator.
        KubeError: The CRDs cannot be read.

    """
    served = []
    for kind, model in KINDS.items():
        definition = await _definition(client, kind)
        if _state(definition) not in SERVED:
            if kind in REQUIRED:
                raise CrdsUnsuitable(f"the {kind} CRD is not installed: run `{INSTALL}`")
        elif (missing := _first_missing(model, definition or {})) is not None:
            raise CrdsUnsuitable(
                f"the installed {kind} CRD is older than this operator: it has no {missing}; run `{INSTALL}`"
            )
        else:
            served.append(kind)
    return served


async def _definition(client: ObjectClient, kind: str) -> Object | None:
    try:
        return await client.get(CUSTOM_RESOURCE_DEFINITIONS, f"{KINDS[kind].plural}.{GROUP}")
    except KubeError as error:
        if error.is_not_found:
            return None
        raise


def _state(definition: Object | None) -> CrdState:
    if definition is None:
        return CrdState.ABSENT
    if "deletionTimestamp" in definition["metadata"]:
        return CrdState.DELETING
    # An API server returns `conditions: null` for a definition that was just created.
    conditions = definition.get("status", {}).get("conditions") or ()
    established = any(entry["type"] == "Established" and entry["status"] == "True" for entry in conditions)
    return CrdState.ESTABLISHED if established else CrdState.PENDING


def _first_missing(model: type[Kind], definition: Object) -> str | None:
    """Return the first part that the installed definition lacks: this API version, or a field of it."""
    if (served := _schema(definition)) is None:
        return f"version {VERSION}"
    return next(missing_fields(model, served), None)


def _schema(definition: Object) -> Object | None:
    for version in definition["spec"]["versions"]:
        if version["name"] == VERSION and version["served"]:
            return dict(version["schema"]["openAPIV3Schema"])
    return None


def missing_fields(model: type[ApiModel], served: Object, path: str = "") -> Iterator[str]:
    """Yield the fields of a model that a served schema would prune, such as `.spec.members[].principal`.

    The fields are read from the model: generating its schema would double the time of a start.
    """
    if served.get("x-kubernetes-preserve-unknown-fields"):
        return
    properties = served.get("properties", {})
    for info in model.model_fields.values():
        if not path and info.alias in _SERVED_FOR_ALL:
            continue
        if info.alias not in properties:
            yield f"{path}.{info.alias}"
        else:
            yield from _missing_in(info.annotation, properties[info.alias], f"{path}.{info.alias}")


def _missing_in(annotation: Any, served: Object, path: str) -> Iterator[str]:
    """Yield the fields below a value that is declared as `annotation`."""
    declared = get_args(annotation)
    match get_origin(annotation):
        case None:
            if isinstance(annotation, type) and issubclass(annotation, ApiModel):
                yield from missing_fields(annotation, served, path)
        case origin if origin is Annotated:
            yield from _missing_in(declared[0], served, path)
        case origin if origin in (Union, UnionType):
            for choice in declared:
                yield from _missing_in(choice, served, path)
        case origin if origin is tuple:
            yield from _missing_in(declared[0], served.get("items") or {}, f"{path}[]")
        case origin if origin is dict:
            yield from _missing_in(declared[1], served.get("additionalProperties") or {}, f"{path}{{}}")


_SERVED_FOR_ALL = frozenset({"apiVersion", "kind", "metadata"})
"""Fields of an object that the API server adds to every schema."""
