"""Service accounts, workloads and account records in memory."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from cloudrun_identity.api import LedgerAccount, TargetKind, WorkloadKind
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.service_accounts import ServiceAccount, expected_email
from cloudrun_identity.gcp.workloads import Execution, Workload, WorkloadState
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.ledger.model import Ledger
from tests.unit.gcp.workload_states import settled

PROJECT_ID = "payments-prod-1234"


def fault(kind: Fault, message: str = "no") -> GoogleError:
    return GoogleError(kind, "IAM/Method", message)


class FakeServiceAccounts:
    """Accounts of one project."""

    existing: dict[str, ServiceAccount]
    """Accounts by e-mail."""

    deleted: dict[str, ServiceAccount]
    """Accounts that can be undeleted, by unique id."""

    calls: list[str]
    """Verb and argument of each call."""

    faults: dict[str, Fault]
    """Error of the next call of a verb, which has no effect."""

    lost: set[str]
    """Verbs whose next call takes effect and loses its reply."""

    stale: dict[str, list[ServiceAccount | None]]
    """Replies of the next reads of an e-mail; None if the read finds no account."""

    unknown: bool
    """True while only reads show the accounts."""

    email_of: Callable[[str], str]
    """Returns the e-mail of a new account."""

    def __init__(self) -> None:
        self.existing = {}
        self.deleted = {}
        self.calls = []
        self.faults = {}
        self.lost = set()
        self.stale = {}
        self.unknown = False
        self.email_of = lambda account_id: expected_email(PROJECT_ID, account_id)
        self._next_id = 111

    def put(self, email: str, unique_id: str = "111", **fields: object) -> ServiceAccount:
        account = ServiceAccount(PROJECT_ID, email, unique_id)
        self.existing[email] = replace(account, **fields)
        return self.existing[email]

    async def get(self, project_id: str, email_or_unique_id: str) -> ServiceAccount:
        self._call("get", email_or_unique_id)
        if self.stale.get(email_or_unique_id):
            shown = self.stale[email_or_unique_id].pop(0)
            if shown is None:
                raise fault(Fault.NOT_FOUND)
            return shown
        return self._find(email_or_unique_id)

    async def is_known(self, project_id: str, email: str) -> bool:
        return not self.unknown

    async def list(self, project_id: str) -> list[ServiceAccount]:
        self._call("list", project_id)
        return list(self.existing.values())

    async def create(
        self, project_id: str, account_id: str, display_name: str, description: str
    ) -> ServiceAccount:
        self._call("create", account_id)
        email = self.email_of(account_id)
        if email in self.existing:
            raise fault(Fault.ALREADY_EXISTS)
        account = self.put(email, str(self._next_id), display_name=display_name, description=description)
        self._next_id += 1
        self._lose("create")
        return account

    async def patch(
        self,
        project_id: str,
        unique_id: str,
        *,
        display_name: str | None = None,
        description: str | None = None,
    ) -> None:
        self._call("patch", unique_id)
        given = {"display_name": display_name, "description": description}
        self._change(unique_id, **{name: value for name, value in given.items() if value is not None})

    async def disable(self, project_id: str, unique_id: str) -> None:
        self._call("disable", unique_id)
        self._change(unique_id, disabled=True)

    async def enable(self, project_id: str, unique_id: str) -> None:
        self._call("enable", unique_id)
        self._change(unique_id, disabled=False)

    async def delete(self, project_id: str, unique_id: str) -> None:
        self._call("delete", unique_id)
        account = self._find(unique_id)
        self.deleted[account.unique_id] = self.existing.pop(account.email)
        self._lose("delete")

    async def undelete(self, project_id: str, unique_id: str) -> ServiceAccount:
        self._call("undelete", unique_id)
        account = self.deleted.get(unique_id)
        if account is None:
            raise fault(Fault.NOT_FOUND)
        if account.email in self.existing:
            raise fault(Fault.FAILED_PRECONDITION)
        self.existing[account.email] = self.deleted.pop(unique_id)
        self._lose("undelete")
        return account

    def _call(self, verb: str, argument: str) -> None:
        self.calls.append(f"{verb} {argument}")
        if verb in self.faults:
            raise fault(self.faults.pop(verb))

    def _lose(self, verb: str) -> None:
        if verb in self.lost:
            self.lost.discard(verb)
            raise fault(Fault.UNAVAILABLE)

    def _find(self, email_or_unique_id: str) -> ServiceAccount:
        for account in self.existing.values():
            if email_or_unique_id in (account.email, account.unique_id):
                return account
        raise fault(Fault.NOT_FOUND)

    def _change(self, unique_id: str, **fields: object) -> None:
        account = self._find(unique_id)
        self.existing[account.email] = replace(account, **fields)


class FakeRun:
    """The workloads of every project."""

    services: dict[tuple[str, str], str]
    """Account of each service, by location and name."""

    revisions: dict[str, str]
    """Account of each serving revision of every service; `forbidden` if the revision cannot be read."""

    executions: dict[str, str]
    """Account of each running execution of a job."""

    unreadable: set[str]
    """Locations that cannot be read."""

    looked_at: set[tuple[str, str]]
    """Projects and locations that were read."""

    def __init__(self) -> None:
        self.services = {}
        self.revisions = {}
        self.executions = {}
        self.unreadable = set()
        self.looked_at = set()

    async def list(self, project_id: str, location: str, kind: WorkloadKind) -> list[WorkloadState]:
        self.looked_at.add((project_id, location))
        if location in self.unreadable:
            raise fault(Fault.PERMISSION_DENIED, "you may not look")
        if kind is not WorkloadKind.SERVICE:
            return []
        return [
            settled(
                Workload(kind, project_id, location, name),
                account,
                serving_revisions=("new", *self.revisions),
            )
            for (place, name), account in self.services.items()
            if place == location
        ]

    async def revision_account(self, workload: Workload, revision: str) -> str:
        if self.revisions[revision] == "forbidden":
            raise fault(Fault.PERMISSION_DENIED, "you may not look")
        if self.revisions[revision] == "unavailable":
            raise fault(Fault.UNAVAILABLE, "no answer")
        return self.revisions[revision]

    async def running_executions(self, project_id: str, location: str) -> tuple[Execution, ...]:
        job = Workload(WorkloadKind.JOB, project_id, location, "nightly")
        return tuple(Execution(job, name, account) for name, account in self.executions.items())


@dataclass
class FakeAccountLedgers:
    """Ledgers of accounts in memory. `history` has every account record that was stored."""

    stored: dict[Target, Ledger] = field(default_factory=dict)
    history: list[LedgerAccount | None] = field(default_factory=list)

    def ledger(self, target: Target) -> Ledger:
        return self.stored.get(target, Ledger.of(target))

    async def update(self, target: Target, change: Callable[[Ledger], Ledger]) -> Ledger:
        await asyncio.sleep(0)
        ledger = change(self.ledger(target))
        self.stored[target] = ledger
        self.history.append(ledger.account)
        return ledger

    def account_home(self, owner: str) -> Target | None:
        for target, ledger in self.stored.items():
            if ledger.account and ledger.account.owner == owner:
                return target
        return None

    def owner_of(self, email: str) -> LedgerAccount | None:
        return self.records.get(email)

    def keep(self, record: LedgerAccount) -> None:
        """Store a record without an entry in the history."""
        target = Target(TargetKind.SERVICE_ACCOUNT, PROJECT_ID, name=record.email)
        self.stored[target] = Ledger.of(target).with_account(record)

    @property
    def records(self) -> dict[str, LedgerAccount]:
        """Records of accounts by e-mail."""
        return {target.name: ledger.account for target, ledger in self.stored.items() if ledger.account}


def inventory(accounts: FakeServiceAccounts, run: FakeRun, clock: Callable[[], float]) -> Inventory:
    return Inventory(accounts, run, clock)
