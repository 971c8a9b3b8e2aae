"""Former keys with `rotation.requireUnused`, over the wire to an emulator with its own clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.libraries import iam_admin_v1
from cloudrun_identity.gcp.service_accounts import ServiceAccounts
from cloudrun_identity.gcp.service_client import iam_service
from cloudrun_identity.reconcile.outcomes import InSync
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.faults import ErrorInfo, Fault
from cloudrun_identity_playground.emulator.seed import Project, Seed
from tests.gcp.conftest import Observer
from tests.gcp.key_scenario import PROJECT_ID, KeyScenario
from tests.unit.controllers.cluster_state import EMAIL, project
from tests.unit.controllers.identity_key.key_bench import DAY, NOON, declared

HOUR = timedelta(hours=1)
ROTATION = {"period": "720h", "overlap": "24h", "requireUnused": True, "maxOverlap": "480h"}
KEYS_ALLOWED = {"keys": "Allowed", "keyNamespaces": ["payments"]}
QUERY = "google.cloud.policyanalyzer.v1.PolicyAnalyzer/QueryActivity"
SERIES = "google.monitoring.v3.MetricService/ListTimeSeries"


@pytest.fixture
def clock() -> list[datetime]:
    return [NOON]


@pytest.fixture
async def emulator(clock: list[datetime]) -> AsyncIterator[Emulator]:
    seed = Seed(projects=(Project(project_id=PROJECT_ID, project_number="417203958816"),))
    async with Emulator(seed=seed, rest_port=0, clock=lambda: clock[0].timestamp()) as emulator:
        yield emulator


@pytest.fixture
async def clients(emulator: Emulator, observer: Observer) -> AsyncIterator[GoogleClients]:
    rest_port = emulator.rest_url.rpartition(":")[2]
    clients = GoogleClients(f"{emulator.grpc_address}/{rest_port}", observer)
    yield clients
    await clients.close()


@pytest.fixture
async def scenario(clients: GoogleClients, clock: list[datetime]) -> KeyScenario:
    account = await ServiceAccounts(clients).create(PROJECT_ID, "checkout", "", "")
    scenario = KeyScenario(clients, account.unique_id, clock)
    scenario.obj = declared(rotation=ROTATION)
    scenario.project = project(guardrails=KEYS_ALLOWED, lastUse="Report")
    return scenario


def use(emulator: Emulator, key_id: str) -> None:
    emulator.edit(
        {"used": f"//iam.googleapis.com/projects/{PROJECT_ID}/serviceAccounts/{EMAIL}/keys/{key_id}"}
    )


async def rotated(scenario: KeyScenario, emulator: Emulator) -> tuple[str, str]:
    """Rotate the key, while its client uses it; return the former and the new key."""
    await scenario.reconcile()
    former = scenario.published
    scenario.advance(29 * DAY)
    use(emulator, former)
    scenario.advance(DAY)
    await scenario.reconcile()
    scenario.advance(timedelta(minutes=1))
    await scenario.reconcile()
    assert scenario.published != former
    return former, scenario.published


async def days(scenario: KeyScenario, emulator: Emulator, count: int, *used: str) -> None:
    """Let days go by, with a use of these keys and a reconcile every six hours."""
    for _ in range(4 * count):
        for key_id in used:
            use(emulator, key_id)
        scenario.advance(6 * HOUR)
        await scenario.reconcile()


async def test_unused_former_key_is_disabled_after_two_full_days(
    scenario: KeyScenario, emulator: Emulator
) -> None:
    former, active = await rotated(scenario, emulator)
    await days(scenario, emulator, 2, active)
    assert await scenario.enabled() == {former, active}, "the overlap is over, but not two full days"
    await days(scenario, emulator, 3, active)
    assert await scenario.enabled() == {active}


async def test_used_former_key_works_until_its_last_use_is_two_days_ago(
    scenario: KeyScenario, emulator: Emulator
) -> None:
    former, active = await rotated(scenario, emulator)
    await days(scenario, emulator, 8, former, active)
    assert await scenario.enabled() == {former, active}
    [issue] = scenario.status.issues
    assert former in issue
    assert "Policy Analyzer shows a use on or after 2030-02-0" in issue
    assert "spec.rotation.maxOverlap" in issue
    assert scenario.status.notices == {"FormerKeyInUse": issue}
    await days(scenario, emulator, 1, active)
    assert await scenario.enabled() == {former, active}
    await days(scenario, emulator, 4, active)
    assert await scenario.enabled() == {active}


async def test_upper_bound_disables_a_key_in_use_and_was_announced(
    scenario: KeyScenario, emulator: Emulator
) -> None:
    former, active = await rotated(scenario, emulator)
    await days(scenario, emulator, 19, former, active)
    assert await scenario.enabled() == {former, active}
    [shown, _] = scenario.status.fields["keys"]
    latest = f"{shown.disable_after:%Y-%m-%dT%H:%M:%SZ}"
    assert latest in scenario.status.notices["FormerKeyInUse"]
    await days(scenario, emulator, 1, former, active)
    assert await scenario.enabled() == {active}


@pytest.mark.parametrize("method", [QUERY, SERIES])
async def test_without_either_source_a_former_key_works_until_the_bound(
    scenario: KeyScenario, emulator: Emulator, method: str
) -> None:
    info = ErrorInfo(reason="SERVICE_DISABLED", metadata={"service": "monitoring.googleapis.com"})
    emulator.faults.add(Fault(method=method, code="PERMISSION_DENIED", error_info=info, times=10_000))
    former, active = await rotated(scenario, emulator)
    await days(scenario, emulator, 19, active)
    assert await scenario.enabled() == {former, active}
    [issue] = scenario.status.issues
    assert "monitoring.googleapis.com is not enabled" in issue
    await days(scenario, emulator, 1, active)
    assert await scenario.enabled() == {active}


async def test_without_permission_to_read_the_project_nothing_is_read(
    scenario: KeyScenario, emulator: Emulator
) -> None:
    scenario.project = project(guardrails=KEYS_ALLOWED)
    await scenario.reconcile()
    [issue] = scenario.status.issues
    assert issue.startswith("spec.rotation.requireUnused: former keys work for maxOverlap")
    former, active = await rotated(scenario, emulator)
    await days(scenario, emulator, 5, active)
    assert await scenario.enabled() == {former, active}
    assert emulator.calls[QUERY] == emulator.calls[SERIES] == 0
    [issue] = scenario.status.issues
    assert "spec.lastUse of ManagedProject payments-prod is Ignore; set it to Report" in issue


async def test_status_has_the_last_use_of_each_key(scenario: KeyScenario, emulator: Emulator) -> None:
    former, active = await rotated(scenario, emulator)
    await days(scenario, emulator, 3, active)
    shown = {key.id: key.last_used for key in scenario.status.fields["keys"]}
    assert shown[former] == "2030-01-31"
    assert shown[active] is not None
    assert scenario.status.fields["last_used"] == shown[active]


async def test_monitoring_is_read_only_for_a_decision(scenario: KeyScenario, emulator: Emulator) -> None:
    _, active = await rotated(scenario, emulator)
    assert emulator.calls[SERIES] == 0
    await days(scenario, emulator, 5, active)
    read = emulator.calls[SERIES]
    assert read
    await days(scenario, emulator, 5, active)
    assert emulator.calls[SERIES] == read


async def test_use_while_policy_analyzer_lags_is_seen_by_monitoring(
    scenario: KeyScenario, emulator: Emulator
) -> None:
    former, active = await rotated(scenario, emulator)
    await days(scenario, emulator, 2, active)
    await days(scenario, emulator, 1, former, active)
    scenario.advance(18 * HOUR)
    assert isinstance(await scenario.reconcile(), InSync)
    assert await scenario.enabled() == {former, active}
    assert "Monitoring" in scenario.status.issues[0]


async def test_key_that_a_user_enables_after_the_bound_is_not_deleted(
    scenario: KeyScenario, emulator: Emulator, clients: GoogleClients
) -> None:
    former, active = await rotated(scenario, emulator)
    await days(scenario, emulator, 20, former, active)
    assert await scenario.enabled() == {active}
    name = f"projects/{PROJECT_ID}/serviceAccounts/{EMAIL}/keys/{former}"
    request = iam_admin_v1.EnableServiceAccountKeyRequest(name=name)
    await iam_service(clients).call(PROJECT_ID, "enable_service_account_key", request)
    await days(scenario, emulator, 3, former, active)
    assert await scenario.enabled() == {former, active}
    assert any("was enabled again" in issue for issue in scenario.status.issues)
