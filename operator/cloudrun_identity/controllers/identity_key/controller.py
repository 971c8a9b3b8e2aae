"""IdentityKey: keys of an identity's account, one after the other, each delivered in one Secret."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

from cloudrun_identity.api import IdentityKey, KeyDeletionPolicy, KeyState, KeyStatus, LedgerKey, Reason
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.admission import Denied, may_make_keys
from cloudrun_identity.ledger.keys import KeyRing
from cloudrun_identity.reconcile.cluster_state import ClusterState, ObjectKey, identity_key, project_key
from cloudrun_identity.reconcile.grants.resolver import RequestedGrant
from cloudrun_identity.reconcile.interfaces import Applied, Change, Summary
from cloudrun_identity.reconcile.outcomes import InSync, Outcome, Refused, Waiting
from cloudrun_identity.reconcile.preconditions import (
    Allowed,
    Blocked,
    guardrail_facts,
    missing,
    not_ready,
    unresolved,
)

from .plan import (
    Act,
    Await,
    CloseAttempt,
    Delete,
    Disable,
    Forget,
    Full,
    Make,
    Promote,
    Publish,
    Rest,
    delete_due,
    disable_due,
    rotation_due,
)
from .rotation import KeyRotation
from .use import KeysSeen, KeyUse


@dataclass(frozen=True, slots=True)
class KeyWant:
    """The keys as declared."""

    use: KeyUse
    cluster: ClusterState

    @property
    def ring(self) -> KeyRing:
        """What is remembered of the account's keys."""
        return self.cluster.key_ring(self.use.account)


class IdentityKeyController:
    """The life of an IdentityKey."""

    kind = IdentityKey

    def __init__(self, rotation: KeyRotation) -> None:
        self._rotation = rotation

    def references(self, obj: IdentityKey) -> frozenset[ObjectKey]:
        """Its project and its identity."""
        identity = identity_key(obj.metadata.namespace, obj.spec.identity_ref.name)
        return frozenset({project_key(obj.spec.project_ref.name), identity})

    def declares(self, obj: IdentityKey) -> str:
        """The Secret: of two objects the older has it."""
        return f"{obj.metadata.namespace}/{obj.spec.secret_name}"

    def resolve(self, obj: IdentityKey, allowed: Allowed, cluster: ClusterState) -> KeyWant | Blocked:
        """The keys of the identity's account, if the project admits any, and the account is as it should."""
        decision = may_make_keys(
            allowed.project, obj.metadata.namespace, guardrail_facts(allowed.project, cluster)
        )
        if isinstance(decision, Denied):
            return Blocked(Refused(Reason.DENIED_BY_GUARDRAIL, decision.reason))
        name = identity_key(obj.metadata.namespace, obj.spec.identity_ref.name)
        identity = cluster.identity(obj.metadata.namespace, obj.spec.identity_ref.name)
        if identity is None:
            return unresolved(missing(name, cluster, "spec.identityRef"))
        record, home = cluster.account(identity), cluster.account_home(identity)
        if record is None or home is None or not record.is_steady:
            return unresolved(not_ready(f"the account of {name}", "spec.identityRef"))
        if home.project_id != allowed.project_id:
            message = f"spec.projectRef: the account of {name} is in project {home.project_id}"
            return Blocked(Refused(Reason.INVALID_SPEC, message))
        if record.disabled or identity.spec.disabled:
            message = (
                f"spec.identityRef: {name} is disabled, so that none of its keys works; they are left as "
                "they are until its spec.disabled is false again"
            )
            return unresolved(Waiting(Reason.DEPENDENCY_NOT_READY, message))
        return KeyWant(KeyUse(obj, home, record.unique_id), cluster)

    async def observe(self, want: KeyWant, max_age: float) -> KeysSeen:
        """The keys of the account and the Secret."""
        return await self._rotation.look(want.use, max_age)

    def diff(self, want: KeyWant, seen: KeysSeen) -> tuple[Change, ...]:
        """What is to be done next; where somebody did something to the Secret or a key, what that was."""
        secret = f"Secret {want.use.obj.spec.secret_name}"
        if seen.barred or seen.is_taken:
            return (Change(secret, "unreadable" if seen.barred else "somebody else's", "with the key"),)
        step = self._rotation.next_step(want.use, seen)
        if isinstance(step, Rest):
            labelled = seen.secret is None or want.use.template.is_on(seen.secret)
            return () if labelled else (Change(secret, "without its labels and annotations", "with them"),)
        harm = _harm(want, seen)
        if harm and isinstance(step, Make | Forget):
            return (Change(*harm, "followed by another"),)
        return (_due(step, secret),)

    async def apply(self, want: KeyWant, seen: KeysSeen, changes: tuple[Change, ...]) -> Applied[KeysSeen]:
        """Do what is due."""
        if not changes:
            return Applied(self._rotation.rest(want.use, seen), seen)
        return Applied(*await self._rotation.advance(want.use))

    def requested_grants(self, want: KeyWant, cluster: ClusterState) -> tuple[RequestedGrant, ...]:
        """None."""
        return ()

    def summarize(self, want: KeyWant, seen: KeysSeen) -> Summary:
        """The keys by their ids and times."""
        records, rotation = want.ring.of(want.use.name), want.use.rotation
        active = next((each for each in records if each.state is KeyState.ACTIVE), None)
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
                    )
                    for each in records
                ),
                "next_rotation_time": rotation_due(active, rotation) if active else None,
            },
            issues=(*_unclear(records), *_expiring(want, active)),
        )

    async def delete(self, obj: IdentityKey, cluster: ClusterState, *, abandon: bool) -> Outcome:
        """Retire the keys and delete the Secret, or leave both."""
        abandon = abandon or obj.spec.deletion_policy is KeyDeletionPolicy.ABANDON
        home = cluster.key_home(obj)
        if home:
            use = KeyUse(obj, *home)
            outcome = InSync() if abandon else await self._retire(use)
            if not isinstance(outcome, InSync):
                return outcome
            await self._rotation.forget(use)
        await self._rotation.part_with_secret(obj, abandon=abandon)
        return InSync()

    async def _retire(self, use: KeyUse) -> Outcome:
        try:
            outcome, _ = await self._rotation.advance(use, ending=True)
        except GoogleError as error:
            if error.fault is not Fault.NOT_FOUND:
                raise
            return InSync()  # the account is gone, and its keys with it
        return outcome


def _harm(want: KeyWant, seen: KeysSeen) -> tuple[str, str] | None:
    """What somebody did to the active key or the Secret, and to which of them; None if nobody did."""
    records, secret = want.ring.of(want.use.name), want.use.obj.spec.secret_name
    active = next((each for each in records if each.state is KeyState.ACTIVE), None)
    if active is None:
        return None
    if seen.secret is None:
        return f"Secret {secret}", "deleted"
    if (seen.secret.key_id, seen.secret.digest) != (active.id, active.digest):
        return f"Secret {secret}", "edited"
    listed = seen.listed.get(active.id)
    if listed is None:
        return f"key {active.id}", "deleted"
    return (f"key {active.id}", "disabled") if listed.disabled else None


def _due(step: Act | Await | Full, secret: str) -> Change:
    """The step that time, or an edit, has brought."""
    match step:
        case Make() | Full():
            field, before, after = "key", "absent", "made"
        case Publish(key_id):
            field, before, after = secret, "without the newest key", f"with key {key_id}"
        case Promote(key_id):
            field, before, after = f"key {key_id}", "published", "active"
        case Disable(key_id):
            field, before, after = f"key {key_id}", "enabled", "disabled"
        case Delete(key_id):
            field, before, after = f"key {key_id}", "present", "deleted"
        case Forget(key_id):
            field, before, after = f"key {key_id}", "recorded", "forgotten"
        case CloseAttempt() | Await():
            field, before, after = "key", "cut short in the making", "accounted for"
        case _:
            assert_never(step)
    return Change(field, before, after, due=True)


def _unclear(records: Iterable[LedgerKey]) -> Iterable[str]:
    """Say which keys may be the operator's and may be not."""
    unclear = [each.id for each in records if each.state is KeyState.UNCLEAR]
    if unclear:
        yield (
            f"making a key was cut short while somebody else made one: nobody knows which of "
            f"{', '.join(unclear)} is whose; delete those that nobody uses"
        )


def _expiring(want: KeyWant, active: LedgerKey | None) -> Iterable[str]:
    """Say that Google ends keys sooner than is declared."""
    period = want.use.rotation.period
    if active and active.expiry_time and active.expiry_time < active.created_time + period:
        yield (
            f"Google Cloud ends keys of this account after {active.expiry_time - active.created_time} "
            "(iam.serviceAccountKeyExpiryHours), before spec.rotation.period; they are followed in time"
        )
