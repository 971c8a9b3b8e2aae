"""An IdentityKey, its project and identity, and what is seen of its keys, for what the controller decides."""

from datetime import UTC, datetime, timedelta
from typing import Any

from cloudrun_identity.api import IdentityKey, KeyState, LedgerKey, ManagedProject, TargetKind
from cloudrun_identity.controllers.identity_key.controller import IdentityKeyController, KeyWant
from cloudrun_identity.controllers.identity_key.rotation import KeyRotation
from cloudrun_identity.controllers.identity_key.use import KeysSeen
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.listed_keys import ListedKey
from cloudrun_identity.kube.event_recorder import EventType
from cloudrun_identity.kube.secrets import KeySecret
from cloudrun_identity.ledger.keys import KeyRing
from cloudrun_identity.reconcile.events import EventReporter
from cloudrun_identity.reconcile.preconditions import Allowed, Blocked
from tests.unit.controllers.cluster_state import EMAIL, FakeWorld, identity, project, record
from tests.unit.policy.fakes import FakeLedgers

NONE: Any = None
NOON = datetime(2030, 1, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
OWNER = "payments/checkout"
ACCOUNT = Target(TargetKind.SERVICE_ACCOUNT, "payments-prod-1234", name=EMAIL)


class Events:
    """What is told of the object, by reason."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def record(self, obj: Any, event_type: EventType, reason: str, message: str) -> None:
        assert event_type is (EventType.WARNING if reason == "StrayKeyDeleted" else EventType.NORMAL)
        self.told.append((reason, message))


def event_reporter(events: Events | None = None) -> EventReporter:
    return EventReporter(events or Events(), NONE)


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
    return project(guardrails={"keys": "Allowed"} | guardrails)


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


def controller() -> IdentityKeyController:
    """One that decides, and is never asked to do anything."""
    return IdentityKeyController(
        KeyRotation(NONE, NONE, FakeLedgers(), event_reporter(), lambda: NOON, lambda _: None)
    )


def wanted(*records: LedgerKey, **spec: Any) -> tuple[IdentityKeyController, KeyWant]:
    """A controller, and what it wants, where the ledger has these records."""
    ledgers = FakeLedgers()
    ring = KeyRing().with_records(records)
    ledgers.stored[ACCOUNT] = ledgers.ledger(ACCOUNT).with_key_ring(ring)
    cluster = FakeWorld(delegated(), identity(), accounts=[record()])
    cluster.rings = {ACCOUNT: ring}
    decider = IdentityKeyController(
        KeyRotation(NONE, NONE, ledgers, event_reporter(), lambda: NOON, lambda _: None)
    )
    want = decider.resolve(declared(**spec), Allowed(delegated(), observe=False), cluster)
    assert not isinstance(want, Blocked)
    return decider, want
