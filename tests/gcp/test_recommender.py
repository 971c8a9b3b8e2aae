"""The Recommender API over the wire: findings as values, states with etags, and shared reads."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.findings_reader import MAX_AGE, RETRY_AFTER, FindingsReader, read_findings
from cloudrun_identity.gcp.recommender import Mark, Recommender
from cloudrun_identity.iam.google_findings import FindingSource, FindingState, ProjectFindings
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.faults import Fault as InjectedFault
from cloudrun_identity_playground.emulator.seed import Binding, Project, Seed, ServiceAccount, Workload

PROJECT = "shop-1234"
EMAIL = f"checkout@{PROJECT}.iam.gserviceaccount.com"
MEMBER = f"serviceAccount:{EMAIL}"
STRANGER = "deploy@other-1234.iam.gserviceaccount.com"
SERVICE = "google.cloud.recommender.v1.Recommender"
INSIGHTS = (FindingSource.PERMISSION_USAGE, FindingSource.UNUSED_ACCOUNTS, FindingSource.LATERAL_MOVEMENT)
NOW = datetime(2026, 11, 29, tzinfo=UTC)


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    seed = Seed(
        projects=(
            Project(project_id="other-1234", service_accounts=(ServiceAccount(account_id="deploy"),)),
            Project(
                project_id=PROJECT,
                service_accounts=(ServiceAccount(account_id="checkout"),),
                services=(Workload(location="europe-west1", name="web", image="image"),),
                policy=(
                    Binding(role="roles/storage.admin", members=(MEMBER,)),
                    Binding(role="roles/run.viewer", members=(MEMBER,)),
                    Binding(role="roles/iam.serviceAccountUser", members=(f"serviceAccount:{STRANGER}",)),
                ),
            ),
        )
    )
    async with Emulator(seed=seed) as running:
        running.edit(
            {
                "usage": f"projects/{PROJECT}",
                "used": {MEMBER: ["storage.objects.get"]},
                "inferred": {MEMBER: ["storage.objects.list"]},
                "unusedAccounts": {EMAIL: "2026-01-31T08:00:00Z"},
            }
        )
        yield running


@pytest.fixture
def recommender(clients: GoogleClients) -> Recommender:
    return Recommender(clients)


def explain(error: GoogleError) -> str:
    return error.fault.name


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Readers:
    """A reader, its clock, and the projects that it reported as changed."""

    def __init__(self, recommender: Recommender) -> None:
        self.clock = Clock()
        self.changed: list[str] = []
        self.reader = FindingsReader(recommender, self.clock, lambda: NOW, explain, self.changed.append)

    async def settled(self) -> ProjectFindings:
        """Return the findings after the reads in flight."""
        self.reader.latest(PROJECT)
        while self.reader._reading:
            await asyncio.gather(*self.reader._reading.values())
            await asyncio.sleep(0)
        found = self.reader.latest(PROJECT)
        assert found is not None
        return found


async def test_role_recommendations_are_read_with_their_use(recommender: Recommender) -> None:
    found = await read_findings(recommender, PROJECT, NOW, explain)
    by_role = {each.role: each for each in found.roles}
    assert by_role["roles/run.viewer"].replace_by == ()
    assert not by_role["roles/run.viewer"].is_customizable
    admin = by_role["roles/storage.admin"]
    assert len(admin.replace_by) == 1
    usage = found.usage_of(admin)
    assert usage is not None
    assert usage.needed == ("storage.objects.get", "storage.objects.list")
    assert usage.used == ("storage.objects.get",)


async def test_unused_account_and_impersonator_are_read(recommender: Recommender) -> None:
    found = await read_findings(recommender, PROJECT, NOW, explain)
    [unused] = found.unused_accounts
    assert (unused.email, unused.last_used) == (EMAIL, datetime(2026, 1, 31, 8, tzinfo=UTC))
    [movement] = found.lateral_movements
    assert (movement.impersonator, movement.targets) == (STRANGER, frozenset({EMAIL}))


async def test_service_on_the_default_account_is_read(recommender: Recommender) -> None:
    [found] = await recommender.workload_identities(PROJECT, "europe-west1")
    assert (found.service, found.location) == ("web", "europe-west1")
    assert await recommender.workload_identities(PROJECT, "us-east1") == ()


async def test_mark_changes_the_state_once_per_etag(recommender: Recommender) -> None:
    found = (await recommender.roles(PROJECT))[0]
    await recommender.mark(PROJECT, found.name, found.etag, Mark.CLAIMED)
    claimed = next(each for each in await recommender.roles(PROJECT) if each.name == found.name)
    assert claimed.state is FindingState.CLAIMED
    with pytest.raises(GoogleError) as refused:
        await recommender.mark(PROJECT, found.name, found.etag, Mark.SUCCEEDED)
    assert refused.value.fault is Fault.ABORTED
    await recommender.mark(PROJECT, found.name, claimed.etag, Mark.SUCCEEDED)
    assert found.name not in {each.name for each in await recommender.roles(PROJECT)}


async def test_finding_of_another_shape_is_ignored(emulator: Emulator, recommender: Recommender) -> None:
    before = await read_findings(recommender, PROJECT, NOW, explain)
    number = emulator.cloud.registry.resolve(PROJECT).number
    at = f"projects/{number}/locations/global"
    for kind in (
        FindingSource.PERMISSION_USAGE,
        FindingSource.UNUSED_ACCOUNTS,
        FindingSource.LATERAL_MOVEMENT,
    ):
        emulator.edit({"insight": {"name": f"{at}/insightTypes/{kind}/insights/x", "content": {"role": [1]}}})
    content = {"operationGroups": [{"operations": [{"action": "remove", "resource": "//elsewhere"}]}]}
    name = f"{at}/recommenders/{FindingSource.ROLES}/recommendations/x"
    emulator.edit({"recommendation": {"name": name, "stateInfo": {"state": "ACTIVE"}, "content": content}})
    assert await read_findings(recommender, PROJECT, NOW, explain) == before


async def test_all_callers_share_one_read_for_six_hours(recommender: Recommender, emulator: Emulator) -> None:
    readers = Readers(recommender)
    assert readers.reader.latest(PROJECT) is None
    assert readers.reader.latest(PROJECT) is None
    found = await readers.settled()
    assert found.roles
    readers.clock.now += MAX_AGE - 1
    await readers.settled()
    assert emulator.calls[f"{SERVICE}/ListRecommendations"] == 1
    assert emulator.calls[f"{SERVICE}/ListInsights"] == 3
    readers.clock.now += 2
    await readers.settled()
    assert emulator.calls[f"{SERVICE}/ListRecommendations"] == 2
    assert readers.changed == [PROJECT]


async def test_changed_findings_are_reported(recommender: Recommender, emulator: Emulator) -> None:
    readers = Readers(recommender)
    await readers.settled()
    emulator.edit({"usage": f"projects/{PROJECT}", "used": {MEMBER: []}})
    readers.clock.now += MAX_AGE
    await readers.settled()
    assert readers.changed == [PROJECT, PROJECT]


@pytest.mark.parametrize(
    ("code", "retry_after"), [("PERMISSION_DENIED", MAX_AGE), ("INVALID_ARGUMENT", RETRY_AFTER)]
)
async def test_only_the_unreadable_source_is_read_again(
    recommender: Recommender, emulator: Emulator, code: str, retry_after: float
) -> None:
    emulator.faults.add(InjectedFault(method=f"{SERVICE}/ListRecommendations", code=code, times=1))
    readers = Readers(recommender)
    found = await readers.settled()
    assert [(each.source, each.why) for each in found.unreadable] == [(FindingSource.ROLES, code)]
    assert found.usage
    readers.clock.now += retry_after - 1
    assert await readers.settled() == found
    assert emulator.calls[f"{SERVICE}/ListRecommendations"] == 1
    readers.clock.now += 1
    again = await readers.settled()
    assert again.roles
    assert (again.usage, again.unreadable) == (found.usage, ())
    assert emulator.calls[f"{SERVICE}/ListInsights"] == (6 if retry_after == MAX_AGE else 3)
