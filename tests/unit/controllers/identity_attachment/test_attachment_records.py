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
    """What is recorded once the workload is about to be moved."""
    await records.moving(obj, state, EMAIL)
    record = records.of(obj)
    assert record is not None
    assert record.service_account == EMAIL
    return record.previous_service_account


async def test_the_first_move_tells_what_ran_before() -> None:
    records = attachment_records()
    assert await before(records, attachment(), ELSEWHERE) == OLD
    assert await before(records, attachment(), REDEPLOYED) == OLD


async def test_a_workload_that_was_made_anew_and_an_attachment_that_was_begin_anew() -> None:
    records = attachment_records()
    await before(records, attachment(), ELSEWHERE)
    assert await before(records, attachment(), ANEW) == "later@x"

    await before(records, attachment(), ELSEWHERE)
    assert await before(records, SUCCESSOR, REDEPLOYED) == "later@x"


async def test_what_is_recorded_outlives_the_process_and_leaves_nothing_behind() -> None:
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


async def test_what_a_predecessor_did_to_another_workload_is_forgotten() -> None:
    ledgers = Ledgers(InMemoryClient(), "operator")
    records = AttachmentRecords(ledgers)
    await before(records, attachment(), ELSEWHERE)
    elsewhere = replace(ELSEWHERE, workload=replace(ELSEWHERE.workload, name="pricing"))
    await before(records, SUCCESSOR, elsewhere)
    assert [ledger.target.name for ledger in ledgers.all()] == ["pricing"]
