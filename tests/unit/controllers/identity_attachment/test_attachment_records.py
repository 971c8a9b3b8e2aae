from dataclasses import replace

from cloudrun_identity.api import IdentityAttachment
from cloudrun_identity.controllers.identity_attachment.attachment_records import AttachmentRecords
from cloudrun_identity.gcp.workloads import WorkloadState
from cloudrun_identity.ledger.store import Ledgers
from cloudrun_identity.plan.in_memory_client import InMemoryClient
from tests.unit.controllers.attachments import ELSEWHERE, OLD, attachment, attachment_records
from tests.unit.controllers.cluster_state import EMAIL

SUCCESSOR = attachment().model_copy(
    update={"metadata": attachment().metadata.model_copy(update={"uid": "u-successor"})}
)
REDEPLOYED = replace(ELSEWHERE, service_account="later@x")
ANEW = replace(REDEPLOYED, uid="w-2")


async def before(records: AttachmentRecords, obj: IdentityAttachment, state: WorkloadState) -> str:
    """Return the recorded account once the workload is about to be reassigned."""
    await records.reassigning(obj, state, EMAIL)
    record = records.of(obj)
    assert record is not None
    assert record.service_account == EMAIL
    return record.previous_service_account


async def test_the_first_move_records_the_previous_account() -> None:
    records = attachment_records()
    assert await before(records, attachment(), ELSEWHERE) == OLD
    assert await before(records, attachment(), REDEPLOYED) == OLD


async def test_a_new_workload_or_attachment_records_the_account_again() -> None:
    records = attachment_records()
    await before(records, attachment(), ELSEWHERE)
    assert await before(records, attachment(), ANEW) == "later@x"

    await before(records, attachment(), ELSEWHERE)
    assert await before(records, SUCCESSOR, REDEPLOYED) == "later@x"


async def test_a_record_survives_a_restart_and_is_removed_completely() -> None:
    stored = InMemoryClient()
    await before(AttachmentRecords(Ledgers(stored, "operator")), attachment(), ELSEWHERE)

    ledgers = Ledgers(stored, "operator")
    await ledgers.fill()
    records = AttachmentRecords(ledgers)
    record = records.of(attachment())
    assert record is not None
    assert record.previous_service_account == OLD

    await records.drop(attachment())
    assert records.home(attachment()) is None
    assert list(ledgers.all()) == []


async def test_the_record_of_an_earlier_attachment_is_removed() -> None:
    ledgers = Ledgers(InMemoryClient(), "operator")
    records = AttachmentRecords(ledgers)
    await before(records, attachment(), ELSEWHERE)
    elsewhere = replace(ELSEWHERE, workload=replace(ELSEWHERE.workload, name="pricing"))
    await before(records, SUCCESSOR, elsewhere)
    assert [ledger.target.name for ledger in ledgers.all()] == ["pricing"]
