"""The plan for the keys of one object: create → publish → overlap → disable → delete.

The plan is pure. Each action is recorded before the next one, so that the plan is right again after a crash.
It keeps two promises: the key in the Secret works, and continues to work for `overlap` after the Secret got
another one; and no key stays without a record.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from cloudrun_identity.api import KeyState, LedgerKey, Reason
from cloudrun_identity.iam.listed_keys import MAX_KEYS
from cloudrun_identity.kube.secrets import KeySecret
from cloudrun_identity.reconcile.steps import Change, Fail, Plan, Refuse, Wait

from .actions import (
    CloseAttempt,
    CreateKey,
    DeleteKey,
    DeleteSecret,
    DisableKey,
    ForgetKey,
    ForgetKeys,
    KeyAction,
    LeaveKeys,
    PromoteKey,
    PublishKey,
    RelabelSecret,
    ReleaseSecret,
    ResumeOverlap,
    TakeBackKeys,
    TakeBackSecret,
)
from .key_state import (
    LAG,
    KeysSeen,
    KeyWant,
    delete_due,
    resume_due,
    rotation_due,
)
from .outcomes import (
    ATTEMPT_WAITS,
    NEXT_KEY_WAITS,
    account_full,
    enabled_again,
    may_be_in_use,
    secret_forbidden,
    secret_taken,
    stray_deleted,
)
from .own_keys import OwnKeys

SKEW = timedelta(minutes=1)
"""Difference that is possible between Google's clock and the operator's."""

SETTLE = timedelta(minutes=1)
"""Time for which a new key is held back while the former one works: Google may not know it everywhere sooner.

https://cloud.google.com/iam/docs/keys-create-delete has "60 seconds or more".
"""


def plan(want: KeyWant, seen: KeysSeen) -> Plan[KeyAction]:
    """Return the next steps; those after them depend on what Google Cloud answers.

    The time is `seen.now`, by the clock that dates the records.
    """
    keys = OwnKeys(want, seen)
    if want.deletes:
        return _plan_deletion(keys)
    if seen.is_forbidden:
        return Plan((Fail(secret_forbidden(want), (Change(keys.secret, "unreadable", "with the key"),)),))
    if seen.ring.left_by(want.name):
        return Plan((TakeBackKeys(want.home.full_name, (_taken_back("keys"),)),))
    if seen.is_left_secret(want):
        return Plan((TakeBackSecret(keys.secret, (_taken_back(keys.secret),)),))
    if seen.is_taken:
        return Plan((Refuse(*secret_taken(want), (Change(keys.secret, "unmanaged", "with the key"),)),))
    step = _after_attempt(keys)
    return Plan((step,)) if step else _plan_rotation(keys)


def _after_attempt(keys: OwnKeys) -> DeleteKey | CloseAttempt | Wait | None:
    """Return what to do about an interrupted creation; None if there is none."""
    attempt, now = keys.seen.ring.attempt, keys.seen.now
    if attempt is None:
        return None
    if attempt.time - LAG < now < attempt.time + LAG:  # beyond it on either side, the clock was changed
        after = keys.seconds_until(attempt.time + LAG)
        return Wait(Reason.UPDATING, ATTEMPT_WAITS, after, (_ATTEMPT_CHANGE,))
    strays = tuple(
        key
        for key_id, key in sorted(keys.seen.listed.items())
        if key_id not in attempt.known
        and key_id not in keys.seen.ring.records
        and attempt.time - SKEW <= key.created <= attempt.time + LAG
    )
    if len(strays) == 1 and keys.want.unique_id:  # the e-mail alone may name a later account
        key_id = strays[0].key_id
        return _delete(keys, key_id, stray_deleted(keys.want, key_id))
    return CloseAttempt(keys.want.home.full_name, (_ATTEMPT_CHANGE,), unclear=strays)


def _plan_rotation(keys: OwnKeys) -> Plan[KeyAction]:
    seen, rotation = keys.seen, keys.want.rotation
    deleted = next((each for each in keys.own if keys.is_deleted(each)), None)
    if deleted:
        return Plan((_forget(keys, deleted.id),))
    current, following = keys.current, keys.following
    if current is None:
        return Plan((_publish(keys, following.id) if following else _create(keys),))
    if current.state is KeyState.PUBLISHING:
        return Plan((_promote(keys, current.id),))
    if following and not following.created_time - SETTLE < seen.now < following.created_time + SETTLE:
        return Plan((_publish(keys, following.id),))
    requested = current.generation != rotation.generation
    if not following and (requested or keys.is_past(rotation_due(current, rotation))):
        return Plan((_create(keys),))
    if retired := _retire(keys):
        return Plan((retired,))
    due = keys.seconds_until(min(_due_times(keys, current, following)))
    relabeled = () if seen.secret is None else _relabel(keys, seen.secret)
    waits = (Wait(Reason.UPDATING, NEXT_KEY_WAITS, due),) if requested else ()
    return Plan((*relabeled, *waits), due)


def _plan_deletion(keys: OwnKeys) -> Plan[KeyAction]:
    want, seen = keys.want, keys.seen
    if want.account and not want.abandon and not seen.account_deleted:
        step = _after_attempt(keys) or _end(keys)
        if step:
            return Plan((step,))
    if want.account and want.name in seen.ring.owners:
        forget = LeaveKeys if want.abandon else ForgetKeys
        return Plan((forget(want.account.full_name),))
    if seen.is_forbidden:
        return Plan((Fail(secret_forbidden(want)),))
    if seen.secret is None or not seen.secret.is_owned:
        return Plan()
    return Plan((ReleaseSecret(keys.secret) if want.abandon else DeleteSecret(keys.secret),))


def _end(keys: OwnKeys) -> DisableKey | DeleteKey | ForgetKey | Wait | None:
    """Return the next step that retires every key of the object; None once it has none."""
    record = next(iter(keys.own), None)
    if record is None:
        return None
    if record.state is KeyState.UNCLEAR or keys.is_deleted(record):
        return _forget(keys, record.id)
    if record.id not in keys.seen.listed:
        message = f"Key {record.id} was just created; waiting until Google Cloud shows it"
        return Wait(Reason.UPDATING, message, keys.seconds_until(record.created_time + LAG))
    return (_delete if record.state is KeyState.DISABLED else _disable)(keys, record.id)


def _create(keys: OwnKeys) -> DisableKey | ResumeOverlap | DeleteKey | CreateKey | Fail:
    """Create a key, or first make room for it in a full account."""
    change = Change("key", "absent", "created", due=True)
    if len(keys.seen.listed) < MAX_KEYS:
        return CreateKey(f"{keys.want.home.full_name}/keys", (keys.harm or change,))
    disabled = [
        each for each in keys.retirable if each.state is KeyState.DISABLED and not keys.is_enabled_again(each)
    ]
    room = _retire(keys) or (_delete(keys, disabled[0].id) if disabled else None)
    return room or Fail(account_full(keys.seen.listed), (change,))


def _retire(keys: OwnKeys) -> DisableKey | ResumeOverlap | DeleteKey | None:
    """Return what is due for the keys that the Secret does not have."""
    rotation = keys.want.rotation
    for record in keys.retirable:
        match record.state:
            case KeyState.PUBLISHING if record.id not in keys.seen.publishable:
                return _delete(keys, record.id)
            case KeyState.OVERLAP if (decided := keys.retirement(record)) and decided.is_due:
                return _disable(
                    keys, record.id, may_be_in_use(keys.want, record.id, decided.why, keys.seen.now)
                )
            case KeyState.DISABLED if keys.is_enabled_again(record):
                if keys.is_past(resume_due(record)):
                    return _resume(keys, record)
            case KeyState.DISABLED if keys.is_past(delete_due(record, rotation)):
                return _delete(keys, record.id)
    return None


def _due_times(keys: OwnKeys, current: LedgerKey, following: LedgerKey | None) -> Iterable[datetime]:
    """Return the times of the next steps."""
    rotation = keys.want.rotation
    yield following.created_time + SETTLE if following else rotation_due(current, rotation)
    for record in keys.retirable:
        decided = keys.retirement(record) if record.state is KeyState.OVERLAP else None
        due = decided.next_look if decided else delete_due(record, rotation)
        if record.state is KeyState.DISABLED and keys.is_enabled_again(record):
            due = resume_due(record)
        if due:
            yield due


_ATTEMPT_CHANGE = Change("key", "interrupted in its creation", "accounted for", due=True)


def _taken_back(what: str) -> Change:
    return Change(what, "left by a deleted object of this name", "taken back", due=True)


def _publish(keys: OwnKeys, key_id: str) -> PublishKey:
    change = Change(keys.secret, "without the newest key", f"with key {key_id}", due=True)
    return PublishKey(keys.secret, (change,), key_id=key_id)


def _promote(keys: OwnKeys, key_id: str) -> PromoteKey:
    change = Change(f"key {key_id}", "published", "active", due=True)
    name = keys.want.secret_name
    return PromoteKey(keys.want.key_resource(key_id), (change,), key_id=key_id, secret_name=name)


def _disable(keys: OwnKeys, key_id: str, warning: str = "") -> DisableKey:
    change = Change(f"key {key_id}", "enabled", "disabled", due=True)
    return DisableKey(keys.want.key_resource(key_id), (change,), key_id=key_id, warning=warning)


def _resume(keys: OwnKeys, record: LedgerKey) -> ResumeOverlap:
    change = Change(f"key {record.id}", "enabled by another user", "in overlap again")
    resumed = record.replace(state=KeyState.OVERLAP, superseded_time=keys.seen.now)
    warning, resource = enabled_again(keys.want, resumed), keys.want.key_resource(record.id)
    return ResumeOverlap(resource, (change,), key_id=record.id, warning=warning)


def _delete(keys: OwnKeys, key_id: str, warning: str = "") -> DeleteKey:
    change = Change(f"key {key_id}", "present", "deleted", due=True)
    return DeleteKey(keys.want.key_resource(key_id), (change,), key_id=key_id, warning=warning)


def _forget(keys: OwnKeys, key_id: str) -> ForgetKey:
    change = Change(f"key {key_id}", "recorded", "forgotten", due=True)
    harm = None if keys.want.deletes else keys.harm
    return ForgetKey(keys.want.key_resource(key_id), (harm or change,), key_id=key_id)


def _relabel(keys: OwnKeys, secret: KeySecret) -> tuple[RelabelSecret, ...]:
    changes = tuple(
        Change(f"{each.field} of {keys.secret}", each.before, each.after)
        for each in keys.want.template.changes_of(secret)
    )
    return (RelabelSecret(keys.secret, changes),) if changes else ()
