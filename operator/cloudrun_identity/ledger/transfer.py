"""PolicyLedgers as files: written by `cloudrun-identity ledgers export`, and read by `ledgers import`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from cloudrun_identity.api import API_VERSION, PolicyLedger
from cloudrun_identity.kube.resources import Object

from .elsewhere import digest_of
from .labels import labelled
from .objects import LedgerInvalid, from_object, object_name

_KIND = PolicyLedger.__name__


class NotImportable(Exception):
    """A document is no usable PolicyLedger, or contradicts a stored one. The message is one line."""


class ImportAction(StrEnum):
    """Effect of an import on one PolicyLedger."""

    CREATE = "created"
    REPLACE = "replaced"
    KEEP = "unchanged"


@dataclass(frozen=True, slots=True)
class PlannedImport:
    """The import of one PolicyLedger."""

    action: ImportAction
    """Effect on the namespace."""
    obj: Object
    """Object to store."""
    grants: int
    """Number of grants that it records."""

    def __str__(self) -> str:
        """Return the line that the command prints."""
        metadata, target = self.obj["metadata"], from_object(self.obj).target
        return (
            f"{self.action} PolicyLedger {metadata['namespace']}/{metadata['name']}: {target}, "
            f"{self.grants} grant{'' if self.grants == 1 else 's'}"
        )


def exported(raw: Object) -> Object:
    """Return a PolicyLedger without the metadata that belongs to its cluster."""
    metadata = {name: raw["metadata"][name] for name in ("name", "namespace")}
    return {"apiVersion": API_VERSION, "kind": _KIND, "metadata": metadata, "spec": raw["spec"]}


def plan_import(
    documents: Iterable[object], stored: Iterable[Object], namespace: str, *, replace: bool
) -> tuple[PlannedImport, ...]:
    """Return what an import into a namespace with the `stored` PolicyLedgers does.

    Raises:
        NotImportable: A document is no PolicyLedger or an invalid one, or, without `replace`, a stored
            PolicyLedger records something else.

    """
    known = {raw["metadata"]["name"]: raw for raw in stored}
    planned: dict[str, PlannedImport] = {}
    for raw in _ledgers_in(documents):
        each = _planned(raw, known, namespace)
        name = each.obj["metadata"]["name"]
        if name in planned:
            raise NotImportable(f"PolicyLedger {name} occurs twice")
        planned[name] = each
    differing = [name for name, each in planned.items() if each.action is ImportAction.REPLACE]
    if differing and not replace:
        raise NotImportable(
            f"namespace {namespace} has PolicyLedgers with other records: {', '.join(sorted(differing))}; "
            "nothing was imported. Add --replace to discard those of the cluster"
        )
    return tuple(planned.values())


def _ledgers_in(documents: Iterable[object]) -> Iterable[Object]:
    """Yield the PolicyLedgers in documents, which may be lists, as kubectl prints them."""
    for document in documents:
        match document:
            case None:
                continue
            case {"kind": str(kind), "items": list(items)} if kind.endswith("List"):
                yield from _ledgers_in(items)
            case dict() if document.get("kind") == _KIND and _has_form(document):
                yield document
            case {"kind": str(kind), "metadata": {"name": str(name)}}:
                raise NotImportable(f"{kind} {name} is no {_KIND}; apply other objects with kubectl")
            case _:
                raise NotImportable(f"a document is no {_KIND}")


def _has_form(document: Object) -> bool:
    match document:
        case {"metadata": {"name": str()}, "spec": dict()}:
            return True
        case _:
            return False


def _planned(raw: Object, known: Mapping[str, Object], namespace: str) -> PlannedImport:
    name = raw["metadata"]["name"]
    obj = exported({"metadata": {"name": name, "namespace": namespace}, "spec": raw["spec"]})
    try:
        ledger = from_object(obj)
    except LedgerInvalid as error:
        raise NotImportable(str(error).partition("; repair it")[0]) from error
    if name != object_name(ledger.target):
        raise NotImportable(
            f"PolicyLedger {name} records {ledger.target}, whose ledger has the name "
            f"{object_name(ledger.target)}"
        )
    stored, grants = known.get(name), len(ledger.entries)
    if stored is None:
        created = {**obj, "metadata": labelled(obj["metadata"], ledger)}
        return PlannedImport(ImportAction.CREATE, created, grants)
    if digest_of(stored) == digest_of(obj):
        return PlannedImport(ImportAction.KEEP, obj, grants)
    replacing = {**obj, "metadata": labelled(stored["metadata"], ledger)}
    return PlannedImport(ImportAction.REPLACE, replacing, grants)
