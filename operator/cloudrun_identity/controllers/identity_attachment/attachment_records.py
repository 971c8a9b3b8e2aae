"""Records of reassigned workloads and the accounts that they ran as before, in the ledgers of their policies.

Every user with permission to write statuses can edit a status. Only the operator writes the ledgers.
"""

from collections.abc import Callable
from typing import Protocol

from cloudrun_identity.api import IdentityAttachment, LedgerAttachment
from cloudrun_identity.gcp.workloads import WorkloadState
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.ledger.model import Ledger


class AttachmentLedgers(Protocol):
    """The ledgers with the records: `ledger.store.Ledgers`."""

    def ledger(self, target: Target) -> Ledger:
        """Return the ledger of the workload's policy; an empty one if there is none."""
        ...

    async def update(self, target: Target, change: Callable[[Ledger], Ledger]) -> Ledger:
        """Persist `change` of the newest ledger of the workload's policy."""
        ...

    def attachment_home(self, owner: str) -> Target | None:
        """Return the workload that the IdentityAttachment `namespace/name` reassigned."""
        ...


class AttachmentRecords:
    """Writes a record before the first reassignment, and removes it once nothing is left to restore."""

    def __init__(self, ledgers: AttachmentLedgers) -> None:
        self._ledgers = ledgers

    def home(self, obj: IdentityAttachment) -> Target | None:
        """Return the workload that the attachment, or an earlier one of the same name, has reassigned."""
        return self._ledgers.attachment_home(_owner(obj))

    def of(self, obj: IdentityAttachment) -> LedgerAttachment | None:
        """Return the record of that workload."""
        home = self.home(obj)
        return self._ledgers.ledger(home).attachment if home else None

    def is_use_recorded(self, account: Target, place: str) -> bool:
        """Return whether the record of the account has the place of use; True for an account without one."""
        record = self._ledgers.ledger(account).account
        return record is None or record.used_elsewhere or place in record.used_in

    async def record_use(self, account: Target, place: str) -> None:
        """Record that workloads in a place, as `PROJECT/LOCATION`, may run as the account."""

        def change(ledger: Ledger) -> Ledger:
            record = ledger.account
            return ledger.with_account(record.with_uses({place})) if record else ledger

        await self._ledgers.update(account, change)

    async def reassigning(
        self, obj: IdentityAttachment, state: WorkloadState, email: str
    ) -> LedgerAttachment | None:
        """Record the next reassignment. Before the first, record the workload's account and template, too.

        Returns the former record, for `not_reassigned`.
        """

        def change(ledger: Ledger) -> Ledger:
            known = ledger.attachment
            if known and (known.owner, known.owner_uid, known.workload_uid) == own:
                before, digest = known.previous_service_account, known.template_digest
            else:
                before, digest = state.service_account, state.template_digest
            return ledger.with_attachment(
                LedgerAttachment(
                    owner=owner,
                    owner_uid=obj.metadata.uid,
                    workload_uid=state.uid,
                    previous_service_account=before,
                    service_account=email,
                    template_digest=digest,
                )
            )

        owner = _owner(obj)
        own = (owner, obj.metadata.uid, state.uid)
        if self.home(obj) not in (None, state.workload.target):
            await self.drop(obj)  # of an earlier attachment, to another workload
        target = state.workload.target
        former = self._ledgers.ledger(target).attachment
        await self._ledgers.update(target, change)
        return former

    async def not_reassigned(self, state: WorkloadState, former: LedgerAttachment | None) -> None:
        """Restore the former record: the account before the next attempt is the one to restore."""
        await self._ledgers.update(state.workload.target, lambda ledger: ledger.with_attachment(former))

    async def drop(self, obj: IdentityAttachment) -> None:
        """Remove the record."""
        home = self.home(obj)
        if home:
            await self._ledgers.update(home, lambda ledger: ledger.with_attachment(None))


def _owner(obj: IdentityAttachment) -> str:
    return f"{obj.metadata.namespace}/{obj.metadata.name}"
