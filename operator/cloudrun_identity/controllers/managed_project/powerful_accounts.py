"""Service accounts of a project with more rights than its guardrails: advice for the platform team.

If the operator has its permissions on the whole project, it can act as every service account in it. Google
Cloud does not enforce the guardrails on such access, so an attacker who compromises the operator gains the
permissions of all accounts.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from google.iam.v1 import policy_pb2

from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.gcp.permissions import ACCOUNT_PERMISSIONS
from cloudrun_identity.gcp.policies import MAX_WAIT, Policies
from cloudrun_identity.gcp.projects import Project, default_compute_account
from cloudrun_identity.gcp.ratelimit import Priority, call_priority, without_slot
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity.gcp.service_accounts import expected_email
from cloudrun_identity.gcp.single_flight_cache import Clock, KeyedSingleFlightCache
from cloudrun_identity.iam.escalation import escalating
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.principals import email, is_service_account, lower_email
from cloudrun_identity.iam.role_catalog import role_catalog
from cloudrun_identity.iam.wording import some

MAX_AGE = 3600.0
"""Maximum age in seconds of a cached result."""

CACHE_SIZE = 1000
"""Maximum number of projects in the cache."""


@dataclass(frozen=True, slots=True)
class PowerfulAccount:
    """A service account with roles that escalate privileges in its project."""

    email: str
    roles: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.email} ({', '.join(self.roles)})"


class PowerfulAccounts:
    """Accounts that hold escalating roles on the policy of their project, read once per `MAX_AGE`."""

    def __init__(self, policies: Policies, roles: Roles, clock: Clock) -> None:
        self._policies = policies
        self._roles = roles
        self._cache: KeyedSingleFlightCache[str, tuple[PowerfulAccount, ...]] = KeyedSingleFlightCache(
            clock, CACHE_SIZE
        )

    async def of(self, project: Project, held: Collection[str]) -> tuple[PowerfulAccount, ...]:
        """Return the powerful accounts that an operator with these permissions on the project can act as.

        They are advice, so an error is no error of the project: it is cached like an answer, and means that
        none is known.
        """
        if ACCOUNT_PERMISSIONS.isdisjoint(held):
            return ()
        async with without_slot():
            return await self._cache.get(project.project_id, lambda: self._read(project), MAX_AGE)

    async def _read(self, project: Project) -> tuple[PowerfulAccount, ...]:
        try:
            # A resync shares the read of the policy syncer.
            max_wait = MAX_WAIT if call_priority.get() is Priority.RESYNC else 0.0
            policy = await self._policies.get_soon(Target.project(project.project_id), max_wait)
        except GoogleError:
            return ()
        roles = [
            (binding.role, binding.members)
            for binding in policy.bindings
            if await self._escalates(binding, project.project_id)
        ]
        return _accounts_with(
            roles,
            expected_email(project.project_id, "").removeprefix("@"),
            {default_compute_account(project.number), f"{project.project_id}@appspot.gserviceaccount.com"},
        )

    async def _escalates(self, binding: policy_pb2.Binding, project_id: str) -> bool:
        """Return whether the role escalates, by the catalog if it has the role: that costs no call."""
        role = role_catalog().get(binding.role)
        if role:
            return bool(escalating(role.permissions))
        try:
            return bool(escalating(await self._roles.permissions(binding.role, project_id, MAX_AGE)))
        except GoogleError:  # the role does not exist or cannot be read: no evidence
            return False


def takeover_warnings(
    accounts: Collection[PowerfulAccount], credential_accounts: Collection[str]
) -> Iterator[str]:
    """Yield the issue about accounts that an attacker who compromises the operator could act as.

    The accounts that the operator acts as are not reported: such an attacker can use them in any case.
    """
    found = [account for account in accounts if account.email not in credential_accounts]
    if found:
        yield (
            f"An attacker who compromises the operator could act as {some([str(each) for each in found])}: "
            "remove these escalating roles, or grant the operator its permissions on single accounts "
            "(`cloudrun-identity permissions --own-accounts-only`)"
        )


def _accounts_with(
    roles: Iterable[tuple[str, Iterable[str]]], domain: str, default_accounts: Collection[str]
) -> tuple[PowerfulAccount, ...]:
    """Return the accounts of a project that hold any of the roles, given with their members.

    `domain` is the part after the @ in the e-mails of its accounts. Accounts with a basic role come first.
    """
    held: defaultdict[str, set[str]] = defaultdict(set)
    for role, members in roles:
        for member in filter(is_service_account, members):
            account = lower_email(email(member))
            if account.endswith(f"@{domain}") or account in default_accounts:
                held[account].add(role)
    accounts = (PowerfulAccount(account, tuple(sorted(held[account], key=_rank))) for account in held)
    return tuple(sorted(accounts, key=lambda account: (_rank(account.roles[0])[0], account.email)))


def _rank(role: str) -> tuple[int, str]:
    """Return the sort key of a role: basic roles by their power, then all others by name."""
    return _BASIC_ROLES.index(role) if role in _BASIC_ROLES else len(_BASIC_ROLES), role


_BASIC_ROLES = ("roles/owner", "roles/admin", "roles/editor", "roles/writer")
