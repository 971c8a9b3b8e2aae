"""Manage does what Observe and the dry run report, in every state of the keys of an object."""

import base64
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from typing import Any

import pytest

from cloudrun_identity.api import GROUP, KeyState, LedgerKey, LedgerKeyAttempt, Reason
from cloudrun_identity.controllers.identity_key.key_state import KeyWant
from cloudrun_identity.iam.listed_keys import MAX_KEYS, ListedKey
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.resources import SECRETS, Resource
from cloudrun_identity.kube.secrets import digest_of
from cloudrun_identity.ledger.keys import KeyRing
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Outcome, Paused, Refused, Waiting
from tests.unit.controllers.agreement import AnyResource, agreement
from tests.unit.controllers.identity_key.fake_keys import Process, file_of
from tests.unit.controllers.identity_key.key_bench import DAY, NOON, key, wanted
from tests.unit.kube.fake_api import FakeApi

HOUR = timedelta(hours=1)


def made(key_id: str, **fields: Any) -> LedgerKey:
    """The record of a key with its credentials file."""
    return key(key_id, **{"digest": digest_of(file_of(key_id)), **fields})


ACTIVE = made("k1")
FORMER = made("k0", state=KeyState.OVERLAP, created_time=NOON - DAY, superseded_time=NOON - HOUR)
RINGS: dict[str, KeyRing] = {
    "no key": KeyRing(),
    "active": KeyRing().with_records([ACTIVE]),
    "published": KeyRing().with_records([ACTIVE.replace(state=KeyState.PUBLISHING)]),
    "next one lost": KeyRing().with_records([ACTIVE, made("k2", state=KeyState.PUBLISHING)]),
    "overlap": KeyRing().with_records([ACTIVE, FORMER]),
    "disabled": KeyRing().with_records(
        [ACTIVE, FORMER.replace(state=KeyState.DISABLED, disabled_time=NOON - HOUR)]
    ),
    "unclear": KeyRing().with_records([ACTIVE, made("k7", state=KeyState.UNCLEAR)]),
    "attempt": KeyRing(
        attempt=LedgerKeyAttempt(owner="payments/checkout", time=NOON, known=frozenset({"k0", "k1"}))
    ),
}
KEYS: dict[str, dict[str, ListedKey]] = {
    "no keys": {},
    "keys": {name: ListedKey(name, NOON) for name in ("k0", "k1", "k2", "k7")},
    "disabled keys": {name: ListedKey(name, NOON, disabled=True) for name in ("k0", "k1")},
    "full": {name: ListedKey(name, NOON) for name in ("k1", *(f"other-{n}" for n in range(MAX_KEYS - 1)))},
}
SECRET_STATES = ("no secret", "secret", "secret with labels", "edited", "taken", "forbidden")
TIMES = {"at once": timedelta(), "later": HOUR, "much later": 40 * DAY}
LABELS = {"app": "checkout"}


@lru_cache
def want_of(generation: int) -> KeyWant:
    return wanted(secretTemplate={"labels": LABELS}, rotation={"generation": generation})


class ForbiddenSecrets(FakeApi):
    """An API server that lets the operator read no Secret."""

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Any:
        raise KubeError(403, "Forbidden", name)


@dataclass(frozen=True)
class Case:
    """One state of an object's keys."""

    ring: str
    keys: str = "keys"
    secret: str = "secret with labels"
    time: str = "at once"
    generation: int = 0
    deletes: bool = False
    abandon: bool = False

    async def scene(self) -> tuple[AnyResource, Any]:
        process = Process()
        process.ring = RINGS[self.ring]
        process.google.keys = dict(KEYS[self.keys])
        process.google.now = NOON + TIMES[self.time]
        process.kube = self._kube()
        process.restart()
        want = replace(want_of(self.generation), deletes=self.deletes, abandon=self.abandon)
        return process.controller, want

    def _kube(self) -> FakeApi:
        if self.secret == "forbidden":
            return ForbiddenSecrets()
        kube = FakeApi()
        if self.secret == "no secret":
            return kube
        owner = {"apiVersion": f"{GROUP}/v1", "kind": "IdentityKey", "name": "checkout", "uid": "u-key"}
        file = b"edited" if self.secret == "edited" else file_of("k1")
        metadata = {
            "name": "checkout-key",
            "namespace": "payments",
            "ownerReferences": [] if self.secret == "taken" else [owner],
            "labels": LABELS if self.secret == "secret with labels" else {},
        }
        kube.put(SECRETS, {"metadata": metadata, "data": {"key.json": base64.b64encode(file).decode()}})
        return kube

    @classmethod
    def all(cls, ring: str) -> Iterator["Case"]:
        for keys, secret, time in itertools.product(KEYS, SECRET_STATES, TIMES):
            yield cls(ring, keys, secret, time)
            if time == "later":
                yield cls(ring, keys, secret, time, generation=1)


@pytest.mark.parametrize("ring", RINGS)
async def test_manage_does_what_observe_and_the_dry_run_report(ring: str) -> None:
    for case in Case.all(ring):
        await agreement(case.scene, NOON)


@pytest.mark.parametrize("ring", RINGS)
@pytest.mark.parametrize("abandon", [False, True], ids=["retired", "abandoned"])
async def test_a_deletion_does_what_its_plan_says(ring: str, abandon: bool) -> None:
    for keys, secret, time in itertools.product(KEYS, SECRET_STATES, TIMES):
        await agreement(Case(ring, keys, secret, time, deletes=True, abandon=abandon).scene, NOON)


@pytest.mark.parametrize(
    ("case", "outcome", "reason"),
    [
        (Case("active"), InSync, None),
        (Case("no key", "no keys", "no secret"), Paused, Reason.DRIFT_DETECTED),
        (Case("active", secret="no secret"), Paused, Reason.DRIFT_DETECTED),
        (Case("active", secret="secret"), Paused, Reason.DRIFT_DETECTED),
        (Case("active", secret="taken"), Refused, Reason.CONFLICT),
        (Case("active", secret="forbidden"), Failing, Reason.PERMISSION_DENIED),
        (Case("active", "full", "no secret"), Failing, Reason.QUOTA_EXCEEDED),
        (Case("attempt"), Waiting, Reason.UPDATING),
        (Case("overlap", time="much later"), Paused, Reason.DRIFT_DETECTED),
    ],
    ids=str,
)
async def test_observe_reports_why_manage_would_not_act(
    case: Case, outcome: type[Outcome], reason: Reason | None
) -> None:
    observed = (await agreement(case.scene, NOON)).observed
    assert isinstance(observed, outcome)
    assert getattr(observed, "reason", None) is reason
