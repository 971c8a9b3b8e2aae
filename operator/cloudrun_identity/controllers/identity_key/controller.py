"""IdentityKey: keys of an identity's service account, one after the other, each delivered in one Secret."""

from collections.abc import Iterable
from datetime import datetime

from cloudrun_identity.api import (
    IdentityKey,
    KeyDeletionPolicy,
    KeyState,
    KeyStatus,
    LastUse,
    LedgerKey,
    Reason,
)
from cloudrun_identity.gcp.observed_uses import Unknown, date_of
from cloudrun_identity.iam.admission import Denied, may_make_keys
from cloudrun_identity.reconcile.cluster_state import ClusterState, ObjectKey, identity_key, project_key
from cloudrun_identity.reconcile.guardrail_checks import guardrail_facts
from cloudrun_identity.reconcile.interfaces import Executed, ExternalResource, Summary
from cloudrun_identity.reconcile.outcomes import Refused, Waiting
from cloudrun_identity.reconcile.preconditions import Allowed, Blocked, unresolved
from cloudrun_identity.reconcile.references import account_not_ready, missing
from cloudrun_identity.reconcile.refusals import refusal
from cloudrun_identity.reconcile.steps import Plan

from .actions import KeyAction
from .assumption import KeyAssumption
from .execution import KeyExecution
from .key_state import (
    KeyEvidence,
    KeysSeen,
    KeyWant,
    delete_due,
    disable_due,
    is_enabled_again,
    resume_due,
    rotation_due,
)
from .outcomes import enabled_again
from .plan import SETTLE, plan
from .retirement import report, retirement


class IdentityKeyController(ExternalResource[IdentityKey, KeyWant, KeysSeen, KeyAction]):
    """Reconciles the keys of an object and its Secret."""

    kind = IdentityKey

    def __init__(self, execution: KeyExecution, assumption: KeyAssumption) -> None:
        self._execution = execution
        self._assumption = assumption

    def references(self, obj: IdentityKey) -> frozenset[ObjectKey]:
        """Return its project and its identity."""
        identity = identity_key(obj.metadata.namespace, obj.spec.identity_ref.name)
        return frozenset({project_key(obj.spec.project_ref.name), identity})

    def declares(self, obj: IdentityKey) -> str:
        """Return the Secret: of two objects with one Secret, the older one has effect."""
        return f"{obj.metadata.namespace}/{obj.spec.secret_name}"

    def resolve(self, obj: IdentityKey, allowed: Allowed, cluster: ClusterState) -> KeyWant | Blocked:
        """Return the keys of the identity's account, if the project admits keys and the account is ready."""
        decision = may_make_keys(
            allowed.project, obj.metadata.namespace, guardrail_facts(allowed.project, cluster)
        )
        if isinstance(decision, Denied):
            return Blocked(refusal(decision))
        name = identity_key(obj.metadata.namespace, obj.spec.identity_ref.name)
        identity = cluster.identity(obj.metadata.namespace, obj.spec.identity_ref.name)
        if identity is None:
            return unresolved(missing(name, cluster, "spec.identityRef"))
        record, home = cluster.account(identity), cluster.account_home(identity)
        if record is None or home is None or not record.is_steady:
            return unresolved(account_not_ready(record, name, "spec.identityRef"))
        if home.project_id != allowed.project_id:
            message = f"spec.projectRef: the account of {name} is in project {home.project_id}"
            return Blocked(Refused(Reason.INVALID_SPEC, message))
        if record.disabled or identity.spec.disabled:
            message = (
                f"spec.identityRef: {name} is disabled, so that none of its keys works; they are left as "
                "they are until its spec.disabled is false again"
            )
            return unresolved(Waiting(Reason.DEPENDENCY_NOT_READY, message))
        reads_last_use = allowed.project.spec.last_use is LastUse.REPORT
        return KeyWant(obj, home, record.unique_id, reads_last_use=reads_last_use)

    def resolve_deletion(self, obj: IdentityKey, cluster: ClusterState, *, abandon: bool) -> KeyWant | None:
        """Return the keys to retire and the Secret to delete."""
        account, unique_id = cluster.key_home(obj) or (None, "")
        abandon = abandon or obj.spec.deletion_policy is KeyDeletionPolicy.ABANDON
        return KeyWant(obj, account, unique_id, deletes=True, abandon=abandon)

    def describe(self, want: KeyWant) -> str:
        """Return the object, as plans name it: the id of a key is not known before it exists."""
        return str(ObjectKey.of(want.obj))

    def depends_on_policies_alone(self, obj: IdentityKey) -> bool:
        """Return False: the keys are read."""
        return False

    async def observe(self, want: KeyWant, max_age: float) -> KeysSeen:
        """Return the keys of the account and the Secret."""
        return self._assumption.observed(want) or await self._execution.observe(want, max_age)

    def plan(self, want: KeyWant, seen: KeysSeen, now: datetime) -> Plan[KeyAction]:
        """Return the next steps, at the time of the observation: records have a clock of their own."""
        return plan(want, seen)

    async def execute(self, action: KeyAction, want: KeyWant, seen: KeysSeen) -> Executed[KeysSeen]:
        """Execute one action; raises GoogleError and KubeError."""
        return await self._execution.execute(action, want, seen)

    async def assume(self, action: KeyAction, want: KeyWant, seen: KeysSeen) -> KeysSeen:
        """Return what the action would leave behind, without a call to Google Cloud."""
        return await self._assumption.assume(action, want, seen)

    def summarize(self, want: KeyWant, seen: KeysSeen) -> Summary:
        """Return the keys by their ids and times."""
        records, rotation = seen.ring.of(want.name), want.rotation
        active = next((each for each in records if each.state is KeyState.ACTIVE), None)
        in_use = tuple(_in_use(want, seen))
        warnings = [("FormerKeyInUse", message) for message, is_warning in in_use if is_warning]
        return Summary(
            {
                "active_key_id": active.id if active else None,
                "keys": tuple(
                    KeyStatus(
                        id=each.id,
                        state=each.state,
                        created_time=each.created_time,
                        disable_after=disable_due(each, rotation),
                        delete_after=delete_due(each, rotation),
                        last_used=_last_used(want, seen, each.id),
                    )
                    for each in records
                ),
                "last_used": _last_used(want, seen, active.id) if active else None,
                "next_rotation_time": rotation_due(active, rotation) if active else None,
            },
            issues=(
                *_unclear(records),
                *_expiring(want, active),
                *_enabled_again(want, seen),
                *(dict(in_use) or _ignored(want, seen)),
            ),
            notices=dict(warnings[-1:]),
            uncertain=_propagation(active),
        )


def _propagation(active: LedgerKey | None) -> str:
    """Return that a key may not work at once (https://cloud.google.com/iam/docs/keys-create-delete)."""
    if active is None:
        return ""
    works = active.created_time + SETTLE
    return f"Google Cloud may not accept key {active.id} everywhere before {works:%Y-%m-%dT%H:%M:%SZ}"


def _unclear(records: Iterable[LedgerKey]) -> Iterable[str]:
    """Report the keys of which one may be the operator's."""
    unclear = [each.id for each in records if each.state is KeyState.UNCLEAR]
    if unclear:
        yield (
            "The creation of a key was interrupted while another user created one: it is not known which of "
            f"{', '.join(unclear)} the operator created; delete those that are not in use"
        )


def _last_used(want: KeyWant, seen: KeysSeen, key_id: str) -> str | None:
    """Return the date of the last use of a key: the former one while the answer has not arrived."""
    match seen.evidence:
        case KeyEvidence(analyzer=Unknown(is_pending=True), remedy=""):
            return next((each.last_used for each in want.obj.status.keys if each.id == key_id), None)
        case KeyEvidence(analyzer=analyzer):
            return date_of(analyzer, key_id)


def _in_use(want: KeyWant, seen: KeysSeen) -> Iterable[tuple[str, bool]]:
    """Report the former keys that work for longer than the overlap, and whether each is a warning."""
    for record in seen.ring.of(want.name):
        if record.state is not KeyState.OVERLAP:
            continue
        decided = retirement(record, want.rotation, seen.evidence, seen.now)
        if decided and (message := report(record, decided)):
            yield message, decided.is_warning


def _enabled_again(want: KeyWant, seen: KeysSeen) -> Iterable[str]:
    """Report the former keys that another user enabled after the operator disabled them."""
    for record in seen.ring.of(want.name):
        if is_enabled_again(record, want.rotation, seen) and resume_due(record) <= seen.now:
            yield enabled_again(want, record)


def _ignored(want: KeyWant, seen: KeysSeen) -> Iterable[str]:
    """Report that former keys work for the longest time, because last uses are not read."""
    if want.rotation.depends_on_use and seen.evidence.remedy:
        yield f"spec.rotation.requireUnused: former keys work for maxOverlap: {seen.evidence.remedy}"


def _expiring(want: KeyWant, active: LedgerKey | None) -> Iterable[str]:
    """Report that keys expire before the declared rotation."""
    if active and active.expiry_time and active.expiry_time < active.created_time + want.rotation.period:
        yield (
            f"Keys of this account expire after {active.expiry_time - active.created_time} "
            "(iam.serviceAccountKeyExpiryHours), before spec.rotation.period; each is replaced in time"
        )
