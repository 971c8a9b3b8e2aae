"""Last uses of an identity's account and of its keys, and the advisory condition RecentlyUsed."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, assert_never

from cloudrun_identity.api import CloudRunIdentity, ConditionStatus, LastUse, ManagedProject, UnmanagedKey
from cloudrun_identity.gcp.last_use import LastUses
from cloudrun_identity.gcp.observed_uses import Evidence, Observation, Source, Unknown, date_of
from cloudrun_identity.reconcile.advice import advised
from cloudrun_identity.reconcile.conditions import Finding

UNUSED_AFTER: Final = timedelta(days=90)
"""Time without a use after which an identity is reported. Google's insights use the same
(https://cloud.google.com/policy-intelligence/docs/service-account-insights)."""


@dataclass(frozen=True, slots=True)
class AccountUse:
    """Answers of Policy Analyzer for the project of an account."""

    accounts: Evidence
    """Last uses by unique id."""
    keys: Evidence
    """Last uses by id of the key."""

    @property
    def is_pending(self) -> bool:
        """True if an answer has not arrived yet."""
        return any(isinstance(each, Unknown) and each.is_pending for each in (self.accounts, self.keys))


async def account_use(last_uses: LastUses, project: ManagedProject) -> AccountUse | None:
    """Return the last uses in a project, from reads that all objects share; None if it ignores them."""
    if project.spec.last_use is not LastUse.REPORT:
        return None
    return AccountUse(
        await last_uses.get(project.project_id, Source.ACCOUNTS),
        await last_uses.get(project.project_id, Source.KEYS),
    )


def with_last_use(
    obj: CloudRunIdentity, keys: Iterable[UnmanagedKey], use: AccountUse | None
) -> tuple[UnmanagedKey, ...]:
    """Return unmanaged keys with their last use: the former one while an answer has not arrived."""
    if use is None:
        return tuple(keys)
    if use.is_pending:
        former = {each.id: each.last_used for each in obj.status.unmanaged_keys}
        return tuple(each.replace(last_used=former.get(each.id)) for each in keys)
    return tuple(each.replace(last_used=date_of(use.keys, each.id)) for each in keys)


def recently_used(obj: CloudRunIdentity, unique_id: str, use: AccountUse) -> Finding:
    """Return the condition RecentlyUsed.

    An account that Google does not list was not used in the time that the answer covers. It is reported only
    if the identity is as old, because the age of an adopted account is not known.
    """
    match use.accounts:
        case Unknown(error):
            why = advised(error) if error else "Policy Analyzer reports no use of any account of the project"
            return Finding(ConditionStatus.UNKNOWN, "NotObserved", f"The last use is not known: {why}")
        case Observation() as seen:
            return _recently_used(obj, unique_id, seen)
        case _:
            assert_never(use.accounts)


def _recently_used(obj: CloudRunIdentity, unique_id: str, seen: Observation) -> Finding:
    use, date = seen.uses.get(unique_id), date_of(seen, unique_id)
    until = seen.observed_until(unique_id)
    created = obj.metadata.creation_timestamp
    if use is not None and until - use.ended < UNUSED_AFTER:
        return Finding(ConditionStatus.TRUE, "Used", f"Google last saw a use on {date}")
    if use is None and not seen.is_complete:
        message = "The last use is not known: the answer of Policy Analyzer is too long to be read as a whole"
        return Finding(ConditionStatus.UNKNOWN, "NotObserved", message)
    if use is None and (created is None or until - max(created, seen.since) < UNUSED_AFTER):
        return Finding(ConditionStatus.UNKNOWN, "NoUseYet", "Google has not seen a use yet")
    last = f"Google last saw a use on {date}" if date else "Google has seen no use"
    remedy = "if nothing needs it, delete the CloudRunIdentity or set spec.disabled to true"
    message = f"Not used for {UNUSED_AFTER.days} days: {last}; {remedy}"
    return Finding(ConditionStatus.FALSE, "Unused", message)
