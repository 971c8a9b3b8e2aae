"""How an account begins: created or adopted, never twice, and never somebody else's taken for our own.

Google gives creates no key by which a lost answer could be asked for. So what a create is sent with is
recorded first, and an account that is found afterwards is ours if it says just that. Where the identity
leaves the description open, it names the identity's UID, which no account of anybody else does.
"""

from cloudrun_identity.api import (
    AccountIntent,
    AccountText,
    Adoption,
    LedgerAccount,
    ManagedProject,
    Origin,
    Reason,
)
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.mutations import log_mutation
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.iam.admission import Denied, may_adopt
from cloudrun_identity.reconcile.cluster_state import ClusterState, identity_key
from cloudrun_identity.reconcile.interfaces import Applied
from cloudrun_identity.reconcile.outcomes import SHORTLY, InSync, Refused, Waiting
from cloudrun_identity.reconcile.preconditions import belongs_to, guardrail_facts

from .account_dependencies import AccountDependencies, AccountSeen, propagating
from .account_records import AccountOwner


class AccountCreation:
    """Creates and adopts accounts, and sees creations through; raises GoogleError."""

    def __init__(self, deps: AccountDependencies) -> None:
        self._deps = deps

    async def begin(
        self,
        owner: AccountOwner,
        email: str,
        project: ManagedProject,
        cluster: ClusterState,
        seen: ServiceAccount | None,
    ) -> Applied[AccountSeen]:
        """Record the intent, then create.

        What exists already now, `seen` or found in the attempt, is not ours: it is adopted, if the identity
        and the project both say so.
        """
        recorded = self._deps.records.of(owner, email)
        if recorded and recorded.owner != owner.name:
            other = identity_key(*recorded.owner.split("/", 1))
            message = f"account {email} is {belongs_to(other, cluster)}"
            return Applied(Refused(Reason.CONFLICT, message), AccountSeen(seen))
        if seen is not None:
            return await self._adopt(owner, project, cluster, seen)
        intended = self._intended(
            owner, LedgerAccount(email=email, owner=owner.name, owner_uid=owner.obj.metadata.uid)
        )
        await self._deps.records.put(owner, intended)
        self._deps.checkpoint("intent recorded")
        try:
            return await self._create(owner, intended)
        except GoogleError as error:
            if error.fault is Fault.UNAVAILABLE:
                raise  # it may have happened: the intent stays
            await self._deps.records.drop(owner, email)
            if error.fault is not Fault.ALREADY_EXISTS:
                raise
        account = await self._deps.service_accounts.get(owner.project_id, email)
        return await self._adopt(owner, project, cluster, account)

    async def anew(self, owner: AccountOwner, record: LedgerAccount) -> Applied[AccountSeen]:
        """Create in the place of an account that is gone another one of the same e-mail."""
        intended = self._intended(owner, record.replace(unique_id="", lost=None, disabled=False))
        await self._deps.records.put(owner, intended)
        self._deps.checkpoint("intent recorded")
        try:
            return await self._create(owner, intended)
        except GoogleError as error:
            if error.fault is Fault.UNAVAILABLE:
                raise
            await self._deps.records.put(owner, record)
            if error.fault is not Fault.ALREADY_EXISTS:
                raise
        return _taken(record.email)

    async def follow(
        self,
        owner: AccountOwner,
        record: LedgerAccount,
        project: ManagedProject,
        cluster: ClusterState,
        seen: ServiceAccount | None,
    ) -> Applied[AccountSeen]:
        """Count good reads of an account whose creation is recorded; InSync once it is steady.

        Nobody remembers after a restart whether the create was made: then it is made again, which Google
        refuses if it was.
        """
        propagation = self._deps.propagation
        if seen is None and not (propagation.is_on(record.email) and propagation.is_fresh(record.email)):
            return await self._create_again(owner, record)
        if seen is not None and not self.made(record, seen):
            return await self._yield(owner, record, project, cluster, seen)
        if not propagation.read(record.email, seen.unique_id if seen else "") or seen is None:
            return propagating(record.email, seen)
        await self._deps.records.settle(owner, record, seen)
        self._deps.checkpoint("account settled")
        propagation.end(record.email)
        return Applied(InSync(), AccountSeen(seen))

    def made(self, record: LedgerAccount, shown: ServiceAccount) -> bool:
        """Whether an account that is shown is the one that the recorded creation made."""
        made = self._deps.propagation.made(record.email)
        if made:
            return shown.unique_id == made
        return record.sent == AccountText(display_name=shown.display_name, description=shown.description)

    def _intended(self, owner: AccountOwner, record: LedgerAccount) -> LedgerAccount:
        return record.replace(
            intent=AccountIntent.CREATE,
            origin=Origin.CREATED,
            sent=_text_of(owner),
            appeared_time=self._deps.records.now(),
        )

    async def _create(self, owner: AccountOwner, record: LedgerAccount) -> Applied[AccountSeen]:
        deps, sent = self._deps, record.sent or AccountText()
        account = await deps.service_accounts.create(
            owner.project_id, owner.obj.account_id, sent.display_name, sent.description
        )
        deps.checkpoint("account created")
        deps.inventory.invalidate_account(owner.project_id, account.email)
        log_mutation("create", owner.target(account.email).full_name, before="absent", after="created")
        if account.email != record.email:  # only the reply knows for sure
            await deps.records.put(owner, record.replace(email=account.email))
            await deps.records.drop(owner, record.email)
        deps.propagation.begin(account.email, account.unique_id)
        return propagating(account.email, account)

    async def _create_again(self, owner: AccountOwner, record: LedgerAccount) -> Applied[AccountSeen]:
        """Make the recorded create once more, word for word, lest what the first one made be disowned."""
        record = await self._deps.records.put(owner, record.replace(appeared_time=self._deps.records.now()))
        try:
            return await self._create(owner, record)
        except GoogleError as error:
            if error.fault is not Fault.ALREADY_EXISTS:
                raise
        self._deps.propagation.begin(record.email)  # whose it is shows when it is seen
        return propagating(record.email, None)

    async def _yield(
        self,
        owner: AccountOwner,
        record: LedgerAccount,
        project: ManagedProject,
        cluster: ClusterState,
        seen: ServiceAccount,
    ) -> Applied[AccountSeen]:
        """Somebody else has created an account of this e-mail before we could, or after ours was deleted."""
        self._deps.propagation.end(record.email)
        if not record.unique_ids:
            await self._deps.records.drop(owner, record.email)
            return await self._adopt(owner, project, cluster, seen)
        former = record.replace(intent=None, sent=None, appeared_time=None, unique_id=record.unique_ids[-1])
        await self._deps.records.put(owner, former)
        return _taken(record.email)

    async def _adopt(
        self, owner: AccountOwner, project: ManagedProject, cluster: ClusterState, account: ServiceAccount
    ) -> Applied[AccountSeen]:
        """Take over an account that exists already, if the identity and the project both say so."""
        if owner.obj.spec.adoption is not Adoption.ADOPT:
            message = (
                f"service account {account.email} exists already; set spec.adoption to Adopt to take it "
                "over, and list it in guardrails.adoptableAccounts of the ManagedProject"
            )
            return Applied(Refused(Reason.CONFLICT, message), AccountSeen(account))
        decision = may_adopt(project, account.email, guardrail_facts(project, cluster))
        if isinstance(decision, Denied):
            refused = Refused(Reason.DENIED_BY_GUARDRAIL, f"spec.adoption: {decision.reason}")
            return Applied(refused, AccountSeen(account))
        record = LedgerAccount(
            email=account.email,
            owner=owner.name,
            owner_uid=owner.obj.metadata.uid,
            origin=Origin.ADOPTED,
            disabled=account.disabled,
        )
        await self._deps.records.settle(owner, record, account)
        log_mutation("adopt", owner.target(account.email).full_name, before="not ours", after="adopted")
        return Applied(InSync(), AccountSeen(account))


def _text_of(owner: AccountOwner) -> AccountText:
    """What an account is created with: as declared, else a description by which it is known for this one's.

    Google takes 256 bytes; the longest name of an object has 253.
    """
    spec = owner.obj.spec
    named = f"CloudRunIdentity {owner.name}"[:200]
    return AccountText(
        display_name=spec.display_name or "",
        description=spec.description
        if spec.description is not None
        else f"{named}, {owner.obj.metadata.uid}",
    )


def _taken(email: str) -> Applied[AccountSeen]:
    message = f"somebody else has just created account {email}; looking whose it is"
    return Applied(Waiting(Reason.UPDATING, message, after=SHORTLY), AccountSeen(None))
