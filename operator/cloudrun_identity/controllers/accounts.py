"""What is done to a service account for the identity that owns it, crash-safe by the record in its ledger."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from cloudrun_identity.api import (
    AccountIntent,
    Adoption,
    CloudRunIdentity,
    ManagedProject,
    Origin,
    Reason,
    TargetKind,
)
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.mutations import mutated
from cloudrun_identity.gcp.service_accounts import ServiceAccount, ServiceAccounts
from cloudrun_identity.iam.admission import Denied, may_adopt
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.ledger import AccountRecord, Ledger

from .controller import Applied
from .gate import surroundings
from .outcomes import InSync, Refused, Waiting
from .probation import BETWEEN_READS, Probation
from .world import World

_UNIQUE_IDS_KEPT = 8


class AccountLedgers(Protocol):
    """Where records are kept: `kube.ledger.Ledgers`."""

    def ledger(self, target: Target) -> Ledger:
        """The ledger of the account's policy; an empty one if there is none."""
        ...

    async def update(self, target: Target, change: Callable[[Ledger], Ledger]) -> Ledger:
        """Persist `change` of the newest ledger of the account's policy."""
        ...

    def account_home(self, owner: str) -> Target | None:
        """The account whose ledger records this owner (`namespace/name`)."""
        ...


@dataclass(frozen=True, slots=True)
class Owner:
    """An identity, and the project that its account is in."""

    obj: CloudRunIdentity
    project_id: str

    @property
    def name(self) -> str:
        """As records name it: `namespace/name`."""
        return f"{self.obj.metadata.namespace}/{self.obj.metadata.name}"

    def target(self, email: str) -> Target:
        """The account as the carrier of a policy."""
        return Target(TargetKind.SERVICE_ACCOUNT, self.project_id, name=email)


class Accounts:
    """Creates, adopts, follows, keeps and forgets accounts; raises GoogleError."""

    def __init__(
        self,
        service_accounts: ServiceAccounts,
        inventory: Inventory,
        ledgers: AccountLedgers,
        probation: Probation,
        checkpoint: Callable[[str], None],
    ) -> None:
        """`checkpoint(step)` is told after every step that a crash could follow."""
        self._service_accounts = service_accounts
        self._inventory = inventory
        self._ledgers = ledgers
        self._probation = probation
        self._checkpoint = checkpoint

    async def read(self, project_id: str, record: AccountRecord, max_age: float) -> ServiceAccount | None:
        """The recorded account, None if it is not there; of a fresh account a 403 is lag as well."""
        try:
            return await self._inventory.service_account(
                project_id, record.email, max_age if record.unique_id else 0.0
            )
        except GoogleError as error:
            if error.fault is Fault.PERMISSION_DENIED and self._probation.is_fresh(record.email):
                return None
            raise

    async def create_or_adopt(
        self,
        owner: Owner,
        email: str,
        project: ManagedProject,
        world: World,
        seen: ServiceAccount | None,
    ) -> Applied[ServiceAccount | None]:
        """Record the intent, then create: after a crash in between, what exists is ours.

        What exists already now, `seen` or found in the attempt, is not: it is adopted, if the identity and
        the project both say so.
        """
        recorded = self._ledgers.ledger(owner.target(email)).account
        if recorded and recorded.owner != owner.name:
            return Applied(
                Refused(
                    Reason.CONFLICT,
                    f"account {email} is CloudRunIdentity {recorded.owner}'s; delete that one first",
                ),
                seen,
            )
        if seen is not None:
            return await self._adopt(owner, project, world, seen)
        record = AccountRecord(
            email, owner.name, owner.obj.metadata.uid, intent=AccountIntent.CREATE, origin=Origin.CREATED
        )
        await self._record(owner, record)
        self._checkpoint("intent recorded")
        try:
            return await self._create(owner, record)
        except GoogleError as error:
            if error.fault is Fault.UNAVAILABLE:
                raise  # it may have happened: the intent stays
            await self._forget(owner, email)
            if error.fault is not Fault.ALREADY_EXISTS:
                raise
        account = await self._service_accounts.get(owner.project_id, email)
        return await self._adopt(owner, project, world, account)

    async def follow_creation(
        self, owner: Owner, record: AccountRecord, seen: ServiceAccount | None
    ) -> Applied[ServiceAccount | None]:
        """Count good reads of a fresh account until it is steady; after a restart, create it again first."""
        if not self._probation.is_on(record.email):
            try:
                return await self._create(owner, record)
            except GoogleError as error:
                if error.fault is not Fault.ALREADY_EXISTS:
                    raise
                self._probation.begin(record.email)  # ours, by the recorded intent
        if not self._probation.read(record.email, found=seen is not None):
            return Applied(_propagating(record.email), seen)
        if seen is None:
            raise AssertionError("a steady account was read")
        await self._settle(owner, record, seen)
        self._checkpoint("account settled")
        self._probation.end(record.email)
        return await self.keep(owner, seen.email, None, seen)

    async def keep(
        self,
        owner: Owner,
        email: str,
        record: AccountRecord | None,
        seen: ServiceAccount | None,
    ) -> Applied[ServiceAccount | None]:
        """Put right what differs in a steady account; `record` is None if it was completed in this pass."""
        if seen is None:
            if record is None:
                raise AssertionError("an account that was completed in this pass was read in it")
            return await self._bring_back(owner, record)
        if record and seen.unique_id != record.unique_id:
            return Applied(
                Refused(
                    Reason.CONFLICT,
                    f"account {email} was deleted and created anew by somebody else (unique ID "
                    f"{seen.unique_id}, ours was {record.unique_id}); delete that account, or this object "
                    "to give it up",
                ),
                seen,
            )
        return Applied(InSync(), await self._update(owner, seen))

    async def forget(self, owner: Owner, email: str) -> None:
        """Drop the record: the account is gone, or left to itself."""
        self._probation.forget(email)
        await self._forget(owner, email)

    async def _adopt(
        self, owner: Owner, project: ManagedProject, world: World, account: ServiceAccount
    ) -> Applied[ServiceAccount | None]:
        """Take over an account that exists already, if the identity and the project both say so."""
        if owner.obj.spec.adoption is not Adoption.ADOPT:
            return Applied(
                Refused(
                    Reason.CONFLICT,
                    f"service account {account.email} exists already; set spec.adoption to Adopt to take it "
                    "over, and list it in guardrails.adoptableAccounts of the ManagedProject",
                ),
                account,
            )
        decision = may_adopt(project, account.email, surroundings(project, world))
        if isinstance(decision, Denied):
            return Applied(Refused(Reason.DENIED_BY_GUARDRAIL, f"spec.adoption: {decision.reason}"), account)
        record = AccountRecord(
            account.email,
            owner.name,
            owner.obj.metadata.uid,
            intent=AccountIntent.ADOPT,
            origin=Origin.ADOPTED,
        )
        await self._settle(owner, record, account)
        mutated("adopt", owner.target(account.email).full_name, before="not ours", after="adopted")
        return await self.keep(owner, account.email, None, account)

    async def _create(self, owner: Owner, record: AccountRecord) -> Applied[ServiceAccount | None]:
        spec = owner.obj.spec
        account = await self._service_accounts.create(
            owner.project_id, owner.obj.account_id, spec.display_name or "", spec.description or ""
        )
        self._checkpoint("account created")
        self._inventory.wrote_account(owner.project_id, account.email)
        mutated("create", owner.target(account.email).full_name, before="absent", after="created")
        if account.email != record.email:  # only the reply knows for sure
            await self._record(owner, replace(record, email=account.email))
            await self._forget(owner, record.email)
        self._probation.begin(account.email)
        return Applied(_propagating(account.email), account)

    async def _bring_back(self, owner: Owner, record: AccountRecord) -> Applied[ServiceAccount | None]:
        if self._probation.is_fresh(record.email):
            return Applied(_propagating(record.email), None)
        try:
            account = await self._service_accounts.undelete(owner.project_id, record.unique_id)
        except GoogleError as error:
            if error.fault not in (Fault.NOT_FOUND, Fault.FAILED_PRECONDITION, Fault.ALREADY_EXISTS):
                raise
            return Applied(
                Refused(
                    Reason.CONFLICT,
                    f"account {record.email} (unique ID {record.unique_id}) was deleted and cannot be "
                    f"undeleted: {error.message}; delete this object and create it anew",
                ),
                None,
            )
        self._inventory.wrote_account(owner.project_id, record.email)
        mutated("undelete", owner.target(record.email).full_name, before="deleted", after="present")
        self._probation.begin(record.email)
        return Applied(_propagating(record.email), account)

    async def _update(self, owner: Owner, seen: ServiceAccount) -> ServiceAccount:
        spec, name = owner.obj.spec, owner.target(seen.email).full_name
        wanted = replace(
            seen,
            display_name=spec.display_name if spec.display_name is not None else seen.display_name,
            description=spec.description if spec.description is not None else seen.description,
            disabled=spec.disabled,
        )
        if wanted == seen:
            return seen
        if (wanted.display_name, wanted.description) != (seen.display_name, seen.description):
            await self._service_accounts.patch(
                owner.project_id,
                seen.unique_id,
                display_name=spec.display_name,
                description=spec.description,
            )
            mutated(
                "patch",
                name,
                before=f"{seen.display_name!r}, {seen.description!r}",
                after=f"{wanted.display_name!r}, {wanted.description!r}",
            )
        if wanted.disabled != seen.disabled:
            switch = self._service_accounts.disable if wanted.disabled else self._service_accounts.enable
            await switch(owner.project_id, seen.unique_id)
            words = {True: "disabled", False: "enabled"}
            mutated("switch", name, before=words[seen.disabled], after=words[wanted.disabled])
        self._inventory.wrote_account(owner.project_id, seen.email)
        return wanted

    async def _settle(self, owner: Owner, record: AccountRecord, account: ServiceAccount) -> None:
        """Complete the record: from now on dependants may go."""
        unique_ids = tuple(dict.fromkeys((*record.unique_ids, account.unique_id)))
        await self._record(
            owner,
            replace(
                record,
                intent=None,
                unique_id=account.unique_id,
                unique_ids=unique_ids[-_UNIQUE_IDS_KEPT:],
            ),
        )

    async def _record(self, owner: Owner, record: AccountRecord) -> None:
        await self._ledgers.update(owner.target(record.email), lambda ledger: ledger.with_account(record))

    async def _forget(self, owner: Owner, email: str) -> None:
        def change(ledger: Ledger) -> Ledger:
            own = ledger.account is not None and ledger.account.owner == owner.name
            return ledger.with_account(None) if own else ledger

        await self._ledgers.update(owner.target(email), change)


def _propagating(email: str) -> Waiting:
    return Waiting(
        Reason.PROPAGATION_PENDING,
        f"account {email} is there; waiting until Google shows it steadily",
        after=BETWEEN_READS,
    )
