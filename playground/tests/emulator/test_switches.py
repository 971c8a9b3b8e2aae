"""Every switch, set by the seed, on the command line and through the control API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import grpc.aio
import pytest
from google.api_core import exceptions
from google.cloud import run_v2 as run

from cloudrun_identity_playground.emulator import Emulator, Seed, Switches
from tests.time_budget import time_budget

from .clients import LOCATION, Clients, Clock
from .test_command import READY, running

ACCOUNT = "projects/shop/serviceAccounts/checkout@shop.iam.gserviceaccount.com"

TURNED: dict[str, Any] = {
    "lag": "7s",
    "flappingReads": "forbidden",
    "staleReads": "9s",
    "latency": "recorded",
    "operationTime": "3s",
    "executionTime": "60s",
    "tombstoneConflict": True,
    "staleIds": True,
    "requestsPerMinute": {"run.googleapis.com": {"reads": 5, "writes": 2}},
    "activityDelay": "172800s",
    "metricDelay": "10800s",
    "lastUseAhead": "60s",
    "withoutToken": "user:ann@example.com",
    "sinkDelay": "5s",
    "sinkReordering": "8s",
    "sinkDuplication": 0.25,
    "sinkLoss": 0.5,
    "sinkStopped": True,
}
OPTIONS = (
    *("--lag", "7s", "--flapping-reads", "forbidden", "--stale-reads", "9s", "--latency", "recorded"),
    *("--operation-time", "3s", "--execution-time", "1m", "--tombstone-conflict", "--stale-ids"),
    *("--requests-per-minute", "run.googleapis.com: {reads: 5, writes: 2}"),
    *("--activity-delay", "48h", "--metric-delay", "3h", "--last-use-ahead", "1m"),
    *("--without-token", "user:ann@example.com"),
    *("--sink-delay", "5s", "--sink-reordering", "8s", "--sink-duplication", "0.25"),
    *("--sink-loss", "0.5", "--sink-stopped"),
)
FAULT = {"method": "google.cloud.*", "code": "UNAVAILABLE", "times": 2}


def names() -> set[str]:
    return {field.alias or name for name, field in Switches.model_fields.items()}


async def request(emulator: Emulator, verb: str, body: Any = None) -> tuple[int, Any]:
    url = f"{emulator.rest_url}/control/switches"
    async with aiohttp.ClientSession() as session, session.request(verb, url, json=body) as response:
        return response.status, await response.json()


def test_tests_cover_every_switch() -> None:
    assert set(TURNED) == names()


async def test_seed_sets_every_switch() -> None:
    async with Emulator(seed=Seed.model_validate(TURNED), rest_port=0) as emulator:
        assert await request(emulator, "GET") == (200, TURNED)


async def test_control_api_sets_every_switch(emulator: Emulator) -> None:
    assert await request(emulator, "PATCH", TURNED) == (200, {})
    assert await request(emulator, "GET") == (200, TURNED)


async def test_command_line_sets_switches_and_overrides_the_seed(tmp_path: Path) -> None:
    seed = tmp_path / "seed.yaml"
    seed.write_text("{lag: 1s, latency: none, staleIds: false}")
    with running("--port", "0", "--rest-port", "0", "--seed", str(seed), *OPTIONS) as (_, line):
        ready = READY.fullmatch(line)
        assert ready is not None, line
        url = f"{ready[2]}/control/switches"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            assert await response.json() == TURNED


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"lag": "soon"}, "lag: "),
        ({"nonsense": 1}, "nonsense: "),
        ({"withoutToken": "group:ops@example.com"}, "withoutToken: "),
        ({"lag": "5s", "latency": "slow"}, "latency: "),
    ],
)
async def test_invalid_switch_is_refused_without_effect(
    emulator: Emulator, body: dict[str, Any], named: str
) -> None:
    before = await request(emulator, "GET")
    status, answer = await request(emulator, "PATCH", body)
    assert (status, await request(emulator, "GET")) == (400, before)
    assert answer["error"].startswith(named)


async def test_switch_applies_to_the_next_call(emulator: Emulator, clients: Clients, clock: Clock) -> None:
    await request(emulator, "PATCH", {"lag": "10s"})
    await clients.create_account()
    await clients.iam.get_service_account(name=ACCOUNT)
    with pytest.raises(exceptions.NotFound):
        await clients.iam.get_service_account(name=ACCOUNT)
    await request(emulator, "PATCH", {"lag": "0s"})
    assert [(await clients.iam.get_service_account(name=ACCOUNT)).name for _ in range(3)] == [ACCOUNT] * 3


@pytest.mark.parametrize(
    ("flapping", "seen"),
    [("notFound", ["", "NotFound"]), ("forbidden", ["", "PermissionDenied"]), ("none", ["", ""])],
)
async def test_fact_reads_flap_after_create_with_404_or_403(
    emulator: Emulator, clients: Clients, flapping: str, seen: list[str]
) -> None:
    emulator.switches.update({"lag": "10s", "flappingReads": flapping})
    await clients.create_account()
    outcomes = []
    for _ in range(4):
        try:
            await clients.iam.get_service_account(name=ACCOUNT)
            outcomes.append("")
        except exceptions.GoogleAPICallError as error:
            outcomes.append(type(error).__name__)
    assert outcomes == seen * 2


async def test_switch_sets_the_duration_of_operations(
    emulator: Emulator, clients: Clients, clock: Clock
) -> None:
    emulator.switches.update({"operationTime": "30s"})
    operation = await clients.services.create_service(
        parent=LOCATION,
        service_id="web",
        service=run.Service(template=run.RevisionTemplate(containers=[run.Container(image="hello")])),
    )
    assert not operation.operation.done
    clock.advance(31)
    assert not (await clients.services.get_service(name=f"{LOCATION}/services/web")).reconciling


async def _outcomes(address: str, calls: int) -> list[str]:
    outcomes = []
    async with grpc.aio.insecure_channel(address) as channel:
        for _ in range(calls):
            try:
                await Clients(channel).projects.get_project(name="projects/shop", retry=None)
                outcomes.append("")
            except exceptions.GoogleAPICallError as error:
                outcomes.append(type(error).__name__)
    return outcomes


async def test_faults_come_from_the_seed() -> None:
    async with Emulator(seed=Seed.model_validate({"faults": [FAULT]})) as emulator:
        assert await _outcomes(emulator.grpc_address, 3) == ["ServiceUnavailable"] * 2 + [""]


async def test_faults_come_from_the_command_line() -> None:
    faults = (str(FAULT), "{method: '*', code: NOT_FOUND}")
    with running("--port", "0", *(f"--fault={fault}" for fault in faults)) as (_, line):
        ready = READY.fullmatch(line)
        assert ready is not None, line
        async with time_budget():
            outcomes = await _outcomes(ready[1], 4)
    assert sorted(outcomes) == ["", "NotFound", "ServiceUnavailable", "ServiceUnavailable"]


async def test_read_after_a_write_may_show_the_policy_before_it(
    emulator: Emulator, clients: Clients, clock: Clock
) -> None:
    emulator.switches.update({"staleReads": "30s"})
    before = await clients.policy()
    await clients.grant("roles/viewer", "user:ann@example.com")
    seen = [(await clients.policy()).etag == before.etag for _ in range(4)]
    assert seen == [True, False, True, False]
    clock.advance(30)
    assert (await clients.policy()).etag != before.etag
