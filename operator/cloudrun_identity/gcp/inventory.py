"""Accounts and workloads read in bulk: a sweep costs pages, not objects.

Everybody says how old an answer may be. An edit asks for age 0 and gets a read of its own; a resync accepts
its interval and is served by one list of a project, or of a location and kind, which all callers share.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping

from cloudrun_identity.api import WorkloadKind
from cloudrun_identity.iam.principals import lower_email

from .collection import Collection
from .errors import Fault, GoogleError
from .ratelimit import start_shared
from .run import Run
from .service_accounts import ServiceAccount, ServiceAccounts
from .single_flight_cache import Clock, SingleFlightCache
from .workloads import Execution, Workload, WorkloadState

WORKLOADS_KEPT = 4096
"""Workloads whose revisions are remembered."""


class Inventory:
    """What exists in Google Cloud, at an age that the caller accepts.

    Ages are in seconds. Every method raises GoogleError; what does not exist is None, or missing from a
    mapping.
    """

    def __init__(self, service_accounts: ServiceAccounts, run: Run, clock: Clock) -> None:
        self._service_accounts = service_accounts
        self._run = run
        self._clock = clock
        self._accounts: dict[str, Collection[ServiceAccount]] = {}
        self._workloads: dict[tuple[str, str, WorkloadKind], Collection[WorkloadState]] = {}
        self._executions: dict[tuple[str, str], SingleFlightCache[tuple[Execution, ...]]] = {}
        self._by_account: dict[tuple[str, str, WorkloadKind], _ByAccount] = {}
        self._revisions: dict[str, dict[str, str]] = {}

    async def service_account(self, project_id: str, email: str, max_age: float) -> ServiceAccount | None:
        """The account of this e-mail."""
        return await self._accounts_of(project_id).one(email, max_age)

    async def workload(self, workload: Workload, max_age: float) -> WorkloadState | None:
        """The state of this workload."""
        return await self._workloads_of(workload.project_id, workload.location, workload.kind).one(
            workload.name, max_age
        )

    async def listed_workload(self, workload: Workload, max_age: float) -> WorkloadState | None:
        """The state of this workload as a list shows it: what was made a moment ago may be missing there."""
        listed = await self.workloads(workload.project_id, workload.location, workload.kind, max_age)
        return listed.get(workload.name)

    async def workloads(
        self, project_id: str, location: str, kind: WorkloadKind, max_age: float
    ) -> Mapping[str, WorkloadState]:
        """Every workload of the kind in the location by name."""
        return await self._workloads_of(project_id, location, kind).all(max_age)

    async def running_as(
        self, project_id: str, location: str, kind: WorkloadKind, email: str, max_age: float
    ) -> tuple[Workload, ...]:
        """The workloads of the kind in the location that run as the account, with all or part of what serves.

        A list is sorted by account once, however many accounts are asked about.
        """
        states = await self.workloads(project_id, location, kind, max_age)
        key = (project_id, location, kind)
        known = self._by_account.get(key)
        if known is None or known[0] is not states:
            known = states, start_shared(self._sorted_by_account(states), name="workloads by account")
            self._by_account[key] = known
        try:
            found = await asyncio.shield(known[1])
        except GoogleError:
            if self._by_account.get(key) is known:
                del self._by_account[key]
            raise
        return found.get(lower_email(email), ())

    async def _sorted_by_account(
        self, states: Mapping[str, WorkloadState]
    ) -> Mapping[str, tuple[Workload, ...]]:
        found: defaultdict[str, list[Workload]] = defaultdict(list)
        for state in states.values():
            serving = (await self.serving_accounts(state)).values()
            for account in dict.fromkeys(map(lower_email, (state.service_account, *serving))):
                found[account].append(state.workload)
        return {account: tuple(workloads) for account, workloads in found.items()}

    async def serving_accounts(self, state: WorkloadState) -> Mapping[str, str]:
        """The account of each revision that serves, by the revision's short name; none for a job.

        A revision never changes, so it is asked for once; one that is gone by now is left out.
        """
        known = self._revisions.pop(state.uid, {})
        if state.is_settled and state.latest_created_revision:  # made of the template that was read
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
            if len(self._revisions) > WORKLOADS_KEPT:
                del self._revisions[next(iter(self._revisions))]  # the one that was asked about longest ago
        return accounts

    async def running_executions(
        self, project_id: str, location: str, max_age: float
    ) -> tuple[Execution, ...]:
        """Every execution of a job in the location that has not ended."""
        key = (project_id, location)
        if key not in self._executions:
            self._executions[key] = SingleFlightCache(
                lambda: self._run.running_executions(project_id, location), self._clock
            )
        return (await self._executions[key].get(self._clock() - max_age)).value

    def saw_workload(self, state: WorkloadState) -> None:
        """Note what the answer to a write, or the end of its operation, showed of a workload just now."""
        workload = state.workload
        self._workloads_of(workload.project_id, workload.location, workload.kind).saw(workload.name, state)

    def wrote_account(self, project_id: str, email: str) -> None:
        """Note that the operator has just written this account: older reads do not count for it any more."""
        self._accounts_of(project_id).wrote(email)

    def wrote_workload(self, workload: Workload) -> None:
        """Note that the operator has just written this workload: older reads do not count for it any more."""
        self._workloads_of(workload.project_id, workload.location, workload.kind).wrote(workload.name)

    async def _revision_account(self, workload: Workload, revision: str) -> str | None:
        try:
            return await self._run.revision_account(workload, revision)
        except GoogleError as error:
            if error.fault is not Fault.NOT_FOUND:
                raise
            return None

    def _accounts_of(self, project_id: str) -> "Collection[ServiceAccount]":
        if project_id not in self._accounts:

            async def read_all() -> Mapping[str, ServiceAccount]:
                return {account.email: account for account in await self._service_accounts.list(project_id)}

            async def read_one(email: str) -> ServiceAccount:
                return await self._service_accounts.get(project_id, email)

            self._accounts[project_id] = Collection(read_all, read_one, self._clock)
        return self._accounts[project_id]

    def _workloads_of(
        self, project_id: str, location: str, kind: WorkloadKind
    ) -> "Collection[WorkloadState]":
        key = (project_id, location, kind)
        if key not in self._workloads:

            async def read_all() -> Mapping[str, WorkloadState]:
                states = await self._run.list(project_id, location, kind)
                return {state.workload.name: state for state in states}

            async def read_one(name: str) -> WorkloadState:
                return await self._run.get(Workload(kind, project_id, location, name))

            self._workloads[key] = Collection(read_all, read_one, self._clock)
        return self._workloads[key]


_ByAccount = tuple[Mapping[str, WorkloadState], asyncio.Future[Mapping[str, tuple[Workload, ...]]]]
"""A list of workloads, and the same by the accounts that they run as."""
