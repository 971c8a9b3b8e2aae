"""Events are counted up, sent in the background, and dropped rather than waited for."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from cloudrun_identity.kube import event_recorder as events
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.event_recorder import (
    AGGREGATION_WINDOW,
    BURST,
    DRAIN_TIMEOUT,
    MESSAGE_SIZE,
    PER_SECOND,
    EventRecorder,
    EventType,
)
from cloudrun_identity.kube.resources import EVENTS, Object
from tests.unit.kube.fake_api import FakeApi

pytestmark = pytest.mark.looptime

NOW = datetime(2030, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


@pytest_asyncio.fixture
async def recorder(api: FakeApi) -> AsyncIterator[EventRecorder]:
    recorder = EventRecorder(api, instance="pod-1", limited={"Ready"}, now=lambda: NOW)
    recorder.start()
    yield recorder
    await recorder.close()


def identity(name: str = "checkout", **metadata: Any) -> Object:
    return {
        "apiVersion": "cloudrun-identity.dev/v1alpha1",
        "kind": "CloudRunIdentity",
        "metadata": {"name": name, "namespace": "payments", "uid": f"uid-of-{name}", **metadata},
    }


def project() -> Object:
    return {
        "apiVersion": "cloudrun-identity.dev/v1alpha1",
        "kind": "ManagedProject",
        "metadata": {"name": "payments-prod", "uid": "uid-of-project"},
    }


async def sent(api: FakeApi) -> list[Object]:
    await asyncio.sleep(0.1)
    return [obj for (plural, _, _), obj in api.objects.items() if plural == EVENTS.plural]


async def test_event_refers_to_the_object(api: FakeApi, recorder: EventRecorder) -> None:
    recorder.record(identity(resourceVersion="7"), EventType.NORMAL, "Created", "service account created")
    (event,) = await sent(api)
    assert event["involvedObject"] == {
        "apiVersion": "cloudrun-identity.dev/v1alpha1",
        "kind": "CloudRunIdentity",
        "name": "checkout",
        "namespace": "payments",
        "uid": "uid-of-checkout",
        "resourceVersion": "7",
    }
    assert event["metadata"]["namespace"] == "payments"
    assert (event["type"], event["reason"], event["message"], event["count"]) == (
        "Normal",
        "Created",
        "service account created",
        1,
    )
    assert event["firstTimestamp"] == event["lastTimestamp"] == "2030-01-02T03:04:05Z"


async def test_limited_events_beyond_a_burst_are_dropped_unlike_others(
    api: FakeApi, recorder: EventRecorder
) -> None:
    for number in range(BURST + 100):
        recorder.record(identity(f"i{number}"), EventType.NORMAL, "Ready", "up to date")
        await asyncio.sleep(0)
    recorder.record(identity("failing"), EventType.WARNING, "PermissionDenied", "no permission")
    recorder.record(identity("repaired"), EventType.NORMAL, "DriftRepaired", "the role was missing")
    assert len(await sent(api)) == BURST + 2
    await asyncio.sleep(5 / PER_SECOND)
    recorder.record(identity("late"), EventType.NORMAL, "Ready", "up to date")
    assert len(await sent(api)) == BURST + 3


async def test_event_is_logged_with_its_object(
    recorder: EventRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        recorder.record(identity(), EventType.WARNING, "PermissionDenied", "m" * MESSAGE_SIZE + " end")
        recorder.record(project(), EventType.NORMAL, "Ready", "Google Cloud is as declared")

    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", f"CloudRunIdentity payments/checkout: PermissionDenied: {'m' * MESSAGE_SIZE} end"),
        ("INFO", "ManagedProject payments-prod: Ready: Google Cloud is as declared"),
    ]


async def test_event_about_cluster_scoped_object_is_in_default_namespace(
    api: FakeApi, recorder: EventRecorder
) -> None:
    recorder.record(project(), EventType.WARNING, "InUse", "two identities left")
    (event,) = await sent(api)
    assert event["metadata"]["namespace"] == "default"
    assert "namespace" not in event["involvedObject"]


async def test_equal_events_are_counted_up(api: FakeApi, recorder: EventRecorder) -> None:
    for _ in range(3):
        recorder.record(identity(), EventType.NORMAL, "Repaired", "binding restored")
    (event,) = await sent(api)
    assert event["count"] == 3


@pytest.mark.parametrize(
    ("obj", "event_type", "reason", "message"),
    [
        (identity("other"), EventType.NORMAL, "Repaired", "binding restored"),
        (identity(), EventType.WARNING, "Repaired", "binding restored"),
        (identity(), EventType.NORMAL, "Reported", "binding restored"),
        (identity(), EventType.NORMAL, "Repaired", "another binding restored"),
    ],
)
async def test_different_events_are_sent_separately(
    api: FakeApi, recorder: EventRecorder, obj: Object, event_type: EventType, reason: str, message: str
) -> None:
    recorder.record(identity(), EventType.NORMAL, "Repaired", "binding restored")
    recorder.record(obj, event_type, reason, message)
    assert [event["count"] for event in await sent(api)] == [1, 1]


async def test_equal_event_after_the_window_is_sent_again(api: FakeApi, recorder: EventRecorder) -> None:
    recorder.record(identity(), EventType.NORMAL, "Repaired", "binding restored")
    await asyncio.sleep(AGGREGATION_WINDOW + 1)
    recorder.record(identity(), EventType.NORMAL, "Repaired", "binding restored")
    assert len(await sent(api)) == 2


async def test_equal_event_is_sent_again_after_the_first_expired(
    api: FakeApi, recorder: EventRecorder
) -> None:
    recorder.record(identity(), EventType.NORMAL, "Repaired", "binding restored")
    await sent(api)
    api.objects.clear()
    recorder.record(identity(), EventType.NORMAL, "Repaired", "binding restored")
    (event,) = await sent(api)
    assert event["count"] == 1


async def test_long_message_is_cut_between_characters(api: FakeApi, recorder: EventRecorder) -> None:
    recorder.record(identity(), EventType.NORMAL, "Repaired", "x" + "ü" * MESSAGE_SIZE)
    (event,) = await sent(api)
    assert len(event["message"].encode()) == MESSAGE_SIZE - 1
    assert set(event["message"]) == {"x", "ü"}


async def test_event_after_a_rejected_one_is_sent(api: FakeApi, recorder: EventRecorder) -> None:
    api.outage = KubeError(403, "Forbidden", "namespace payments is being terminated")
    recorder.record(identity(), EventType.WARNING, "Abandoned", "first")
    assert await sent(api) == []
    api.outage = None
    recorder.record(identity(), EventType.WARNING, "Abandoned", "second")
    (event,) = await sent(api)
    assert event["message"] == "second"


async def test_unexpected_error_loses_one_event_only(
    api: FakeApi, recorder: EventRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise TypeError("not JSON serializable")

    api.interferences = [fail]
    recorder.record(identity(), EventType.NORMAL, "Created", "one")
    recorder.record(identity(), EventType.NORMAL, "Created", "two")
    assert [event["message"] for event in await sent(api)] == ["two"]
    assert "event not recorded: Created one" in caplog.text


async def test_events_beyond_the_queue_size_are_dropped(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "QUEUE_SIZE", 2)
    recorder = EventRecorder(api)
    for number in range(5):
        recorder.record(identity(), EventType.NORMAL, "Repaired", str(number))
    recorder.start()
    await recorder.close()
    assert [event["message"] for event in await sent(api)] == ["0", "1"]


async def test_events_beyond_the_cache_size_are_sent_again(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, recorder: EventRecorder
) -> None:
    monkeypatch.setattr(events, "CACHE_SIZE", 1)
    for message in ("one", "two", "one"):
        recorder.record(identity(), EventType.NORMAL, "Repaired", message)
    assert sorted(event["message"] for event in await sent(api)) == ["one", "one", "two"]


async def test_close_sends_queued_events(api: FakeApi) -> None:
    recorder = EventRecorder(api)
    recorder.start()
    recorder.record(identity(), EventType.NORMAL, "Blocked", "good bye")
    await recorder.close()
    assert len(await sent(api)) == 1


async def test_close_stops_waiting_for_a_hanging_server(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object) -> Object:
        await asyncio.sleep(3600)
        raise AssertionError

    monkeypatch.setattr(api, "create", hang)
    recorder = EventRecorder(api)
    recorder.start()
    recorder.record(identity(), EventType.NORMAL, "Blocked", "good bye")
    started = asyncio.get_running_loop().time()
    await recorder.close()
    assert asyncio.get_running_loop().time() - started == pytest.approx(DRAIN_TIMEOUT)


async def test_close_without_start_does_nothing(api: FakeApi) -> None:
    await EventRecorder(api).close()
    assert api.requests == []


async def test_control_characters_in_a_message_are_escaped(api: FakeApi, recorder: EventRecorder) -> None:
    recorder.record(identity(), EventType.WARNING, "DriftDetected", "displayName: a\x1b[2J\n → b")
    await recorder.close()
    [event] = await api.list(EVENTS)
    assert event["message"] == "displayName: a\\x1b[2J  → b"


def raising(error: KubeError) -> Any:
    """Return an interference that fails a request with this error."""

    def fail(*_: object) -> None:
        raise error

    return fail


CLOSED = [
    KubeError(
        403, "Forbidden", "unable to create new content in namespace payments because it is being terminated"
    ),
    KubeError(404, "NotFound", 'namespaces "payments" not found'),
]


@pytest.mark.parametrize("error", CLOSED, ids=["terminating", "deleted"])
async def test_event_in_a_closed_namespace_is_about_the_stand_in(
    api: FakeApi, recorder: EventRecorder, error: KubeError
) -> None:
    recorder.use_stand_ins(lambda obj: project() if obj["kind"] != "ManagedProject" else None)
    api.interferences = [raising(error)]
    recorder.record(identity(), EventType.WARNING, "Abandoned", "the account is left")
    (event,) = await sent(api)
    assert event["metadata"]["namespace"] == "default"
    assert event["involvedObject"]["uid"] == "uid-of-project"
    assert event["message"] == "CloudRunIdentity payments/checkout: the account is left"


async def test_event_that_rbac_refuses_has_no_stand_in(api: FakeApi, recorder: EventRecorder) -> None:
    recorder.use_stand_ins(lambda _: project())
    api.interferences = [raising(KubeError(403, "Forbidden", "events is forbidden"))]
    recorder.record(identity(), EventType.WARNING, "Abandoned", "the account is left")
    assert await sent(api) == []
