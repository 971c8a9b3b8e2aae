"""How a pass over keys ends, in words that say what to do."""

from datetime import datetime
from typing import assert_never

from cloudrun_identity.api import Reason
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.iam.listed_keys import MAX_KEYS
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Outcome, Refused, Waiting

from .plan import Await, Full, Rest
from .use import KeysSeen, KeyUse

LOOK_AGAIN = 60.0
"""Seconds until an account without room for another key is looked at again."""


def resting(step: Rest, now: datetime) -> Outcome:
    """Nothing is to be done before a certain time."""
    after = _seconds(step.until, now) if step.until else None
    if step.unfinished:
        message = (
            "the next key is made; the Secret has it in about a minute, once Google knows it everywhere, and "
            "the present one works on"
        )
        return Waiting(Reason.UPDATING, message, after)
    return InSync(after)


def stopped(step: Await | Full, seen: KeysSeen) -> Outcome:
    """Something else has to happen first."""
    match step:
        case Await(until):
            message = "making a key was cut short; waiting until Google shows what came of it"
            return Waiting(Reason.UPDATING, message, after=_seconds(until, seen.now))
        case Full():
            return Failing(
                Reason.QUOTA_EXCEEDED,
                f"the account has {MAX_KEYS} keys, which is the most; delete those that nobody uses: "
                f"{', '.join(sorted(seen.listed))}",
                after=LOOK_AGAIN,
            )
        case _:
            assert_never(step)


def forbidden(use: KeyUse, error: GoogleError) -> Outcome:
    """Google has met a precondition that is not given: most probably a policy of the organization."""
    return Refused(
        Reason.REJECTED,
        f"Google Cloud makes no key for {use.account.name} ({error.message.rstrip('.')}); where an "
        "organization policy forbids keys (iam.disableServiceAccountKeyCreation, or "
        "iam.managed.disableServiceAccountKeyCreation), have the project excepted, or attach the identity, "
        "impersonate it or use Workload Identity instead",
    )


def no_secret(use: KeyUse, *, barred: bool) -> Outcome:
    """The Secret is somebody else's, or the operator may not read it."""
    name = f"Secret {use.obj.metadata.namespace}/{use.obj.spec.secret_name}"
    if barred:
        message = f"spec.secretName: the operator may not read {name}; {_RIGHTS}"
        return Failing(Reason.PERMISSION_DENIED, message)
    return Refused(
        Reason.CONFLICT,
        f"spec.secretName: {name} exists already and is not this object's; delete it, or declare the key "
        "anew with another secretName",
    )


def refused_secret(use: KeyUse, error: KubeError) -> Outcome:
    """What to tell of a Secret that the API server does not take; raises where another try may do."""
    name = f"Secret {use.obj.metadata.namespace}/{use.obj.spec.secret_name}"
    if error.is_forbidden:
        message = f"spec.secretName: the operator may not write {name}; {_RIGHTS}, and mind its quotas"
        return Failing(Reason.PERMISSION_DENIED, message)
    if error.is_invalid:
        message = (
            f"spec.secretTemplate: the API server takes no such {name}: check labels and annotations, and "
            "that it is not immutable"
        )
        return Refused(Reason.INVALID_SPEC, message)
    raise error


def stray(use: KeyUse, key_id: str) -> str:
    """Tell of a key that was deleted, of which nothing but the time says that it was our own."""
    return (
        f"key {key_id} of {use.account.name} is deleted: it was made while the operator was cut short in "
        "making one, so that nobody should have its private half; whoever made it by hand has to make another"
    )


def _seconds(until: datetime, now: datetime) -> float:
    return max((until - now).total_seconds(), 1.0)


_RIGHTS = "let it get, create, patch and delete Secrets (keys.enabled of the chart)"
