"""Facts about projects over the wire: how often they are read while nothing is wrong."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from cloudrun_identity.api import (
    RECONCILE_REQUESTED_AT,
    ConditionStatus,
    ConditionType,
    EffectiveCrossProjectUsage,
    ManagedProject,
)
from cloudrun_identity.controllers.managed_project.facts import (
    FACTS_MAX_AGE,
    ProjectFacts,
    ProjectFactsReader,
    max_ages,
)
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.org_policies import OrgPolicies
from cloudrun_identity.gcp.policies import Policies
from cloudrun_identity.gcp.projects import Projects
from cloudrun_identity.gcp.ratelimit import Api, CallKind, Rate, RateLimiter
from cloudrun_identity.manager.project_settings import JITTER
from cloudrun_identity.reconcile.cluster_state import ObjectKey
from cloudrun_identity_playground.emulator.emulator import Emulator
from tests.gcp.conftest import Observer
from tests.unit.controllers.cluster_state import FakeClusterState, identity

INTERVAL = 300.0
EFFECTIVE_POLICY = "google.cloud.orgpolicy.v2.OrgPolicy/GetEffectivePolicy"


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 1.0

    def __call__(self) -> float:
        return self.now


def project(*, ready: bool = True, degraded: bool = False, **spec: Any) -> ManagedProject:
    def condition(kind: ConditionType, *, is_true: bool) -> dict[str, object]:
        status = ConditionStatus.TRUE if is_true else ConditionStatus.FALSE
        return {
            "type": kind,
            "status": status,
            "reason": "Test",
            "message": "",
            "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }

    conditions = [
        condition(ConditionType.READY, is_true=ready),
        condition(ConditionType.DEGRADED, is_true=degraded),
    ]
    return ManagedProject.model_validate(
        {
            "metadata": {"name": "payments-prod", "generation": 1},
            "spec": {"projectID": "shop-1234", **spec},
            "status": {"conditions": conditions},
        }
    )


async def reads_in_an_hour(
    clients: GoogleClients, emulator: Emulator, obj: ManagedProject, step: float = INTERVAL
) -> int:
    """Return the reads of the project and its permissions in twelve resyncs after the first one."""
    clock = Clock()
    reader = ProjectFactsReader(Projects(clients), Policies(clients), OrgPolicies(clients), clock)
    cluster = FakeClusterState(obj)

    async def resync() -> None:
        ages = max_ages(obj, cluster, INTERVAL * (1 - 2 * JITTER))
        assert isinstance(await reader.facts(obj, ages.facts), ProjectFacts)
        await reader.cross_project_usage(obj, ages.contents)

    await resync()
    emulator.calls.reset()
    for _ in range(12):
        clock.now += step
        await resync()
    service = "google.cloud.resourcemanager.v3.Projects"
    counts = {
        emulator.calls[f"{service}/GetProject"],
        emulator.calls[f"{service}/TestIamPermissions"],
        emulator.calls[EFFECTIVE_POLICY],
    }
    assert len(counts) == 1
    return counts.pop()


async def test_facts_are_read_hourly_while_nothing_is_wrong(
    clients: GoogleClients, emulator: Emulator
) -> None:
    assert await reads_in_an_hour(clients, emulator, project()) == 1


@pytest.mark.parametrize("early", [0.0, JITTER], ids=["on time", "early"])
async def test_facts_of_an_unready_project_are_read_at_each_resync(
    clients: GoogleClients, emulator: Emulator, early: float
) -> None:
    obj = project(ready=False)
    assert await reads_in_an_hour(clients, emulator, obj, INTERVAL * (1 - early)) == 12


@pytest.mark.parametrize("early", [0.0, JITTER], ids=["on time", "early"])
async def test_facts_of_a_degraded_project_are_read_at_each_resync(
    clients: GoogleClients, emulator: Emulator, early: float
) -> None:
    obj = project(degraded=True)
    assert await reads_in_an_hour(clients, emulator, obj, INTERVAL * (1 - early)) == 12


async def test_facts_are_read_hourly_with_an_interval_of_an_hour(
    clients: GoogleClients, emulator: Emulator
) -> None:
    obj = project(driftInterval="1h")
    assert await reads_in_an_hour(clients, emulator, obj, FACTS_MAX_AGE * (1 - JITTER)) == 12


async def test_guardrails_that_need_other_permissions_are_checked_now(
    clients: GoogleClients, emulator: Emulator
) -> None:
    reader = ProjectFactsReader(Projects(clients), Policies(clients), OrgPolicies(clients), Clock())
    before = await reader.facts(project(), FACTS_MAX_AGE)
    grants = [{"roles": ["roles/viewer"], "targetKinds": ["Secret"], "members": ["user:*@example.com"]}]
    namespaces = {"names": ["payments"]}
    edited = project(guardrails={"grants": grants}, namespaces=namespaces)
    after = await reader.facts(edited, FACTS_MAX_AGE)
    assert isinstance(before, ProjectFacts)
    assert isinstance(after, ProjectFacts)
    assert after.asked > before.asked


def test_edit_reads_everything_now() -> None:
    obj = project()
    ages = max_ages(obj, FakeClusterState(obj), 0.0)
    assert (ages.facts, ages.contents) == (0.0, 0.0)


@pytest.mark.parametrize("spec", [{}, {"crossProjectUsage": "Allow"}], ids=["identity", "Allow"])
def test_contents_are_read_at_each_interval_where_objects_depend_on_them(spec: Mapping[str, Any]) -> None:
    obj = project(**spec)
    cluster = FakeClusterState(obj)
    if not spec:
        cluster.references[ObjectKey.of(obj)] = {ObjectKey.of(identity())}
    ages = max_ages(obj, cluster, 240.0)
    assert (ages.facts, ages.contents) == (FACTS_MAX_AGE - INTERVAL, 240.0)


@pytest.fixture
async def with_low_quota(emulator: Emulator) -> AsyncIterator[tuple[ProjectFactsReader, Clock]]:
    """Yield a reader with four reads of organization policies, and its clock."""
    rates = {(Api.ORG_POLICY, CallKind.READ): Rate(per_minute=0.001, burst=4)}
    clients = GoogleClients(emulator.grpc_address, Observer(), RateLimiter(rates))
    clock = Clock()
    yield ProjectFactsReader(Projects(clients), Policies(clients), OrgPolicies(clients), clock), clock
    await clients.close()


async def test_known_organization_policy_suffices_while_the_quota_is_low(
    emulator: Emulator, with_low_quota: tuple[ProjectFactsReader, Clock]
) -> None:
    reader, clock = with_low_quota
    obj = project()
    for _ in range(3):
        await reader.cross_project_usage(obj, 0.0)
        clock.now += 1

    await reader.cross_project_usage(obj, 0.0)
    assert emulator.calls[EFFECTIVE_POLICY] == 3, "less than half of the burst is left"

    await reader.cross_project_usage(obj, 0.0, is_requested=True)
    assert emulator.calls[EFFECTIVE_POLICY] == 4


ALLOWED = EffectiveCrossProjectUsage.ALLOWED
"""What the status of a project shows. The emulator denies it."""


@pytest.mark.parametrize(
    ("spec", "reported", "later", "is_read"),
    [
        ({}, ALLOWED, 0.0, False),
        ({}, None, 0.0, True),
        ({"crossProjectUsage": "Allow"}, ALLOWED, 0.0, True),
        ({}, ALLOWED, FACTS_MAX_AGE, True),
    ],
    ids=["reported", "new", "to be lifted", "an hour later"],
)
async def test_reported_organization_policy_suffices_after_a_start_while_the_quota_is_low(
    emulator: Emulator,
    with_low_quota: tuple[ProjectFactsReader, Clock],
    spec: Mapping[str, Any],
    reported: EffectiveCrossProjectUsage | None,
    later: float,
    is_read: bool,
) -> None:
    reader, clock = with_low_quota
    for _ in range(3):
        await reader.cross_project_usage(project(projectID="lab-5678"), 0.0)
        clock.now += 1
    emulator.calls.reset()
    obj = project(**spec)
    status = obj.status.model_copy(update={"cross_project_usage": reported})
    clock.now += later

    usage = await reader.cross_project_usage(obj.model_copy(update={"status": status}), INTERVAL)

    assert emulator.calls[EFFECTIVE_POLICY] == is_read
    assert (usage is ALLOWED) is not is_read


async def test_organization_policy_is_read_again_after_it_was_written(clients: GoogleClients) -> None:
    reader = ProjectFactsReader(Projects(clients), Policies(clients), OrgPolicies(clients), Clock())
    obj = project()
    before = await reader.cross_project_usage(obj, FACTS_MAX_AGE)
    await reader.allow_cross_project_usage(obj.project_id)
    after = await reader.cross_project_usage(obj, FACTS_MAX_AGE)
    assert (before, after) == (EffectiveCrossProjectUsage.DENIED, EffectiveCrossProjectUsage.ALLOWED)


@pytest.mark.parametrize(
    ("changes", "requested"),
    [
        ({"observedGeneration": 1}, False),
        ({"observedGeneration": 0}, True),
        ({"observedGeneration": 1, "lastHandledReconcileAt": "before"}, True),
    ],
    ids=["handled", "edited", "requested again"],
)
def test_edit_or_request_is_passed_on(changes: Mapping[str, Any], requested: bool) -> None:
    obj = project(ready=False)
    document = obj.to_dict()
    document["status"] |= changes
    if "lastHandledReconcileAt" in changes:
        document["metadata"]["annotations"] = {RECONCILE_REQUESTED_AT: "now"}
    obj = ManagedProject.model_validate(document)
    assert max_ages(obj, FakeClusterState(obj), 0.0).is_requested is requested
