"""Claims of projects, and keeping off the projects of another operator, on a Kubernetes API in memory."""

import asyncio
from typing import Any

import pytest

from cloudrun_identity.api import GrantState, ProjectOperator
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.kube.lease_observer import LeaseObserver
from cloudrun_identity.kube.objects import resource
from cloudrun_identity.kube.resources import LEASES, Object
from cloudrun_identity.ledger.model import Ledger, entry_of
from cloudrun_identity.ledger.store import Ledgers
from cloudrun_identity.manager.kubernetes import CountedClient, KubeWrites
from cloudrun_identity.manager.metrics import Metrics
from cloudrun_identity.manager.project_operators import ProjectOperators
from cloudrun_identity.reconcile.cluster_state import ObjectKey, StoredObject, project_key
from cloudrun_identity.reconcile.requeue import NoRequeue, RequeueAfter
from tests.unit.kube.fake_api import FakeApi

PROJECTS = resource("ManagedProject")
PROJECT = project_key("payments-prod")
BINDING = ObjectKey("IAMBinding", "payments", "web")
HOME = Target.project("payments-prod")
OWNER = "IAMBinding/payments/web/1"


class Replica:
    """One operator of the cluster: a cache of objects, ledgers and the gate."""

    def __init__(self, api: FakeApi, namespace: str) -> None:
        self.api = api
        self.now = 0.0
        self.own = ProjectOperator(namespace=namespace, lease="cloudrun-identity")
        self.ledgers = Ledgers(api, namespace)
        self.events: list[str] = []
        self.elsewhere: list[int] = []
        self.cached: dict[ObjectKey, Object] = {}
        self.gate = ProjectOperators(
            self.own,
            objects=self,
            ledgers=self.ledgers,
            leases=LeaseObserver(api, lambda: self.now),
            kube=KubeWrites(CountedClient(api, Metrics())),
            warn=lambda raw, reason, message: self.events.append(f"{reason}: {message}"),
            count=self.elsewhere.append,
        )

    def stored(self, key: ObjectKey) -> StoredObject | None:
        return StoredObject(self.cached[key], None) if key in self.cached else None

    def absorb(self, raw: Object) -> None:
        self.cached[ObjectKey(raw["kind"], "", raw["metadata"]["name"])] = raw

    def drop(self, raw: Object) -> None:
        del self.cached[PROJECT]

    async def list(self) -> None:
        """Fill the caches."""
        await self.ledgers.fill()
        for raw in await self.api.list(PROJECTS):
            self.absorb(raw)

    async def admit(self, key: ObjectKey = PROJECT) -> object:
        raw = self.cached.get(key) or binding()
        return await self.gate.admit(key, raw)

    def operates(self, key: ObjectKey = PROJECT) -> bool:
        return self.gate.operates(key, self.cached.get(key) or binding())

    async def record(self) -> None:
        """Record a grant in a ledger of the project."""
        grant = Grant(HOME, "roles/viewer", "group:a@example.com", None)
        entry = entry_of(grant, (OWNER,), GrantState.GRANTED)
        await self.ledgers.update(HOME, lambda ledger: ledger.with_entries({grant: entry}))


def binding() -> Object:
    return {
        "kind": "IAMBinding",
        "metadata": {"namespace": "payments", "name": "web", "uid": "1"},
        "spec": {"projectRef": {"name": "payments-prod"}},
    }


@pytest.fixture
def api() -> FakeApi:
    api = FakeApi()
    api.put(PROJECTS, {"kind": "ManagedProject", "metadata": {"name": "payments-prod"}, "spec": {}})
    return api


@pytest.fixture
async def first(api: FakeApi) -> Replica:
    """Provide the operator that has claimed the project and manages a grant."""
    first = Replica(api, "first")
    await first.list()
    assert await first.admit() is None
    await first.record()
    renew(api, "1")
    return first


@pytest.fixture
async def second(api: FakeApi, first: Replica) -> Replica:
    second = Replica(api, "second")
    await second.list()
    return second


def renew(api: FakeApi, time: str) -> None:
    metadata = {"name": "cloudrun-identity", "namespace": "first"}
    spec = {"holderIdentity": "pod-a", "leaseDurationSeconds": 10, "renewTime": time}
    api.put(LEASES, {"metadata": metadata, "spec": spec})


async def test_first_object_of_a_project_claims_it_before_anything_else(api: FakeApi) -> None:
    operator = Replica(api, "first")
    await operator.list()
    assert not operator.operates(BINDING)
    assert await operator.admit(BINDING) is None
    assert operator.operates(BINDING)
    stored = await api.get(PROJECTS, "payments-prod")
    assert stored["status"]["operator"] == {"namespace": "first", "lease": "cloudrun-identity"}
    assert api.writes == ["patch"]
    assert await operator.admit() is None
    assert api.writes == ["patch"]


async def test_one_of_two_operators_that_start_together_claims_a_project(api: FakeApi) -> None:
    replicas = [Replica(api, "first"), Replica(api, "second")]
    for each in replicas:
        await each.list()
    admitted = await asyncio.gather(*(each.admit() for each in replicas))
    assert admitted.count(None) == 1
    assert [each.operates() for each in replicas] == [requeue is None for requeue in admitted]


async def test_second_operator_writes_nothing_and_logs_one_line(
    api: FakeApi, second: Replica, caplog: pytest.LogCaptureFixture
) -> None:
    before = list(api.writes)
    for key in (BINDING, PROJECT, BINDING, PROJECT):
        renew(api, str(second.now))
        second.now += 9
        assert await second.admit(key) == (NoRequeue() if key.namespace else RequeueAfter(5.0))
        assert not second.operates(key)
    assert api.writes == before
    [line] = caplog.messages
    assert "acts on no object of ManagedProject payments-prod" in line
    assert "pod-a renews Lease first/cloudrun-identity" in line
    assert second.events == []
    assert second.elsewhere == [0, 1]


async def test_ended_operator_with_ledgers_is_reported_in_an_event(second: Replica) -> None:
    await second.admit()
    second.now += 21
    assert await second.admit() == RequeueAfter(5.0)
    [event] = second.events
    assert event.startswith("OperatorEnded: The operator in namespace first no longer renews its Lease")
    assert not second.operates()


async def test_second_operator_takes_over_with_the_ledgers_of_the_first(
    api: FakeApi, second: Replica, caplog: pytest.LogCaptureFixture
) -> None:
    await second.admit()
    second.now += 21
    assert await second.admit() is not None
    await second.record()
    second.now += 21
    assert await second.admit() is None
    assert second.operates(BINDING)
    assert "took over ManagedProject payments-prod" in caplog.messages[-1]
    assert second.elsewhere == [0, 1, 0]


async def test_object_without_project_is_left_to_the_operator_that_recorded_it(
    first: Replica, second: Replica
) -> None:
    for each in (first, second):
        each.cached.clear()
    assert await first.admit(BINDING) is None
    assert await second.admit(BINDING) == RequeueAfter(5.0)
    assert not second.operates(BINDING)


async def test_deleted_project_is_forgotten(second: Replica) -> None:
    await second.admit()
    second.gate.forget(BINDING)
    second.gate.forget(PROJECT)
    assert second.elsewhere == [0, 1, 0]


async def test_copied_ledger_equals_its_original_and_an_edited_one_does_not(
    first: Replica, second: Replica
) -> None:
    await second.record()
    ledgers = second.ledgers.of_project("payments-prod")
    assert ledgers.not_imported("first") == ()
    await first.ledgers.update(HOME, lambda ledger: Ledger.of(ledger.target).with_left(_left()))
    await second.list()
    assert len(second.ledgers.of_project("payments-prod").not_imported("first")) == 1


def _left() -> Any:
    return {Grant(HOME, "roles/editor", "user:b@example.com", None): OWNER}
