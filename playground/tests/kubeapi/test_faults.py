"""Fault injection in the embedded server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import yaml

from cloudrun_identity_playground.kubeapi import KubeApi
from playground.tests.kubeapi.http import Object, connect
from playground.tests.kubeapi.widgets import DEFINITION, DEFINITIONS, Widgets, widget

FAULTS = "/control/faults"


@pytest.fixture
async def widgets(tmp_path: Path) -> AsyncIterator[Widgets]:
    path = tmp_path / "kubeconfig"
    async with KubeApi(path), connect(path) as api:
        await api.post(DEFINITIONS, yaml.safe_load(DEFINITION.read_text(encoding="utf-8")))
        yield Widgets(api, "default")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (403, "Forbidden"),
        (409, "Conflict"),
        (410, "Expired"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (503, "ServiceUnavailable"),
        (504, "Timeout"),
    ],
)
async def test_error_is_injected_the_given_number_of_times(widgets: Widgets, code: int, reason: str) -> None:
    await widgets.create()
    await widgets.api.post(FAULTS, {"resource": "widgets", "verb": "get", "code": code, "times": 2})

    told = [await widgets.api.get(widgets.at("a")) for _ in range(3)]

    assert [answer.code for answer in told] == [code, code, 200]
    assert [answer.reason for answer in told[:2]] == [reason, reason]
    assert told[0].message == "injected fault: get widgets"


async def test_retry_after_is_a_header_and_a_detail(widgets: Widgets) -> None:
    await widgets.api.post(FAULTS, {"code": 429, "retryAfter": 7})

    refused = await widgets.api.get(widgets.path)

    assert refused.headers["Retry-After"] == ["7"]
    assert refused.body["details"] == {"retryAfterSeconds": 7}


@pytest.mark.parametrize(
    ("fault", "struck"),
    [
        ({"verb": "create"}, [True, False, False]),
        ({"resource": "widgets/status"}, [False, True, False]),
        ({"resource": "widgets*"}, [True, True, False]),
        ({"resource": "configmaps"}, [False, False, True]),
        ({}, [True, True, True]),
    ],
)
async def test_fault_applies_to_matching_requests_only(
    widgets: Widgets, fault: Object, struck: list[bool]
) -> None:
    await widgets.create("b")
    await widgets.api.post(FAULTS, {**fault, "code": 500, "times": 3})

    told = [
        await widgets.try_create(),
        await widgets.api.merge(widgets.at("b", "/status"), {}),
        await widgets.api.get("/api/v1/configmaps"),
    ]

    assert [answer.code == 500 for answer in told] == struck


async def test_applied_fault_loses_the_response_of_a_write(widgets: Widgets) -> None:
    await widgets.api.post(FAULTS, {"verb": "create", "code": 504, "applied": True})

    assert (await widgets.api.post(widgets.path, widget("b"))).code == 504
    assert (await widgets.api.get(widgets.at("b"))).code == 200


async def test_applied_fault_without_a_code_is_refused(widgets: Widgets) -> None:
    refused = await widgets.api.post(FAULTS, {"delay": 1, "applied": True})
    assert refused.code == 400
    assert "applied needs a code" in refused.message


async def test_delayed_write_is_processed_after_a_later_one(widgets: Widgets) -> None:
    await widgets.create()
    await widgets.api.post(FAULTS, {"verb": "patch", "delay": 1.0})

    slow = asyncio.create_task(widgets.api.merge(widgets.at("a"), {"spec": {"size": 4}}))
    await widgets.api.until(FAULTS, lambda answer: not answer.body["faults"])
    fast = await widgets.api.merge(widgets.at("a"), {"spec": {"size": 2}})

    assert int(fast.version) < int((await slow).version)


async def test_cut_watch_can_be_resumed(widgets: Widgets) -> None:
    version = (await widgets.api.get(widgets.path)).version
    async with widgets.api.watch(widgets.path, resourceVersion=version) as watched:
        await widgets.create()
        assert await watched.take(1) == [("ADDED", "a")]
        await widgets.api.post(FAULTS, {"resource": "widgets", "watches": "cut"})
        with pytest.raises((aiohttp.ClientPayloadError, ConnectionError)):
            await watched.next()

    async with widgets.api.watch(widgets.path, resourceVersion=version) as watched:
        assert await watched.take(1) == [("ADDED", "a")]


async def test_expired_watch_gets_an_error_and_cannot_resume(widgets: Widgets) -> None:
    version = (await widgets.api.get(widgets.path)).version
    async with widgets.api.watch(widgets.path, resourceVersion=version) as watched:
        await widgets.api.post(FAULTS, {"resource": "widgets", "watches": "expire"})
        ended, end = await watched.next(), await watched.next()
    async with widgets.api.watch(widgets.path, resourceVersion=version) as watched:
        resumed = await watched.next()
    listed = (await widgets.api.get(widgets.path)).version
    await widgets.create()
    async with widgets.api.watch(widgets.path, resourceVersion=listed) as watched:
        anew = await watched.take(1)

    assert ended is not None
    assert resumed is not None
    assert (ended["type"], ended["object"]["code"], end) == ("ERROR", 410, None)
    assert (resumed["type"], resumed["object"]["code"]) == ("ERROR", 410)
    assert anew == [("ADDED", "a")]


async def test_watches_of_other_resources_continue(widgets: Widgets) -> None:
    async with widgets.api.watch(widgets.path) as watched:
        await widgets.api.post(FAULTS, {"resource": "configmaps", "watches": "cut"})
        await widgets.create()

        assert await watched.take(1) == [("ADDED", "a")]


async def test_pending_faults_are_listed_and_deleted(widgets: Widgets) -> None:
    fault = {"resource": "widgets", "code": 429, "retryAfter": 1, "times": 3}
    await widgets.api.post(FAULTS, fault)
    await widgets.api.get(widgets.path)

    shown = (await widgets.api.get(FAULTS)).body
    called_off = (await widgets.api.delete(FAULTS)).body

    assert shown == {"faults": [fault | {"times": 2}]}
    assert called_off == {"faults": []}
    assert (await widgets.api.get(widgets.path)).code == 200


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({}, "the fault: Value error, set code, delay or watches"),
        ({"code": 418}, "code: Input should be 403, 409, 410, 429, 500, 503 or 504"),
        ({"cod": 500}, "cod: Extra inputs are not permitted"),
        ({"watches": "cut", "code": 500}, "the fault: Value error, watches end at once"),
    ],
)
async def test_invalid_fault_is_refused(widgets: Widgets, fault: Object, why: str) -> None:
    refused = await widgets.api.post(FAULTS, fault)

    assert (refused.code, refused.reason) == (400, "BadRequest")
    assert refused.message.startswith(why)


async def test_faults_need_the_token(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    async with KubeApi(path), connect(path, token="") as stranger:
        assert (await stranger.post(FAULTS, {"code": 500})).code == 401
