"""Beliefs about quotas on the number of resources."""

import time
from collections.abc import AsyncIterator

from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.keys import Keys
from tools.verify.beliefs import Belief, Cost, Observation, described, judged, undecided
from tools.verify.sandbox import Sandbox

_MAX_KEYS = 10
"""Maximum number of keys of an account: https://cloud.google.com/iam/quotas."""


async def _limits(sandbox: Sandbox) -> AsyncIterator[Observation]:
    holder = await sandbox.account("anchor")
    yield await _keys(sandbox, holder.unique_id)
    yield await _accounts(sandbox)


async def _keys(sandbox: Sandbox, account: str) -> Observation:
    """Create keys until Google refuses one. Their private halves are discarded."""
    keys = Keys(sandbox.clients, time.monotonic)
    subject = f"key number {_MAX_KEYS + 1} of an account"
    for number in range(_MAX_KEYS + 1):
        try:
            await sandbox.write(keys.create(sandbox.project_id, account))
        except GoogleError as error:
            if error.fault is Fault.FAILED_PRECONDITION and number == 0:
                return undecided(subject, f"an organization policy forbids keys: {described(error)}")
            return _lasting(f"key number {number + 1} of an account", error)
    return undecided(subject, "accepted: the quota of the account is higher")


async def _accounts(sandbox: Sandbox) -> Observation:
    limit = sandbox.settings.max_accounts
    for number in range(limit):
        try:
            await sandbox.create_account(f"n{number}")
        except GoogleError as error:
            return _lasting(f"account number {number + 1} of this check", error)
    return undecided("accounts", f"{limit} more accounts were accepted: the quota of the project is higher")


def _lasting(subject: str, error: GoogleError) -> Observation:
    if error.undecided:
        return undecided(subject, described(error))
    return judged(error.fault is Fault.QUOTA_EXCEEDED and not error.rate_limited, subject, described(error))


LASTING_QUOTAS = Belief(
    id="lasting-quotas",
    statement="A refusal because of the maximum number of accounts or keys is RESOURCE_EXHAUSTED, without "
    "the reason RATE_LIMIT_EXCEEDED and without a RetryInfo of a minute or less.",
    breaks="The operator treats the refusal as a rate that recovers, slows down all calls, and does not ask "
    "the user for an action.",
    modules=("gcp/errors.py", "reconcile/outcomes.py", "reconcile/advice.py"),
    cost=Cost.QUOTA,
    check=_limits,
)
