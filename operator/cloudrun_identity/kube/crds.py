"""The installed CustomResourceDefinitions: which of our kinds are served, and with which fields."""

from collections.abc import Iterator, Mapping
from enum import Enum, auto

from cloudrun_identity.api import KINDS, ManagedProject, PolicyLedger
from cloudrun_identity.api import Resource as Kind
from cloudrun_identity.api.crd import generate
from cloudrun_identity.api.group import GROUP, VERSION

from .errors import KubeError
from .resources import CUSTOM_RESOURCE_DEFINITIONS, Object, Verbs

INSTALL = "cloudrun-identity crds | kubectl apply --server-side -f -"

NEEDED = (ManagedProject.__name__, PolicyLedger.__name__)  # nothing works without them


class CrdState(Enum):
    """What can be done with a kind now."""

    ABSENT = auto()
    """Not installed."""
    PENDING = auto()
    """Installed, and not served yet."""
    ESTABLISHED = auto()
    """Served."""
    DELETING = auto()
    """On its way out, and all its objects with it; served until the last of them has gone."""


SERVED = frozenset({CrdState.ESTABLISHED, CrdState.DELETING})


class CrdsUnsuitable(Exception):  # noqa: N818 - it names what is the case
    """The operator cannot run on the installed CRDs; the message is one line with the command to run."""


async def installed(client: Verbs) -> Mapping[str, CrdState]:
    """Look up the state of each of our kinds, by its name; raises `KubeError`."""
    return {kind: await state_of(client, model) for kind, model in KINDS.items()}


async def state_of(client: Verbs, model: type[Kind]) -> CrdState:
    """Look up the state of one kind; raises `KubeError`."""
    return _state(await _definition(client, model.__name__))


async def check_compatible(client: Verbs) -> None:
    """Make sure that the kinds we cannot do without are served, and that each installed one has our fields.

    Raises `CrdsUnsuitable`, `KubeError`. A field that the installed schema lacks would be dropped from every
    object without a word.
    """
    for kind, generated in generate().items():
        definition = await _definition(client, kind)
        if _state(definition) not in SERVED:
            if kind in NEEDED:
                raise CrdsUnsuitable(f"the {kind} CRD is not installed: run `{INSTALL}`")
        elif (missing := _first_missing(generated, definition or {})) is not None:
            raise CrdsUnsuitable(
                f"the installed {kind} CRD is older than this operator, it has no {missing}: run `{INSTALL}`"
            )


async def _definition(client: Verbs, kind: str) -> Object | None:
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
    # A real API server shows a definition that it has just been given with `conditions: null`.
    conditions = definition.get("status", {}).get("conditions") or ()
    established = any(entry["type"] == "Established" and entry["status"] == "True" for entry in conditions)
    return CrdState.ESTABLISHED if established else CrdState.PENDING


def _first_missing(generated: Object, definition: Object) -> str | None:
    """Name what the installed definition lacks of the generated one: our version, or a field of it."""
    if (served := _schema(definition)) is None:
        return f"version {VERSION}"
    return next(missing_fields(_schema(generated) or {}, served), None)


def _schema(definition: Object) -> Object | None:
    for version in definition["spec"]["versions"]:
        if version["name"] == VERSION and version["served"]:
            return dict(version["schema"]["openAPIV3Schema"])
    return None


def missing_fields(wanted: Object, served: Object, path: str = "") -> Iterator[str]:
    """Iterate over the fields, as `.spec.members[].principal`, that `served` would prune from `wanted`."""
    if served.get("x-kubernetes-preserve-unknown-fields"):
        return
    for name, schema in wanted.get("properties", {}).items():
        if name not in served.get("properties", {}):
            yield f"{path}.{name}"
        else:
            yield from missing_fields(schema, served["properties"][name], f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(wanted.get(key), dict):
            yield from missing_fields(wanted[key], served.get(key) or {}, path + mark)
