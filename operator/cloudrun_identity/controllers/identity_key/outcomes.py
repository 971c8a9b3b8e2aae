"""Messages about keys that cannot be created or delivered, with the remedy."""

from collections.abc import Iterable
from datetime import datetime

from cloudrun_identity.api import KeyState, LedgerKey, Reason
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.iam.listed_keys import MAX_KEYS
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.reconcile.outcomes import Failing, Outcome, Refused, Waiting

from .key_state import KeyWant, disable_due

RECHECK = 60.0
"""Seconds between looks at an account that has the maximum number of keys."""

NOT_SHOWN_RECHECK = 5.0
"""Seconds until the operator reads a new key again that Google did not find."""

NEXT_KEY_WAITS = (
    "The next key is created; the Secret gets it in about a minute, once Google Cloud knows the key "
    "everywhere. The present key works until then"
)

ATTEMPT_WAITS = "The creation of a key was interrupted; waiting until Google Cloud shows its result"


def account_full(listed: Iterable[str]) -> Failing:
    """Return the outcome for an account that can have no further key."""
    message = (
        f"the account has {MAX_KEYS} keys, which is the maximum; delete those that are not in use: "
        f"{', '.join(sorted(listed))}"
    )
    return Failing(Reason.QUOTA_EXCEEDED, message, RECHECK)


def creation_refused(want: KeyWant, error: GoogleError) -> Refused:
    """Return the outcome for a key that Google refuses to create, probably by an organization policy."""
    return Refused(
        Reason.REJECTED,
        f"Google Cloud creates no key for {want.home.name} ({error.message.rstrip('.')}). Attach the "
        "identity, impersonate it or use Workload Identity instead. If an organization policy forbids keys "
        "(iam.disableServiceAccountKeyCreation, or iam.managed.disableServiceAccountKeyCreation), an "
        "organization policy administrator can exempt the project: gcloud resource-manager org-policies "
        f"disable-enforce iam.disableServiceAccountKeyCreation --project={want.home.project_id}",
    )


def key_not_shown(want: KeyWant, key_id: str) -> Waiting:
    """Return the outcome for a new key that Google does not find. It may still exist."""
    message = f"Google Cloud does not show the new key {key_id} of {want.home.name} everywhere yet"
    return Waiting(Reason.PROPAGATION_PENDING, message, NOT_SHOWN_RECHECK)


def secret_forbidden(want: KeyWant) -> Failing:
    """Return the outcome for a Secret that the operator may not read."""
    message = f"spec.secretName: the operator may not read {_secret(want)}; {_permissions(want)}"
    return Failing(Reason.PERMISSION_DENIED, message)


def secret_taken(want: KeyWant) -> tuple[Reason, str]:
    """Return the reason and the message for a Secret that belongs to another owner."""
    return Reason.CONFLICT, (
        f"spec.secretName: {_secret(want)} exists already and is not this object's; delete it, or create the "
        "IdentityKey again with another secretName"
    )


def secret_refused(want: KeyWant, error: KubeError) -> Outcome:
    """Return the outcome for a Secret that the API server does not accept; raises if a retry may help."""
    if error.is_forbidden:
        message = (
            f"spec.secretName: the operator may not write {_secret(want)}; {_permissions(want)}, and "
            "check the quotas of the namespace"
        )
        return Failing(Reason.PERMISSION_DENIED, message)
    if error.is_invalid:
        message = (
            f"spec.secretTemplate: the API server does not accept {_secret(want)}: check its labels and "
            "annotations, and that it is not immutable"
        )
        return Refused(Reason.INVALID_SPEC, message)
    raise error


def stray_deleted(want: KeyWant, key_id: str) -> str:
    """Return the message about a deleted key that only its creation time marks as the operator's."""
    return (
        f"key {key_id} of {want.home.name} is deleted: it was created while the operator was interrupted in "
        "creating one, so that its private key is lost; a user who created it has to create another"
    )


def last_use_ignored(want: KeyWant) -> str:
    """Return why the last uses of keys are not read, and the field that changes it."""
    return f"spec.lastUse of ManagedProject {want.obj.spec.project_ref.name} is Ignore; set it to Report"


def enabled_again(want: KeyWant, record: LedgerKey) -> str:
    """Return the message about a former key that another user enabled after the operator disabled it."""
    latest = disable_due(record, want.rotation) if record.state is KeyState.OVERLAP else None
    until = f"; it works until {latest:%Y-%m-%dT%H:%M:%SZ} at the latest" if latest else ""
    return (
        f"key {record.id} of {want.home.name} was enabled again after the operator disabled it, and is not "
        f"deleted while it is enabled{until}; let its clients read {_secret(want)}, which has the current "
        f"key, then disable it: gcloud iam service-accounts keys disable {record.id} "
        f"--iam-account={want.home.name}"
    )


def may_be_in_use(want: KeyWant, key_id: str, why: str, now: datetime) -> str:
    """Return the message about a key that is disabled although it may be in use; empty without a reason."""
    if not why:
        return ""
    deleted = now + want.rotation.overlap
    return (
        f"key {key_id} of {want.home.name} is disabled after spec.rotation.maxOverlap, although it may be in "
        f"use: {why}; it is deleted after {deleted:%Y-%m-%dT%H:%M:%SZ}, unless it is enabled again until "
        f"then: gcloud iam service-accounts keys enable {key_id} "
        f"--iam-account={want.home.name}"
    )


def _permissions(want: KeyWant) -> str:
    """Return the chart values that give the operator access to the Secret."""
    namespace = want.obj.metadata.namespace
    return (
        f"in the values of the chart, set keys.enabled to true and add {namespace} to keys.namespaces, which "
        "permits it to get, create, patch and delete the Secrets of that namespace"
    )


def _secret(want: KeyWant) -> str:
    return f"Secret {want.obj.metadata.namespace}/{want.secret_name}"
