"""Keys and a Secret that a deleted object left are taken back by an object of its name, and by no other."""

from dataclasses import replace
from typing import Any

import pytest

from cloudrun_identity.api import LEFT_BY, KeyState, OwnerReference
from cloudrun_identity.controllers.identity_key.key_state import KeysSeen
from cloudrun_identity.controllers.identity_key.plan import plan
from cloudrun_identity.iam.listed_keys import ListedKey
from cloudrun_identity.kube.secrets import KeySecret
from tests.unit.controllers.carry_out import step_texts

from .key_bench import NOON, OWNER, key, ring_of, secret, seen, wanted

LISTED = ListedKey("k1", NOON)
LEFT = secret(is_owned=False, annotations={LEFT_BY: "checkout"})
BACK = "left by a deleted object of this name → taken back"
CONTROLLER = OwnerReference(api_version="v1", kind="Pod", name="web", uid="u-web")


def left(has: KeySecret | None = LEFT, **fields: Any) -> KeysSeen:
    return seen(LISTED, has=has, ring=ring_of(key(**fields)))


def steps(found: KeysSeen) -> list[str]:
    return step_texts(plan(wanted(), found))


def test_left_keys_are_recorded_as_managed_before_the_secret() -> None:
    assert steps(left(left=True)) == [f"TakeBackKeys keys: {BACK}"]
    assert steps(left()) == [f"TakeBackSecret Secret checkout-key: {BACK}"]


@pytest.mark.parametrize(
    "has",
    [
        replace(LEFT, annotations={}),
        replace(LEFT, annotations={LEFT_BY: "other"}),
        replace(LEFT, digest="edited"),
        replace(LEFT, key_id="k2"),
        replace(LEFT, owners=(CONTROLLER,)),
    ],
)
def test_secret_that_the_object_did_not_leave_is_not_taken(has: KeySecret) -> None:
    (step,) = steps(left(has))
    assert step.startswith("Refuse Conflict")


def test_keys_of_a_deleted_secret_are_taken_back_and_replaced() -> None:
    assert steps(left(None, left=True)) == [f"TakeBackKeys keys: {BACK}"]
    (step,) = steps(left(None))
    assert step.startswith("CreateKey")


@pytest.mark.parametrize(("abandon", "step"), [(True, "LeaveKeys"), (False, "ForgetKeys")])
def test_abandoned_keys_stay_in_the_record(abandon: bool, step: str) -> None:
    want = replace(wanted(), deletes=True, abandon=abandon)
    found = replace(seen(has=secret(), ring=ring_of(key())), account_deleted=not abandon)
    assert step_texts(plan(want, found)) == [step]


def test_left_keys_have_no_owner_until_they_are_taken_back() -> None:
    ring = ring_of(key(), key("k2", state=KeyState.UNCLEAR), key("k3", owner="payments/other"))
    after = ring.with_left(OWNER)
    assert (after.owners, after.of(OWNER)) == (frozenset({"payments/other"}), ())
    assert [each.id for each in after.left_by(OWNER)] == ["k1"]
    assert after.with_left(OWNER) == after
    assert [each.id for each in after.taken_back(OWNER).of(OWNER)] == ["k1"]
    assert after.without_left({"k1"}) == after
    assert [*after.without_left().records] == ["k3"]
