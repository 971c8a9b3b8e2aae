"""Export and import of PolicyLedgers: which documents are accepted, and their effect on stored ledgers."""

import pytest

from cloudrun_identity.api import GrantState
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.kube.resources import Object
from cloudrun_identity.ledger.elsewhere import digest_of
from cloudrun_identity.ledger.model import Ledger, entry_of
from cloudrun_identity.ledger.objects import object_name, to_object
from cloudrun_identity.ledger.transfer import (
    ImportAction,
    NotImportable,
    PlannedImport,
    exported,
    plan_import,
)

TARGET = Target.project("payments-prod-1234")
NAME = object_name(TARGET)
OWNER = "IAMBinding/payments/web/1"


def stored(member: str = "group:a@example.com", namespace: str = "first", generation: int = 7) -> Object:
    """Return a PolicyLedger as the API server has it."""
    grant = Grant(TARGET, "roles/viewer", member, None)
    ledger = Ledger.of(TARGET, {grant: entry_of(grant, (OWNER,), GrantState.GRANTED)})
    metadata = {
        "name": NAME,
        "namespace": namespace,
        "uid": "1",
        "resourceVersion": "12",
        "generation": generation - 1,
        "managedFields": [],
    }
    return to_object(ledger, metadata)


def planned(*documents: object, known: tuple[Object, ...] = (), replace: bool = False) -> list[PlannedImport]:
    return list(plan_import(documents, known, "second", replace=replace))


def test_export_has_no_metadata_of_its_cluster() -> None:
    assert exported(stored())["metadata"] == {"name": NAME, "namespace": "first"}
    assert exported(stored())["spec"] == stored()["spec"]


def test_exported_ledger_is_created_in_the_given_namespace() -> None:
    [each] = planned(exported(stored()))
    assert each.action is ImportAction.CREATE
    assert {**each.obj["metadata"], "labels": None} == {
        "name": NAME,
        "namespace": "second",
        "labels": None,
    }
    assert "owners.cloudrun-identity.dev/payments" in each.obj["metadata"]["labels"]
    assert str(each) == f"created PolicyLedger second/{NAME}: Project payments-prod-1234, 1 grant"


def test_list_of_kubectl_is_imported() -> None:
    assert len(planned({"kind": "List", "items": [stored()]})) == 1


def test_same_records_are_not_written_again() -> None:
    [each] = planned(exported(stored()), known=(stored(namespace="second", generation=3),))
    assert each.action is ImportAction.KEEP


@pytest.mark.parametrize(
    "last_write",
    [
        {"writtenGeneration": 9},
        {"writtenUID": "another"},
        {"restored": True},
        {"unmanagedMembers": 4},
        {"lastWriteTime": "2026-01-01T00:00:00Z"},
    ],
)
def test_digest_does_not_depend_on_the_last_write(last_write: Object) -> None:
    """A copy in the namespace of another operator was written there, as another object."""
    raw = stored()
    copy = {**raw, "spec": {**raw["spec"], **last_write}}
    assert digest_of(copy) == digest_of(raw) != ""


def test_other_records_are_kept_unless_replaced() -> None:
    other = stored("group:b@example.com", namespace="second")
    with pytest.raises(NotImportable, match=f"with other records: {NAME}; nothing was imported"):
        planned(exported(stored()), known=(other,))
    [each] = planned(exported(stored()), known=(other,), replace=True)
    assert each.action is ImportAction.REPLACE
    assert each.obj["metadata"]["resourceVersion"] == "12"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"kind": "IAMBinding", "metadata": {"name": "web"}}, "IAMBinding web is no PolicyLedger"),
        ({"kind": "PolicyLedger"}, "a document is no PolicyLedger"),
        ("text", "a document is no PolicyLedger"),
        ({**stored(), "spec": {"bindings": []}}, "cannot be read"),
        ({**stored(), "metadata": {"name": "my-copy"}}, f"whose ledger has the name {NAME}"),
    ],
)
def test_other_documents_are_refused(document: object, message: str) -> None:
    with pytest.raises(NotImportable, match=message):
        planned(document)


def test_ledger_that_occurs_twice_is_refused() -> None:
    with pytest.raises(NotImportable, match="occurs twice"):
        planned(stored(), stored())


def test_empty_documents_are_skipped() -> None:
    assert planned(None) == []
