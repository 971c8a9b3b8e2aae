"""The service account of an identity: looked at, and led through its life one step at a time."""

from cloudrun_identity.api import LedgerAccount, ManagedProject
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.reconcile.cluster_state import ClusterState
from cloudrun_identity.reconcile.interfaces import Applied
from cloudrun_identity.reconcile.outcomes import InSync

from .account_creation import AccountCreation
from .account_dependencies import AccountDependencies, AccountSeen
from .account_records import AccountOwner
from .account_upkeep import AccountUpkeep


class Accounts:
    """Creates, adopts, follows and keeps accounts; raises GoogleError."""

    def __init__(self, deps: AccountDependencies) -> None:
        self._deps = deps
        self._creation = AccountCreation(deps)
        self._upkeep = AccountUpkeep(deps, self._creation)

    async def look(
        self, project_id: str, email: str, record: LedgerAccount | None, max_age: float
    ) -> AccountSeen:
        """The account as it is: of a fresh one a 403 is lag as well, as is what our last write replaced."""
        # Asked anew until it is steady: an intent to create is recorded only over what was seen to be absent.
        age = max_age if record and record.is_steady else 0.0
        lagging = record is not None and self._deps.propagation.is_fresh(email)
        try:
            account = await self._deps.inventory.service_account(project_id, email, age)
        except GoogleError as error:
            if error.fault is Fault.PERMISSION_DENIED and lagging:
                return AccountSeen(None, lagging=True)
            raise
        if account is None:
            return AccountSeen(None, lagging)
        return AccountSeen(self._deps.recent.seen_through(account))

    async def apply(
        self,
        owner: AccountOwner,
        email: str,
        record: LedgerAccount | None,
        project: ManagedProject,
        cluster: ClusterState,
        seen: AccountSeen,
    ) -> Applied[AccountSeen]:
        """Bring the account one step nearer to what is declared; `record` is what is recorded of it."""
        if record is not None and record.unique_id:
            return await self._upkeep.keep(owner, record, seen.account)
        if record is None:
            step = await self._creation.begin(owner, email, project, cluster, seen.account)
        else:
            step = await self._creation.follow(owner, record, project, cluster, seen.account)
        settled = self._deps.records.of(owner, email)
        if isinstance(step.outcome, InSync) and settled and step.seen.account:
            return await self._upkeep.update(owner, settled, step.seen.account)
        return step

    def made(self, record: LedgerAccount, shown: ServiceAccount) -> bool:
        """Whether an account whose creation was never seen through is the one that was made."""
        return self._creation.made(record, shown)
