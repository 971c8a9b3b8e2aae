"""Cached service accounts and workloads, read in bulk: a resync costs one request per page, not per object.

Each caller states the maximum age of the answer. After an edit it is 0, and the object is read. In a resync
it is the resync interval, and all callers share one list per project, or per location and kind of workload.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping

from cloudrun_identity.api import WorkloadKind
from cloudrun_identity.iam.principals import lower_email

from .collection import CachedCollection, ReadOnce
from .errors import Fault, GoogleError
from .ratelimit import start_shared_task
from .run import Run
from .service_accounts import ServiceAccount, ServiceAccounts
from .single_flight_cache import Clock, SingleFlightCache
from .workloads import Execution, Workload, WorkloadState

REVISION_CACHE_SIZE = 4096
"""Maximum number of workloads whose revisions are cached."""


class Inventory:
    """Service accounts, workloads and executions in Google Cloud.

    Ages are in seconds. Every method raises GoogleError. A missing resource is None, or missing in the
    mapping.
    """

    def __init__(
        self, service_accounts: ServiceAccounts, run: Run, clock: Clock, *, reads_once: bool = False
    ) -> None:
        """With `reads_once`, nothing is read twice, whatever age the callers accept."""
        self._collection = ReadOnce if reads_once else CachedCollection
        self._service_accounts = service_accounts
        self._run = run
        self._clock = clock
        self._accounts: dict[str, CachedCollection[ServiceAccount]] = {}
        self._assumed: dict[tuple[str, str], ServiceAccount] = {}
        self._workloads: dict[tuple[str, str, WorkloadKind], CachedCollection[WorkloadState]] = {}
        self._executions: dict[tuple[str, str], SingleFlightCache[tuple[Execution, ...]]] = {}
        self._by_account: dict[tuple[str, str, WorkloadKind], _AccountIndex] = {}
        self._revisions: dict[str, dict[str, str]] = {}

    async def service_account(self, project_id: str, email: str, max_age: float) -> ServiceAccount | None:
        """Return the account with this e-mail."""
        if assumed := self._assumed.get((project_id, email)):
            return assumed
        return await self._accounts_of(project_id).one(email, max_age)

    async def account_emails(self, project_id: str, max_age: float) -> frozenset[str]:
        """Return the e-mails of all accounts of the project."""
        return frozenset(await self._accounts_of(project_id).all(max_age))

    async def workload(self, workload: Workload, max_age: float) -> WorkloadState | None:
        """Return the state of a workload."""
        return await self._workloads_of(workload.project_id, workload.location, workload.kind).one(
            workload.name, max_age
        )

    async def listed_workload(self, workload: Workload, max_age: float) -> WorkloadState | None:
        """Return the state of a workload from a list. A workload that was just created may be missing."""
        listed = await self.workloads(workload.project_id, workload.location, workload.kind, max_age)
        return listed.get(workload.name)

    async def workloads(
        self, project_id: str, location: str, kind: WorkloadKind, max_age: float
    ) -> Mapping[str, WorkloadState]:
        """Return every workload of the kind in the location, by name."""
        return await self._workloads_of(project_id, location, kind).all(max_age)

    async def running_as(
        self, project_id: str, location: str, kind: WorkloadKind, email: str, max_age: float
    ) -> tuple[Workload, ...]:
        """Return the workloads of the kind in the location of which any serving part runs as the account.

        Each list is indexed by account once, for all accounts.
        """
        states = await self.workloads(project_id, location, kind, max_age)
        key = (project_id, location, kind)
        index = self._by_account.get(key)
        if index is None or index[0] is not states:
            index = states, start_shared_task(self._index_by_account(states), name="workloads by account")
            self._by_account[key] = index
        try:
            by_account = await asyncio.shield(index[1])
        except GoogleError:
            if self._by_account.get(key) is index:
                del self._by_account[key]
            raise
        return by_account.get(lower_email(email), ())

    async def _index_by_account(
        self, states: Mapping[str, WorkloadState]
    ) -> Mapping[str, tuple[Workload, ...]]:
        found: defaultdict[str, list[Workload]] = defaultdict(list)
        for state in states.values():
            serving = (await self.serving_accounts(state)).values()
            for account in dict.fromkeys(map(lower_email, (state.service_account, *serving))):
                found[account].append(state.workload)
        return {account: tuple(workloads) for account, workloads in found.items()}

    async def serving_accounts(self, state: WorkloadState) -> Mapping[str, str]:
        """Return the account of each serving revision by its short name; empty for a job.

        A revision never changes, so it is read once. A deleted revision is omitted.
        """
        known = self._revisions.pop(state.uid, {})
        if state.is_settled and state.latest_created_revision:  # created from the template that was read
            known[state.latest_created_revision] = state.service_account
        accounts: dict[str, str] = {}
        for revision in state.serving_revisions:
            account = known.get(revision)
            if account is None:
                account = await self._revision_account(state.workload, revision)
            if account is not None:
                accounts[revision] = account
        if accounts:
            self._revisions[state.uid] = accounts
            if len(self._revisions) > REVISION_CACHE_SIZE:
                del self._revisions[next(iter(self._revisions))]  # the least recently used one
        return accounts

    async def running_executions(
        self, project_id: str, location: str, max_age: float
    ) -> tuple[Execution, ...]:
        """Return every execution of a job in the location that has not ended."""
        key = (project_id, location)
        if key not in self._executions:
            self._executions[key] = SingleFlightCache(
                lambda: self._run.running_executions(project_id, location), self._clock
            )
        return (await self._executions[key].get(self._clock() - max_age)).value

    def update_workload(self, state: WorkloadState) -> None:
        """Store the workload that the reply to a write, or the end of its operation, shows."""
        workload = state.workload
        self._workloads_of(workload.project_id, workload.location, workload.kind).update(workload.name, state)

    def assume_account(self, account: ServiceAccount) -> None:
        """Return this account from now on, whatever Google Cloud shows: a dry run would bring it about."""
        self._assumed[account.project_id, account.email] = account

    def invalidate_account(self, project_id: str, email: str) -> None:
        """Record that the operator just wrote the account. Older reads of it no longer count."""
        self._accounts_of(project_id).invalidate(email)

    def invalidate_workload(self, workload: Workload) -> None:
        """Record that the operator just wrote the workload. Older reads of it no longer count."""
        self._workloads_of(workload.project_id, workload.location, workload.kind).invalidate(workload.name)

    async def _revision_account(self, workload: Workload, revision: str) -> str | None:
        try:
            return await self._run.revision_account(workload, revision)
        except GoogleError as error:
            if error.fault is not Fault.NOT_FOUND:
                raise
            return None

    def _accounts_of(self, project_id: str) -> "CachedCollection[ServiceAccount]":
        if project_id not in self._accounts:

            async def read_all() -> Mapping[str, ServiceAccount]:
                return {account.email: account for account in await self._service_accounts.list(project_id)}

            async def read_one(email: str) -> ServiceAccount:
                return await self._service_accounts.get(project_id, email)

            self._accounts[project_id] = self._collection(read_all, read_one, self._clock)
        return self._accounts[project_id]

    def _workloads_of(
        self, project_id: str, location: str, kind: WorkloadKind
    ) -> "CachedCollection[WorkloadState]":
        key = (project_id, location, kind)
        if key not in self._workloads:

            async def read_all() -> Mapping[str, WorkloadState]:
                states = await self._run.list(project_id, location, kind)
                return {state.workload.name: state for state in states}

            async def read_one(name: str) -> WorkloadState:
                return await self._run.get(Workload(kind, project_id, location, name))

            self._workloads[key] = self._collection(read_all, read_one, self._clock)
        return self._workloads[key]


_AccountIndex = tuple[Mapping[str, WorkloadState], asyncio.Future[Mapping[str, tuple[Workload, ...]]]]
"""A list of workloads, and the task that indexes it by account."""
