"""One workload as Google Cloud shows it, the records about it, and every call for it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from cloudrun_identity.api import (
    IdentityAttachment,
    LedgerAccount,
    LedgerAttachment,
    PreflightCheck,
    PreflightState,
)
from cloudrun_identity.controllers.identity_attachment.attachment_records import AttachmentRecords
from cloudrun_identity.controllers.identity_attachment.controller import IdentityAttachmentController
from cloudrun_identity.controllers.identity_attachment.execution import AttachmentExecution
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.gcp.run import Operation
from cloudrun_identity.gcp.workloads import Workload, WorkloadState
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.ledger.store import Ledgers
from cloudrun_identity.plan.in_memory_client import InMemoryClient
from cloudrun_identity.reconcile.change_log import NO_CAUSES, Causes
from tests.unit.controllers.attachments import ROLLED_OUT
from tests.unit.controllers.cloud import fault

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
PASSED = (PreflightCheck(check="Account", state=PreflightState.PASSED),)
OPERATION = f"projects/{ROLLED_OUT.workload.project_id}/locations/europe-west1/operations/1"


class FakeCloud:
    """Stands in for Cloud Run, the inventory, the preflight checks and the records of one attachment."""

    def __init__(self, state: WorkloadState | None, *faults: Fault, causes: Causes = NO_CAUSES) -> None:
        self.state = state
        self.causes = causes
        self.faults = list(faults)
        self.calls: list[str] = []
        self.under_way: Operation | None = None
        self.checks = PASSED
        self.serving: Mapping[str, str] | None = None
        self.ledgers = Ledgers(InMemoryClient(), "operator")
        self.records = AttachmentRecords(self.ledgers)
        self.recordable = True
        self.recorded: dict[str, Any] = {}
        self.instant = False
        self.applies_lost_reassignments = False

    def controller(self) -> IdentityAttachmentController:
        cloud: Any = self
        execution = AttachmentExecution(cloud, cloud, cloud, cloud, lambda step: None)
        return IdentityAttachmentController(cloud, cloud, cloud, cloud, execution, self.causes)

    async def workload(self, workload: Workload, max_age: float) -> WorkloadState | None:
        self.calls.append("get")
        return self.state

    async def listed_workload(self, workload: Workload, max_age: float) -> WorkloadState | None:
        self.calls.append("list")
        return self.state

    async def serving_accounts(self, state: WorkloadState) -> Mapping[str, str]:
        if self.serving is not None:
            return self.serving
        return dict.fromkeys(state.serving_revisions, state.service_account)

    def update_workload(self, state: WorkloadState) -> None:
        self.state = state

    def invalidate_workload(self, workload: Workload) -> None:
        self.calls.append("invalidate")

    async def set_service_account(self, state: WorkloadState, email: str) -> Operation:
        self.calls.append(f"reassign to {email}")
        if self.faults:
            if self.applies_lost_reassignments:
                self.state = replace(state, service_account=email, generation=state.generation + 1)
            raise fault(self.faults.pop(0))
        reassigned = replace(state, service_account=email, generation=state.generation + 1)
        if self.instant:
            settled = replace(reassigned, observed_generation=reassigned.generation)
            self.under_way = Operation(OPERATION, done=True, state=settled)
        else:
            self.under_way = Operation(OPERATION, done=False, state=replace(reassigned, reconciling=True))
        return self.under_way

    async def operation(self, name: str, workload: Workload) -> Operation:
        self.calls.append("poll")
        if self.under_way is None:
            raise fault(Fault.NOT_FOUND)
        return self.under_way

    async def check(self, want: object, state: object, max_age: float) -> tuple[PreflightCheck, ...]:
        self.calls.append("preflight")
        return self.checks

    def home(self, obj: IdentityAttachment) -> Target | None:
        return self.records.home(obj)

    def of(self, obj: IdentityAttachment) -> LedgerAttachment | None:
        return self.records.of(obj)

    async def keep_account(self, record: LedgerAccount) -> None:
        """Store the record of an account of the workload's project."""
        target = Target.service_account(ROLLED_OUT.workload.project_id, record.email)
        await self.ledgers.update(target, lambda ledger: ledger.with_account(record))

    def is_use_recorded(self, account: Target, place: str) -> bool:
        return self.records.is_use_recorded(account, place)

    async def record_use(self, account: Target, place: str) -> None:
        self.calls.append(f"use in {place}")
        await self.records.record_use(account, place)

    async def reassigning(
        self, obj: IdentityAttachment, state: WorkloadState, email: str
    ) -> LedgerAttachment | None:
        self.calls.append("ledger")
        return await self.records.reassigning(obj, state, email)

    async def not_reassigned(self, state: WorkloadState, former: LedgerAttachment | None) -> None:
        await self.records.not_reassigned(state, former)

    async def drop(self, obj: IdentityAttachment) -> None:
        await self.records.drop(obj)

    async def record(self, obj: object, fields: dict[str, Any]) -> bool:
        self.calls.append("record")
        if self.recordable:
            self.recorded |= fields
        return self.recordable

    @property
    def reassigned_to(self) -> list[str]:
        """The accounts that the workload was reassigned to."""
        return [call.removeprefix("reassign to ") for call in self.calls if call.startswith("reassign to ")]
