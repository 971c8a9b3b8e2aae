"""The records of accounts, kept in the ledgers of the accounts' own policies."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from cloudrun_identity.api import Abandonment, CloudRunIdentity, LedgerAccount
from cloudrun_identity.api.policy_ledger import MAX_UNIQUE_IDS
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.ledger.interface import LedgerStore
from cloudrun_identity.ledger.model import Ledger


@dataclass(frozen=True, slots=True)
class AccountOwner:
    """An identity, and the project that its account is in."""

    obj: CloudRunIdentity
    project_id: str

    @property
    def name(self) -> str:
        """As records name it: `namespace/name`."""
        return f"{self.obj.metadata.namespace}/{self.obj.metadata.name}"

    def target(self, email: str) -> Target:
        """The account as the carrier of a policy."""
        return Target.service_account(self.project_id, email)


class AccountRecords:
    """Every record is written before what it speaks of is done, and dropped after it is undone."""

    def __init__(self, ledgers: LedgerStore, wall_clock: Callable[[], datetime]) -> None:
        self._ledgers = ledgers
        self._wall_clock = wall_clock

    def now(self) -> datetime:
        """The time, in whole seconds, as records keep it."""
        return self._wall_clock().replace(microsecond=0)

    def of(self, owner: AccountOwner, email: str) -> LedgerAccount | None:
        """The record of an account, whoever owns it; none of one that was left behind."""
        record = self._ledgers.ledger(owner.target(email)).account
        return None if record is None or record.abandoned else record

    def home(self, owner: str) -> Target | None:
        """The account whose ledger records this owner."""
        return self._ledgers.account_home(owner)

    async def put(self, owner: AccountOwner, record: LedgerAccount) -> LedgerAccount:
        """Keep the record; nothing is written if it is kept already."""
        await self._ledgers.update(owner.target(record.email), lambda ledger: ledger.with_account(record))
        return record

    async def settle(
        self, owner: AccountOwner, record: LedgerAccount, account: ServiceAccount
    ) -> LedgerAccount:
        """Complete the record of an account that is seen steadily: from now on dependants may go."""
        unique_ids = tuple(each for each in record.unique_ids if each != account.unique_id)
        return await self.put(
            owner,
            record.replace(
                intent=None,
                sent=None,
                lost=None,
                unique_id=account.unique_id,
                unique_ids=(*unique_ids, account.unique_id)[-MAX_UNIQUE_IDS:],
            ),
        )

    async def drop(self, owner: AccountOwner, email: str) -> None:
        """Forget the account, if it is this owner's."""
        await self._replace(owner, email, None)

    async def leave_behind(self, owner: AccountOwner, record: LedgerAccount, reason: str) -> None:
        """Keep in mind that the account was left, for the project's status to show."""
        left = LedgerAccount(
            email=record.email,
            owner="",
            owner_uid="",
            origin=record.origin,
            unique_id=record.unique_id,
            unique_ids=record.unique_ids,
            abandoned=Abandonment(reason=reason, time=self.now()),
        )
        await self._replace(owner, record.email, left)

    async def _replace(self, owner: AccountOwner, email: str, record: LedgerAccount | None) -> None:
        def change(ledger: Ledger) -> Ledger:
            own = ledger.account is not None and ledger.account.owner == owner.name
            return ledger.with_account(record) if own else ledger

        await self._ledgers.update(owner.target(email), change)
