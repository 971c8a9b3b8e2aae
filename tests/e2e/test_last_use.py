"""Last uses that Google reports: in statuses, and as the condition for disabling a former key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.e2e.eventually import becomes, eventually
from tests.e2e.scene import Scene

KEY = """
kind: IdentityKey
metadata: {name: checkout}
spec:
  identityRef: {name: checkout}
  secretName: checkout-key
  rotation: {period: 4800h, requireUnused: true, maxOverlap: 2400h}
"""
NAME, OWNER = "IdentityKey/checkout", "CloudRunIdentity/checkout"
ANOTHER = "spec: {rotation: {generation: 1}}"
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)

SetClocks = Callable[[timedelta], datetime]


@pytest.fixture
def set_clocks(scene_with_keys: Scene) -> Iterator[SetClocks]:
    """Return a function that sets the clocks of keys and of Google's reports; it returns their time."""
    stage = scene_with_keys.stage

    def set_both(ahead: timedelta) -> datetime:
        stage.cloud.set_switches(lastUseAhead=f"{ahead.total_seconds():.0f}s")
        stage.set_key_clock(ahead)
        return datetime.now(UTC) + ahead

    yield set_both
    stage.cloud.set_switches(lastUseAhead="0s")


def date(time: datetime) -> str:
    """Return the date that Google reports, whose days begin at 07:00Z."""
    return f"{time - timedelta(hours=7):%Y-%m-%d}"


def states(scene: Scene) -> dict[str, str]:
    """Return the states of the keys by ID."""
    return {key["id"]: key["state"] for key in scene.status(NAME).get("keys", ())}


@pytest.mark.slow
def test_former_key_works_while_google_sees_its_use(scene_with_keys: Scene, set_clocks: SetClocks) -> None:
    scene, cloud = scene_with_keys, scene_with_keys.cloud
    scene.patch(f"ManagedProject/{scene.name}", "spec: {lastUse: Report}")
    scene.apply(KEY)
    scene.ready(OWNER, NAME)
    first = scene.status(NAME)["activeKeyID"]
    account = scene.account("checkout")
    unmanaged = cloud.create_key(account)
    used = datetime.now(UTC)
    cloud.use(f"{account}/keys/{first}", used)
    cloud.use(f"{account}/keys/{unmanaged}", used)

    set_clocks(3 * DAY)
    becomes(lambda: scene.status(OWNER).get("lastUsed"), date(used))
    becomes(lambda: scene.status(NAME).get("lastUsed"), date(used))
    [listed] = eventually(lambda: scene.status(OWNER).get("unmanagedKeys", ()), bool)
    assert (listed["id"], listed["lastUsed"]) == (unmanaged, date(used))
    recent = scene.condition(OWNER, "RecentlyUsed")
    assert recent
    assert (recent["status"], recent["reason"]) == ("True", "Used")

    scene.patch(NAME, ANOTHER)
    becomes(lambda: sorted(states(scene).values()), ["Active", "Publishing"])
    set_clocks(3 * DAY + 2 * MINUTE)
    becomes(lambda: states(scene).get(first), "Overlap")
    second = scene.status(NAME)["activeKeyID"]

    now = set_clocks(8 * DAY)
    for key_id in (first, second):
        cloud.use(f"{account}/keys/{key_id}", now - timedelta(hours=2))
    now = set_clocks(8 * DAY + timedelta(hours=2))
    message = scene.wait_for_event(NAME, "FormerKeyInUse")
    assert first in message
    assert "spec.rotation.maxOverlap" in message
    assert not cloud.keys(account)[first].get("disabled")
    assert states(scene)[first] == "Overlap"
    scene.ready(NAME)

    now = set_clocks(13 * DAY)
    cloud.use(f"{account}/keys/{second}", now - DAY)
    set_clocks(13 * DAY + timedelta(hours=2))
    becomes(lambda: states(scene).get(first), "Disabled")
    assert cloud.keys(account)[first]["disabled"]

    set_clocks(110 * DAY)
    unused = eventually(
        lambda: scene.condition(OWNER, "RecentlyUsed"),
        lambda found: bool(found and found["status"] == "False"),
    )
    assert unused
    assert unused["reason"] == "Unused"
    assert date(now - DAY) in unused["message"]
    scene.ready(OWNER)
