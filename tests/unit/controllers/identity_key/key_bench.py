"""An IdentityKey, its project and identity, and what is seen of its keys, for what the controller decides."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from cloudrun_identity.api import IdentityKey, KeyState, LedgerKey, ManagedProject, TargetKind
from cloudrun_identity.controllers.identity_key.assumption import KeyAssumption
from cloudrun_identity.controllers.identity_key.controller import IdentityKeyController
from cloudrun_identity.controllers.identity_key.execution import KeyExecution
from cloudrun_identity.controllers.identity_key.key_records import KeyLedgers, KeyRecords
from cloudrun_identity.controllers.identity_key.key_state import KeysSeen, KeyWant
from cloudrun_identity.gcp.last_use import LastUses
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.listed_keys import ListedKey
from cloudrun_identity.kube.secrets import KeySecret
from cloudrun_identity.ledger.keys import KeyRing
from cloudrun_identity.reconcile.preconditions import Allowed
from tests.unit.controllers.cluster_state import EMAIL, FakeClusterState, identity, project, record
from tests.unit.policy.fakes import FakeLedgers

NONE: Any = None
NOON = datetime(2030, 1, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
OWNER = "payments/checkout"
ACCOUNT = Target(TargetKind.SERVICE_ACCOUNT, "payments-prod-1234", name=EMAIL)


def declared(**spec: Any) -> IdentityKey:
    return IdentityKey.model_validate(
        {
            "metadata": {"name": "checkout", "namespace": "payments", "uid": "u-key", "generation": 1},
            "spec": {
                "projectRef": {"name": "payments-prod"},
                "identityRef": {"name": "checkout"},
                "secretName": "checkout-key",
                **spec,
            },
        }
    )


def delegated(**guardrails: Any) -> ManagedProject:
    return project(guardrails={"keys": "Allowed", "keyNamespaces": ["payments"]} | guardrails)


def key(key_id: str = "k1", **fields: Any) -> LedgerKey:
    """A record of a key of the object, made at noon; by default the active one."""
    return LedgerKey(
        **{
            "id": key_id,
            "owner": OWNER,
            "state": KeyState.ACTIVE,
            "created_time": NOON,
            "digest": f"digest of {key_id}",
            **fields,
        }
    )


def secret(retains: str = "k1", **fields: Any) -> KeySecret:
    """The object's Secret with the file of a key."""
    return KeySecret(
        **{
            "name": "checkout-key",
            "uid": "u-secret",
            "version": "1",
            "is_owned": True,
            "key_id": retains,
            "digest": f"digest of {retains}",
            **fields,
        }
    )


def seen(*listed: ListedKey, has: KeySecret | None = NONE, now: datetime = NOON, **more: Any) -> KeysSeen:
    return KeysSeen(now, {each.key_id: each for each in listed}, has, **more)


def ring_of(*records: LedgerKey) -> KeyRing:
    return KeyRing().with_records(records)


def controller_with(
    keys: Any,
    secrets: Any,
    ledgers: KeyLedgers,
    clock: Callable[[], datetime],
    checkpoint: Callable[[str], None] = lambda step: None,
    last_uses: LastUses | None = None,
) -> IdentityKeyController:
    records = KeyRecords(ledgers)
    execution = KeyExecution(keys, secrets, records, clock, checkpoint, last_uses)
    return IdentityKeyController(execution, KeyAssumption(records, lambda: NOON))


def controller() -> IdentityKeyController:
    """A controller that only decides."""
    return controller_with(NONE, NONE, FakeLedgers(), lambda: NOON)


def wanted(**spec: Any) -> KeyWant:
    """The keys of an identity that is ready, as declared."""
    cluster = FakeClusterState(delegated(), identity(), accounts=[record()])
    want = controller().resolve(declared(**spec), Allowed(delegated(), observe=False), cluster)
    assert isinstance(want, KeyWant)
    return want
