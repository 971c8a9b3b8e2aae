"""Temporary accounts and grants in the project, and the clients that the checks use."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from google.iam.v1 import policy_pb2

from cloudrun_identity.controllers.cloud_run_identity.propagation import (
    BETWEEN_READS,
    GONE_AFTER,
    GOOD_READS,
)
from cloudrun_identity.controllers.new_accounts import GRACE
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.impersonation import ImpersonatedTokens
from cloudrun_identity.gcp.policies import Policies
from cloudrun_identity.gcp.run import Run
from cloudrun_identity.gcp.service_accounts import ServiceAccount, ServiceAccounts, expected_email
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.principals import service_account_member
from cloudrun_identity.policy.desired_grants import DesiredGrant
from cloudrun_identity.policy.merge import Removal, merge

PREFIX: Final = "crid-verify-"
"""Prefix of the names of all resources that a run creates."""

MARK: Final = "Temporary resource of cloudrun-identity's make verify. Delete it if no run is in progress."
"""Description of every account that a run creates. Clean-up deletes only accounts that have it."""

LABEL: Final = "cloudrun-identity-verify"
"""Label of every workload that a run creates. Clean-up deletes only workloads that have it."""

HARMLESS_ROLE: Final = "roles/browser"
"""Role that the checks grant on the project. It permits to read the project and its policy's holders."""

UNSEEN: Final = frozenset({Fault.NOT_FOUND, Fault.PERMISSION_DENIED})
"""Faults of a read or a write of a new account."""

LAGGING: Final = UNSEEN | {Fault.INVALID_ARGUMENT}
"""Faults of a request that names a new account."""

PERMISSIONS: Final = frozenset(
    {
        *(f"resourcemanager.projects.{verb}" for verb in ("get", "getIamPolicy", "setIamPolicy")),
        *(
            f"iam.serviceAccounts.{verb}"
            for verb in ("actAs", "create", "delete", "get", "getIamPolicy", "list", "setIamPolicy")
        ),
        *(
            f"run.{collection}.{verb}"
            for collection in ("services", "jobs", "workerpools")
            for verb in ("create", "delete", "get", "getIamPolicy", "list", "setIamPolicy", "update")
        ),
    }
)
"""Permissions on the project that a run needs. roles/owner has them."""

_CONFLICTS = 10
"""Maximum number of attempts to write a policy that other clients write too."""

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of a run."""

    project_id: str
    """ID of the project."""
    location: str = "us-central1"
    """Region of the workloads."""
    image: str = ""
    """Image of all workloads; empty for Google's samples."""
    secret: str = ""
    """ID of an existing secret on whose policy grants are tried; empty for none."""
    caller: str = ""
    """Member that makes the calls, such as `user:ann@example.com`; empty if it is not known."""
    max_accounts: int = 200
    """Maximum number of accounts that the check of quotas creates."""
    interval: float = BETWEEN_READS
    """Seconds between two attempts."""
    account_lag: float = GRACE
    """Seconds in which the operator expects a new account to be usable."""
    access_lag: float = 420.0
    """Seconds in which a grant takes effect: two minutes, potentially seven minutes or longer
    (https://cloud.google.com/iam/docs/access-change-propagation)."""
    max_wait: float = 600.0
    """Seconds after which a check no longer waits."""


@dataclass(slots=True)
class Sandbox:
    """Clients of one project, and the temporary resources in it. Accounts are created on first use."""

    settings: Settings
    """Settings of the run."""
    clients: GoogleClients
    """Clients with the credentials of the user."""
    accounts: ServiceAccounts = field(init=False)
    """Service accounts."""
    policies: Policies = field(init=False)
    """Policies, as the caller."""
    run: Run = field(init=False)
    """Cloud Run, as the operator calls it."""
    suffix: str = field(default_factory=lambda: secrets.token_hex(3))
    """Part of all names that distinguishes this run from others."""
    created: dict[str, ServiceAccount] = field(default_factory=dict)
    """Accounts that this run created, by unique id."""
    pending: set[asyncio.Task[Any]] = field(default_factory=set)
    """Writes in progress. Clean-up awaits them, also if the run is interrupted."""
    _usable: dict[str, ServiceAccount] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Create the clients of the APIs."""
        self.accounts = ServiceAccounts(self.clients)
        self.policies = Policies(self.clients)
        self.run = Run(self.clients)

    @property
    def project_id(self) -> str:
        """ID of the project."""
        return self.settings.project_id

    @property
    def project(self) -> Target:
        """The project as a target."""
        return Target.project(self.project_id)

    def name(self, purpose: str) -> str:
        """Return the name of a resource of this run."""
        return f"{PREFIX}{self.suffix}-{purpose}"

    def email(self, purpose: str) -> str:
        """Return the e-mail that an account of this run has or would have."""
        return expected_email(self.project_id, self.name(purpose))

    async def create_account(self, purpose: str) -> ServiceAccount:
        """Create an account. It is not usable everywhere yet."""

        async def created() -> ServiceAccount:
            account = await self.accounts.create(
                self.project_id, self.name(purpose), f"cloudrun-identity {purpose}", MARK
            )
            self.created[account.unique_id] = account
            return account

        return await self.write(created())

    async def account(self, purpose: str) -> ServiceAccount:
        """Return an account that reads and policies accept. Repeated calls return the same account."""
        if purpose not in self._usable:
            account = await self.create_account(purpose)
            await self.until_seen(account)
            await self.until_accepted(account)
            self._usable[purpose] = account
        return self._usable[purpose]

    async def delete_account(self, account: ServiceAccount) -> None:
        """Delete an account. A new one may not be found yet, and a list may still show a deleted one."""
        misses = 0

        async def deleted() -> bool:
            nonlocal misses
            try:
                await self.write(self.accounts.delete(self.project_id, account.unique_id))
            except GoogleError as error:
                misses = misses + 1 if error.fault is Fault.NOT_FOUND else 0
                if misses < GONE_AFTER:
                    raise
            return True

        await self.until(deleted, UNSEEN)
        self.created.pop(account.unique_id, None)

    async def until_seen(self, account: ServiceAccount) -> None:
        """Wait until as many reads in a row show the account as the operator wants."""
        reads = 0

        async def seen() -> bool:
            nonlocal reads
            try:
                shown = await self.accounts.get(self.project_id, account.email)
            except GoogleError:
                reads = 0
                raise
            reads = reads + 1 if shown.unique_id == account.unique_id else 0
            return reads >= GOOD_READS

        await self.until(seen, UNSEEN)

    async def until_accepted(self, account: ServiceAccount) -> None:
        """Wait until the project's policy accepts the account as a member."""
        grant = self.grant_on_project(account)

        async def accepted() -> bool:
            await self.add(grant)
            return True

        await self.until(accepted, frozenset({Fault.INVALID_ARGUMENT}))
        await self.remove(grant)

    def grant_on_project(self, account: ServiceAccount, role: str = HARMLESS_ROLE) -> Grant:
        """Return the grant of a role on the project for an account."""
        return Grant(self.project, role, service_account_member(account.email))

    async def add(self, grant: Grant, policies: Policies | None = None) -> policy_pb2.Policy:
        """Add a grant to the policy of its target. Return the policy."""
        policies = policies or self.policies
        return await self.write(
            _rewritten(policies, grant.target, lambda policy: merge(policy, [DesiredGrant(grant)]).policy)
        )

    async def remove(self, *grants: Grant, policies: Policies | None = None) -> policy_pb2.Policy:
        """Remove grants of one target from its policy. Return the policy."""
        policies = policies or self.policies
        removals = [Removal(grant) for grant in grants]
        return await self.write(
            _rewritten(policies, grants[0].target, lambda policy: merge(policy, (), removals).policy)
        )

    def policies_as(self, account: ServiceAccount) -> Policies:
        """Return the policies client that acts as an account, as the operator impersonates accounts."""
        return Policies(self.clients.with_credential(ImpersonatedTokens(self.clients, account.email), ""))

    async def write(self, write: Coroutine[Any, Any, Value]) -> Value:
        """Return the result of a write. An interruption does not cancel it: clean-up awaits it."""
        task = asyncio.create_task(write)
        self.pending.add(task)
        task.add_done_callback(self.pending.discard)
        return await asyncio.shield(task)

    async def until(
        self,
        attempt: Callable[[], Awaitable[bool]],
        tolerated: frozenset[Fault] = frozenset(),
        max_wait: float | None = None,
    ) -> None:
        """Repeat `attempt` until it returns True.

        Raises:
            TimeoutError: The attempts took longer than `max_wait`. The message has the last error.
            GoogleError: An attempt failed with a fault that is not `tolerated`.

        """
        started = time.monotonic()
        max_wait = self.settings.max_wait if max_wait is None else max_wait
        while True:
            last = "not yet"
            try:
                if await attempt():
                    return
            except GoogleError as error:
                if error.fault not in tolerated:
                    raise
                last = str(error)
            if time.monotonic() - started > max_wait:
                raise TimeoutError(f"no success in {max_wait:g} s: {last}")
            await asyncio.sleep(self.settings.interval)


async def _rewritten(
    policies: Policies, target: Target, change: Callable[[policy_pb2.Policy], policy_pb2.Policy]
) -> policy_pb2.Policy:
    """Read a policy, and write it if `change` changes it. Start over if another client wrote it."""
    for attempt in range(_CONFLICTS):
        policy = await policies.get(target)
        changed = change(policy)
        if changed == policy:
            return policy
        try:
            return await policies.set(target, changed)
        except GoogleError as error:
            if error.fault is not Fault.ABORTED or attempt == _CONFLICTS - 1:
                raise
        await asyncio.sleep(secrets.randbelow(1000) / 1000)
    raise AssertionError("unreachable")
