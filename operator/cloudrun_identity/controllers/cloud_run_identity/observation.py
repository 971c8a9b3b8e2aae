"""Observation of an account: the account as Google shows it, its record, and the workloads that run as it."""

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field, replace

from cloudrun_identity.api import (
    CloudRunIdentity,
    IdentityKey,
    KeyDeletionPolicy,
    LedgerAccount,
    WorkloadKind,
)
from cloudrun_identity.controllers.new_accounts import is_fresh
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.service_accounts import ServiceAccount, ServiceAccounts
from cloudrun_identity.iam.principals import lower_email
from cloudrun_identity.reconcile.advice import advised
from cloudrun_identity.reconcile.budgets import accounts_of
from cloudrun_identity.reconcile.cluster_state import ClusterState, ObjectKey, identity_key
from cloudrun_identity.reconcile.rivals import belongs_to

from .account import AccountSeen, AccountWant
from .account_records import AccountRecords
from .deletion import asks_for_users
from .places import Place, declared_places, recorded_places, unreachable
from .propagation import GOOD_READS, PropagationTracker, RecentWrites

SHARED = 2.0
"""Seconds for which lists of workloads are shared while deletions wait, so that many cost one list."""

_SHARING = 2
"""Minimum number of namespaces that share a limit."""

_LONG = SHARED + 3.0  # seconds since a deletion, with some for clocks that differ


@dataclass(frozen=True, slots=True)
class AccountDependencies:
    """Clients and memories that observing and executing share."""

    service_accounts: ServiceAccounts
    """Client of the accounts."""
    inventory: Inventory
    """Shared reads of accounts and workloads."""
    records: AccountRecords
    """Records of the accounts in the ledgers."""
    propagation: PropagationTracker
    """Good reads of accounts that Google does not show consistently yet."""
    recent: RecentWrites
    """Writes of this process that reads may not show yet."""
    checkpoint: Callable[[str], None]
    """Called with the name of every step that a crash could follow."""
    about_to_create: dict[str, str] = field(default_factory=dict)
    """E-mails of accounts before their creation is recorded, each with the namespace of the object."""


class AccountObserver:
    """Read accounts; methods raise GoogleError."""

    def __init__(self, deps: AccountDependencies) -> None:
        self._deps = deps
        self._usage = Usage(deps.inventory)

    async def observe(self, want: AccountWant, cluster: ClusterState, max_age: float) -> AccountSeen:
        """Return the account and its record.

        For a deletion, the workloads that run as the account are listed where the plan depends on them. An
        account that is left as it is, or that the guardrails deny, is not read.
        """
        if want.denial or (want.deletion and want.deletion.abandon):
            return AccountSeen(None, self._deps.records.of(want.owner))
        seen = await self._read(want, max_age)
        if asks_for_users(want, seen, self._deps.records.now()):
            users = await self._usage.users(
                want.obj, want.email, want.project_id, seen.record, cluster, self._accepted_age(want.obj)
            )
            return replace(seen, users=(*users, *_left_keys(want, cluster)))
        record = self._deps.records.at(want.target)
        if seen.record is None and record and record.owner != want.owner:
            owner = identity_key(*record.owner.split("/", 1))
            return replace(seen, owned_by=belongs_to(owner, want.obj.metadata.namespace, cluster))
        if seen.account is None and seen.record is None and want.deletion is None:
            return await self._with_budget(seen, want, cluster)
        return seen

    async def unused(self, want: AccountWant, places: Iterable[Place]) -> frozenset[str]:
        """Return the places in which nothing runs as the account, from lists that are read now.

        A place that cannot be read is none of them.
        """
        return frozenset([str(place) for place in sorted(places) if await self._is_unused(want, place)])

    async def _is_unused(self, want: AccountWant, place: Place) -> bool:
        try:
            return not await self._usage.users_in(place, want.email, want.project_id, 0.0)
        except GoogleError:
            return False

    async def _with_budget(self, seen: AccountSeen, want: AccountWant, cluster: ClusterState) -> AccountSeen:
        """Add the number of accounts per namespace, if several namespaces share the project."""
        project = cluster.project(want.obj.spec.project_ref.name)
        if project is None or len(accounts_of(project, cluster, ()).namespaces) < _SHARING:
            return seen
        interval = project.spec.drift_interval.timedelta.total_seconds()
        try:
            emails = await self._deps.inventory.account_emails(project.project_id, interval)
        except GoogleError:  # the operator may not list them: those that it does not manage are unknown
            emails = frozenset()
        return replace(seen, budget=lambda: accounts_of(project, cluster, emails, self._deps.about_to_create))

    async def _read(self, want: AccountWant, max_age: float) -> AccountSeen:
        """Read the account; only a read of age 0 counts as a good read."""
        propagation = self._deps.propagation
        account = await self._account(want, max_age)
        record = self._deps.records.of(want.owner)
        followed = propagation.is_on(want.email)
        if account:
            propagation.shown(want.email)
        if record and max_age == 0 and not want.deletion and not _is_settled(record, account):
            await self._count(want, record, account)
        return AccountSeen(
            account,
            record,
            left=self._deps.records.left_at(want.target),
            good_reads=propagation.good_reads(want.email),
            followed=followed,
            made=propagation.made(want.email),
            misses=propagation.misses(want.email),
        )

    async def _count(self, want: AccountWant, record: LedgerAccount, account: ServiceAccount | None) -> None:
        """Count a read of an account that is not settled.

        The last one counts only if policies, keys and workloads may name the account, too. After the grace
        period this does not matter: a test of permissions is only a hint.
        """
        propagation = self._deps.propagation
        is_last = propagation.good_reads(want.email) >= GOOD_READS - 1
        if (
            account
            and is_last
            and is_fresh(record, self._deps.records.now())
            and not await self._deps.service_accounts.is_known(want.project_id, account.email)
        ):
            return
        propagation.read(want.email, account.unique_id if account else "")

    async def _account(self, want: AccountWant, max_age: float) -> ServiceAccount | None:
        """Read the account, now unless it is settled.

        An intent to create is recorded only after a read that did not show the account.
        """
        record = self._deps.records.of(want.owner)
        age = max_age if record and record.is_steady else 0.0
        try:
            account = await self._deps.inventory.service_account(want.project_id, want.email, age)
        except GoogleError as error:
            fresh = is_fresh(record, self._deps.records.now())
            if error.fault is Fault.PERMISSION_DENIED and fresh:  # as Google answers for a fresh account
                return None
            raise
        return self._deps.recent.seen_through(account) if account else None

    def _accepted_age(self, obj: CloudRunIdentity) -> float:
        """Return how old lists of workloads may be: they must show what was deployed before the deletion."""
        asked = obj.metadata.deletion_timestamp
        waited = (self._deps.records.now() - asked).total_seconds() if asked else _LONG
        return SHARED if waited >= _LONG else 0.0


def _is_settled(record: LedgerAccount, account: ServiceAccount | None) -> bool:
    return record.is_steady and account is not None and account.unique_id == record.unique_id


class Usage:
    """Find the workloads that run as an account. A place that the operator may not read counts as use.

    A transient error is raised instead. Otherwise, one such error would leave an account that nothing uses
    when its namespace is deleted.
    """

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory

    async def users(
        self,
        obj: CloudRunIdentity,
        email: str,
        project_id: str,
        record: LedgerAccount | None,
        cluster: ClusterState,
        max_age: float = SHARED,
    ) -> list[str]:
        """Return the workloads that run as the account, and the places that cannot be read, in words.

        `max_age` is how old the lists of workloads may be, in seconds. Raises GoogleError if it is transient.
        """
        found = list(unreachable(obj, email, project_id, record, cluster))
        places = declared_places(obj, email, project_id, cluster) | recorded_places(record)
        for place in sorted(places):
            found += await self.users_in(place, email, project_id, max_age)
        return found

    async def users_in(self, place: Place, email: str, project_id: str, max_age: float) -> list[str]:
        """Return the workloads of a place that run as the account, and what cannot be read, in words.

        `project_id` is the project of the account. Raises GoogleError if it is transient.
        """
        outside = "" if place.project_id == project_id else f" of project {place.project_id}"
        found: list[str] = []
        for kind in WorkloadKind:
            workloads = self._workloads(kind, place, email, max_age)
            found += await self._listed(f"{kind}s", place, outside, workloads)
        executions = self._executions(place, email, max_age)
        return found + await self._listed("running executions", place, outside, executions)

    async def _listed(self, what: str, place: Place, outside: str, users: AsyncIterator[str]) -> list[str]:
        """Return the users; a place that the operator may not read counts as one."""
        try:
            return [f"{user}{outside}" async for user in users]
        except GoogleError as error:
            if error.is_transient:
                raise
            return [f"{what} in {place.location}{outside}, which cannot be read ({advised(error)})"]

    async def _workloads(
        self, kind: WorkloadKind, place: Place, email: str, max_age: float
    ) -> AsyncIterator[str]:
        """Return the workloads whose template or a serving revision runs as the account."""
        states = await self._inventory.workloads(place.project_id, place.location, kind, max_age)
        for state in states.values():
            if _same(state.service_account, email):
                yield str(state.workload)
                continue
            for revision, account in (await self._inventory.serving_accounts(state)).items():
                if _same(account, email):
                    yield f"{state.workload} (revision {revision})"

    async def _executions(self, place: Place, email: str, max_age: float) -> AsyncIterator[str]:
        """Return the executions that have not ended, which run as the account of their job at their start."""
        running = await self._inventory.running_executions(place.project_id, place.location, max_age)
        for execution in running:
            if _same(execution.service_account, email):
                yield f"{execution.job} (execution {execution.name})"


def _left_keys(want: AccountWant, cluster: ClusterState) -> Iterable[str]:
    """Return the keys of the account that IdentityKeys left for their users, in words."""
    for record in cluster.ledger(want.target).key_ring.left:
        yield f"a client with key {record.id}, which IdentityKey {record.owner} left"
    for referrer in sorted(cluster.referrers(ObjectKey.of(want.obj))):
        if referrer.kind != IdentityKey.__name__:
            continue
        key = cluster.key(referrer.namespace, referrer.name)
        if key and key.is_deleting and key.spec.deletion_policy is KeyDeletionPolicy.ABANDON:
            yield f"{referrer}, which leaves its keys"


def _same(one: str, other: str) -> bool:
    return lower_email(one) == lower_email(other)
