"""What workloads ran as before they were moved, kept in the ledgers of their own policies.

A status is anybody's who may write statuses; ledgers are written by the operator alone.
"""

from cloudrun_identity.api import IdentityAttachment, LedgerAttachment
from cloudrun_identity.gcp.workloads import WorkloadState
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.ledger.interface import LedgerStore
from cloudrun_identity.ledger.model import Ledger


class AttachmentRecords:
    """Every record is written before the first move, and dropped once nothing is to be put back."""

    def __init__(self, ledgers: LedgerStore) -> None:
        self._ledgers = ledgers

    def home(self, obj: IdentityAttachment) -> Target | None:
        """The workload that the attachment, or its predecessor of the same name, has moved."""
        return self._ledgers.attachment_home(_owner(obj))

    def of(self, obj: IdentityAttachment) -> LedgerAttachment | None:
        """What is recorded of that workload."""
        home = self.home(obj)
        return self._ledgers.ledger(home).attachment if home else None

    async def moving(
        self, obj: IdentityAttachment, state: WorkloadState, email: str
    ) -> LedgerAttachment | None:
        """Record that the workload is about to be moved, and before the first time what it runs as.

        Returns what was recorded of it until now, for `not_moved`.
        """

        def change(ledger: Ledger) -> Ledger:
            known = ledger.attachment
            moved = known is not None and (known.owner, known.owner_uid, known.workload_uid) == mover
            before = known.previous_service_account if known and moved else state.service_account
            return ledger.with_attachment(
                LedgerAttachment(
                    owner=owner,
                    owner_uid=obj.metadata.uid,
                    workload_uid=state.uid,
                    previous_service_account=before,
                    service_account=email,
                )
            )

        owner = _owner(obj)
        mover = (owner, obj.metadata.uid, state.uid)
        if self.home(obj) not in (None, state.workload.target):
            await self.drop(obj)  # a predecessor's, of another workload
        target = state.workload.target
        former = self._ledgers.ledger(target).attachment
        await self._ledgers.update(target, change)
        return former

    async def not_moved(self, state: WorkloadState, former: LedgerAttachment | None) -> None:
        """Take back what `moving` recorded: whatever runs by the next attempt is what ran before."""
        await self._ledgers.update(state.workload.target, lambda ledger: ledger.with_attachment(former))

    async def drop(self, obj: IdentityAttachment) -> None:
        """Forget the workload."""
        home = self.home(obj)
        if home:
            await self._ledgers.update(home, lambda ledger: ledger.with_attachment(None))


def _owner(obj: IdentityAttachment) -> str:
    return f"{obj.metadata.namespace}/{obj.metadata.name}"
