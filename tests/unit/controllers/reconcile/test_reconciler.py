"""The reconcile of every kind, over a scripted controller, fake lanes' ports and a fake API server."""

import asyncio
import copy
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from cloudrun_identity.api import (
    FINALIZER,
    CloudRunIdentity,
    ConditionStatus,
    ConditionType,
    Reason,
    TargetKind,
)
from cloudrun_identity.controllers.gate import Passed, Stopped
from cloudrun_identity.controllers.grants.members import Holder
from cloudrun_identity.controllers.grants.release import Releaser
from cloudrun_identity.controllers.grants.wishes import Judge, Wish
from cloudrun_identity.controllers.outcomes import Failing, InSync, Outcome, Refused, Waiting
from cloudrun_identity.controllers.reconcile.announcements import Announcer
from cloudrun_identity.controllers.reconcile.conclusion import DENIED_FOR_GOOD
from cloudrun_identity.controllers.reconcile.controller import Applied, Change, Summary
from cloudrun_identity.controllers.reconcile.following import Again, Next, Rest
from cloudrun_identity.controllers.reconcile.reconciler import Reconciler
from cloudrun_identity.controllers.reconcile.tools import Tools
from cloudrun_identity.controllers.reconcile.unreadable import status_of_unreadable
from cloudrun_identity.controllers.world import Key, World, claimant
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.policy_engine.lanes import Lanes
from cloudrun_identity.iam.claims import Claimant, Declaration
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.kube.resources import Object
from tests.unit.controllers.grants.test_wishes import FakeRoles
from tests.unit.controllers.kstatus import violations
from tests.unit.controllers.world import IDENTITY, FakeWorld, identity, parsed, project
from tests.unit.gcp.fakes import Scene

pytestmark = pytest.mark.looptime(start=0)

HOME = Target(TargetKind.PROJECT, "payments-prod-1234")
ANN = Grant(HOME, "roles/cloudsql.client", "user:ann@example.com")
BOB = Grant(HOME, "roles/cloudsql.client", "user:bob@example.com")
KEY = Key("CloudRunIdentity", "payments", "checkout")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DRIFT = (Change("disabled", "true", "false"),)


class Script:
    """A controller that sees what it is told, and wishes for what it is told."""

    kind = CloudRunIdentity

    def __init__(self, releaser: Releaser) -> None:
        self._releaser = releaser
        self.changes: list[tuple[Change, ...]] = []
        self.applied: Outcome = InSync()
        self.wanted: tuple[Grant, ...] = (ANN,)
        self.error: Exception | None = None
        self.in_use = False
        self.reads: list[float] = []
        self.applies = 0

    def references(self, obj: CloudRunIdentity) -> frozenset[Key]:
        return frozenset()

    def declares(self, obj: CloudRunIdentity) -> str:
        return ""

    def desired(self, obj: CloudRunIdentity, gate: Passed, world: World) -> CloudRunIdentity | Stopped:
        return obj

    async def observe(self, want: CloudRunIdentity, max_age: float) -> tuple[Change, ...]:
        self.reads.append(max_age)
        if self.error:
            raise self.error
        return self.changes.pop(0) if self.changes else ()

    def diff(self, want: CloudRunIdentity, seen: tuple[Change, ...]) -> tuple[Change, ...]:
        return seen

    async def apply(
        self, want: CloudRunIdentity, seen: tuple[Change, ...], changes: tuple[Change, ...]
    ) -> Applied[tuple[Change, ...]]:
        self.applies += 1
        return Applied(self.applied, seen)

    def wishes(self, want: CloudRunIdentity, world: World) -> tuple[Wish, ...]:
        return tuple(
            Wish(f"spec.roles[{index}]", grant.target, grant.role, Holder(grant.member))
            for index, grant in enumerate(self.wanted)
        )

    def summarize(self, want: CloudRunIdentity, seen: tuple[Change, ...]) -> Summary:
        return Summary({})

    async def delete(self, obj: CloudRunIdentity, world: World, *, abandon: bool) -> Outcome:
        if self.error:
            raise self.error
        if self.in_use:
            return Waiting(Reason.IN_USE, "in use", 15.0)
        return await self._releaser.release(obj, abandon=abandon)


class Cluster(FakeWorld):
    """The API server and the cache before it, in one."""

    def __init__(self) -> None:
        super().__init__(project())
        self.raws: dict[Key, Object] = {}
        self.writes: list[str] = []
        self.leaving = False
        self.edited_under_us = False
        self.number: str | None = "417203958816"
        self.lend()
        self.apply()

    def lend(self, **spec: Any) -> None:
        lent = project(**spec)
        lent = lent.model_copy(
            update={"status": lent.status.model_copy(update={"project_number": self.number})}
        )
        self._objects[Key.of(lent)] = lent

    def apply(self, **spec: Any) -> None:
        known = self.raws.get(KEY)
        self.raws[KEY] = parsed(IDENTITY, **spec).to_dict()
        if known:
            self.raws[KEY]["metadata"] = known["metadata"]
            self.raws[KEY]["metadata"]["generation"] += 1
            self.raws[KEY]["status"] = known.get("status", {})

    def delete(self) -> None:
        self.raws[KEY]["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"

    @property
    def status(self) -> Any:
        return CloudRunIdentity.model_validate(self.raws[KEY]).status

    def raw(self, key: Key) -> Object | None:
        return copy.deepcopy(self.raws.get(key))

    def absorb(self, raw: Object) -> None:
        self.raws[KEY] = copy.deepcopy(raw)

    def drop(self, raw: Object) -> None:
        self.raws.pop(KEY)

    async def add_finalizer(self, raw: Object) -> Object | None:
        self.writes.append("finalizer")
        raw["metadata"]["finalizers"] = [FINALIZER]
        return raw if KEY in self.raws else None

    async def remove_finalizer(self, raw: Object) -> None:
        self.writes.append("no finalizer")
        del self.raws[KEY]

    async def write_status(self, raw: Object, status: Object) -> Object | None:
        if self.edited_under_us:
            return self.raws[KEY]
        if raw.get("status", {}) != status:
            self.writes.append("status")
        return {**raw, "status": status}

    async def kind_is_leaving(self, kind: str) -> bool:
        return self.leaving


class Silence:
    """Takes events and counts, and keeps them."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def record(self, obj: Object, event_type: object, reason: str, message: str) -> None:
        self.events.append(reason)

    def drift_detected(self, kind: str, count: int = 1) -> None:
        pass

    def drift_repaired(self, kind: str, count: int = 1) -> None:
        pass


class Stage:
    """One object under reconciliation."""

    def __init__(self) -> None:
        self.scene = Scene()
        self.scene.policies.create(HOME)
        self.cluster, self.told = Cluster(), Silence()
        self.start()

    def start(self) -> None:
        """A new process."""
        self.lanes = Lanes(self.scene.ports)
        self.script = Script(Releaser(self.lanes, parked))
        tools = Tools(
            store=self.cluster,
            kube=self.cluster,
            lanes=self.lanes,
            judge=Judge(FakeRoles()),  # type: ignore[arg-type]
            announcer=Announcer(self.told, self.told),
            wall_clock=lambda: NOON,
            parked=parked,
        )
        self.reconciler = Reconciler({KEY.kind: self.script}, tools)

    async def passes(self, max_age: float = 0.0) -> Next:
        following, _ = await self.reconciler.reconcile(KEY, max_age=max_age)
        if KEY in self.cluster.raws:
            generation = self.cluster.raws[KEY]["metadata"]["generation"]
            assert violations(self.cluster.status, generation) == []
        return following

    @property
    def ready(self) -> tuple[ConditionStatus, str]:
        condition = self.cluster.status.condition(ConditionType.READY)
        return condition.status, condition.reason

    @property
    def standing(self) -> frozenset[Grant]:
        return self.scene.policies.standing(HOME)


@asynccontextmanager
async def parked() -> Any:
    yield


@pytest.fixture
def stage() -> Stage:
    return Stage()


# A pass.


async def test_an_object_gets_its_finalizer_before_anything_is_done(stage: Stage) -> None:
    assert await stage.passes() == Rest()
    assert stage.cluster.writes == ["finalizer", "status"]
    assert stage.ready == (ConditionStatus.TRUE, "UpToDate")
    assert stage.standing == {ANN}
    assert stage.told.events == ["Ready"]


async def test_while_its_project_is_about_to_be_looked_at_nothing_is_told(stage: Stage) -> None:
    number, stage.cluster.number = stage.cluster.number, None
    stage.cluster.lend()
    assert await stage.reconciler.reconcile(KEY, max_age=0.0) == (Rest(), "waiting")
    assert stage.cluster.writes == ["finalizer"]
    assert stage.standing == frozenset()

    stage.cluster.number = number
    stage.cluster.lend()
    await stage.passes()
    assert stage.cluster.writes == ["finalizer", "status"]


async def test_a_pass_that_changes_nothing_writes_nothing(stage: Stage) -> None:
    await stage.passes()
    stage.cluster.writes.clear()
    await stage.passes()
    assert stage.cluster.writes == []
    assert stage.scene.policies.sets == 1


async def test_an_object_that_is_gone_is_forgotten(stage: Stage) -> None:
    await stage.passes()
    stage.cluster.raws.clear()
    assert await stage.passes() == Rest()
    with pytest.raises(KeyError):
        await stage.lanes.converge(claimant(identity()))
    await stage.lanes.sweep(HOME.project_id)
    assert stage.standing == {ANN}


async def test_an_object_that_was_never_seen_is_not_waited_for(stage: Stage) -> None:
    other = Claimant("IAMBinding", "payments", "other", "uid")
    stage.scene.policies.grant(BOB)
    stage.scene.hold(BOB, claimant(identity()))
    stage.lanes.expect([other])
    await stage.passes()
    assert BOB in stage.standing
    await stage.reconciler.reconcile(Key(other.kind, other.namespace, other.name), max_age=0.0)
    await stage.passes()
    assert stage.standing == {ANN}


async def test_what_cannot_be_read_is_left_alone_and_says_so(stage: Stage) -> None:
    stage.cluster.raws[KEY]["spec"] = {}
    stage.cluster.raws[KEY]["status"] = {"projectID": "payments-prod-1234", "conditions": [{"type": 3}]}
    assert await stage.reconciler.reconcile(KEY, max_age=0.0) == (Rest(), "unreadable")
    assert stage.cluster.writes == ["status"]
    assert stage.script.reads == []


def test_the_status_of_what_cannot_be_read_names_the_field_and_keeps_the_rest() -> None:
    raw = {"metadata": {"generation": 3}, "status": {"projectID": "p-1234", "conditions": [{"type": 3}]}}
    with pytest.raises(ValidationError) as raised:
        CloudRunIdentity.model_validate({"metadata": {"name": "x"}, "spec": {}})
    status = status_of_unreadable(raw, raised.value, datetime(2026, 11, 22, tzinfo=UTC))
    assert status["projectID"] == "p-1234"
    assert status["observedGeneration"] == 3
    by_type = {each["type"]: each for each in status["conditions"]}
    assert (by_type["Ready"]["status"], by_type["Ready"]["reason"]) == ("False", "InvalidSpec")
    assert by_type["Stalled"]["status"] == "True"
    assert "spec.projectRef: Field required" in by_type["Ready"]["message"]


async def test_an_old_read_is_a_reason_to_look_and_not_to_act(stage: Stage) -> None:
    stage.script.changes = [DRIFT, ()]
    await stage.passes(max_age=300.0)
    assert stage.script.reads == [300.0, 0.0]
    stage.script.reads.clear()
    await stage.passes(max_age=300.0)
    assert stage.script.reads == [300.0]


async def test_an_edit_reads_once(stage: Stage) -> None:
    stage.script.changes = [DRIFT]
    await stage.passes()
    assert stage.script.reads == [0.0]


async def test_grants_wait_for_what_they_stand_on_and_what_is_held_stays(stage: Stage) -> None:
    await stage.passes()
    stage.script.applied = Waiting(Reason.PROPAGATION_PENDING, "m", 0.7)
    stage.script.wanted = (BOB,)
    assert await stage.passes() == Again(0.7)
    assert stage.standing == {ANN}
    stage.script.applied = InSync()
    await stage.passes()
    assert stage.standing == {BOB}


async def test_a_fault_of_googles_is_in_the_status_and_takes_nothing_away(stage: Stage) -> None:
    await stage.passes()
    stage.script.error = GoogleError(Fault.UNAVAILABLE, "google.Service/Method", "no")
    stage.script.wanted = ()
    assert await stage.passes() == Again()
    assert stage.ready == (ConditionStatus.UNKNOWN, "ApiUnavailable")
    assert stage.standing == {ANN}


async def test_a_denied_grant_does_not_hold_up_one_that_waits(stage: Stage) -> None:
    denied = Grant(HOME, "roles/owner", ANN.member)
    stage.script.wanted = (denied, BOB)
    stage.scene.policies.refused = {BOB.member}
    stage.scene.fresh.add("bob@example.com")
    following = await stage.passes()
    assert isinstance(following, Again)
    assert following.after == pytest.approx(3, abs=0.5)
    assert stage.ready[1] == "DeniedByGuardrail"


async def test_what_a_pass_failed_with_is_in_the_status(stage: Stage) -> None:
    await stage.passes()
    await stage.reconciler.fail(KEY, "unexpected RuntimeError")
    assert stage.ready == (ConditionStatus.UNKNOWN, "InternalError")
    resolved = stage.cluster.status.condition(ConditionType.REFERENCES_RESOLVED)
    assert (resolved.status, resolved.reason) == (ConditionStatus.UNKNOWN, "NotObserved")
    await stage.reconciler.fail(Key("CloudRunIdentity", "payments", "gone"), "m")


async def test_an_object_that_moved_on_gets_another_pass_and_no_event(stage: Stage) -> None:
    stage.cluster.edited_under_us = True
    following, _ = await stage.reconciler.reconcile(KEY, max_age=0.0)
    assert isinstance(following, Again)
    assert stage.told.events == []


async def test_a_permission_that_stays_missing_needs_a_person(stage: Stage) -> None:
    stage.script.applied = Failing(Reason.PERMISSION_DENIED, "m")
    await stage.passes()
    assert stage.cluster.status.condition(ConditionType.STALLED) is None
    await asyncio.sleep(DENIED_FOR_GOOD)
    await stage.passes()
    assert stage.cluster.status.condition(ConditionType.STALLED).reason == "PermissionDenied"
    stage.script.applied = InSync()
    await stage.passes()
    stage.script.applied = Failing(Reason.PERMISSION_DENIED, "m")
    await stage.passes()
    assert stage.cluster.status.condition(ConditionType.STALLED) is None


# Brakes.


async def test_a_suspended_object_is_neither_read_nor_written_and_keeps_its_grants(stage: Stage) -> None:
    await stage.passes()
    stage.cluster.apply(suspend=True)
    stage.script.reads.clear()
    stage.script.wanted = ()
    assert await stage.passes() == Rest()
    assert stage.script.reads == []
    assert stage.ready == (ConditionStatus.FALSE, "Suspended")
    stage.scene.policies.revoke(ANN)
    await stage.lanes.sweep(HOME.project_id)
    assert stage.standing == set(), "it is not repaired"
    assert ANN in stage.scene.ledgers.ledger(HOME).holdings


async def test_an_observed_object_writes_nothing_and_reports_the_difference(stage: Stage) -> None:
    stage.cluster.apply(managementPolicy="Observe")
    stage.script.changes = [DRIFT, DRIFT]
    assert await stage.passes() == Rest()
    assert stage.script.applies == 0
    assert stage.scene.policies.sets == 0
    assert stage.scene.ledgers.stored == {}
    assert stage.ready == (ConditionStatus.FALSE, "DriftDetected")
    in_sync = stage.cluster.status.condition(ConditionType.IN_SYNC)
    assert in_sync.status is ConditionStatus.FALSE
    assert "disabled: true → false" in in_sync.message
    assert "is pending" in in_sync.message


async def test_an_object_that_is_not_admitted_any_more_is_frozen(stage: Stage) -> None:
    await stage.passes()
    stage.cluster.lend(namespaces={"names": []})
    stage.script.wanted = ()
    await stage.passes()
    assert stage.ready == (ConditionStatus.FALSE, "DeniedByGuardrail")
    assert stage.standing == {ANN}


# The end.


async def test_deletion_lets_go_and_then_lets_the_object_go(stage: Stage) -> None:
    await stage.passes()
    stage.cluster.delete()
    assert await stage.passes() == Rest()
    assert stage.standing == set()
    assert stage.cluster.writes[-1] == "no finalizer"


async def test_an_object_leaving_without_our_finalizer_is_left_alone(stage: Stage) -> None:
    stage.cluster.delete()
    assert await stage.reconciler.reconcile(KEY, max_age=0.0) == (Rest(), "gone")
    assert stage.cluster.writes == []


async def test_a_release_that_fails_keeps_the_finalizer(stage: Stage) -> None:
    await stage.passes()
    stage.cluster.delete()
    stage.scene.policies.faults = [GoogleError(Fault.PERMISSION_DENIED, "google.Service/Method", "no")]
    assert await stage.passes() == Again()
    assert stage.ready == (ConditionStatus.FALSE, "PermissionDenied")
    await stage.passes()
    assert stage.standing == set()
    assert KEY not in stage.cluster.raws


async def test_a_suspended_deletion_waits_and_says_so(stage: Stage) -> None:
    await stage.passes()
    stage.cluster.apply(suspend=True)
    stage.cluster.delete()
    await stage.passes()
    assert stage.ready == (ConditionStatus.FALSE, "Suspended")
    assert stage.standing == {ANN}


@pytest.mark.parametrize("leaving", [True, False])
async def test_what_is_observed_or_uninstalled_is_abandoned(stage: Stage, leaving: bool) -> None:
    await stage.passes()
    stage.cluster.leaving = leaving
    if not leaving:
        stage.cluster.apply(managementPolicy="Observe")
    stage.cluster.delete()
    await stage.passes()
    assert stage.standing == {ANN}
    assert stage.scene.ledgers.ledger(HOME).is_empty
    assert KEY not in stage.cluster.raws


async def test_a_deletion_that_waits_after_a_restart_holds_up_nobody_elses_releases(stage: Stage) -> None:
    await stage.passes()
    other = Claimant("IAMBinding", "payments", "other", "uid")
    stage.scene.policies.grant(BOB)
    stage.scene.hold(BOB, other)
    stage.cluster.delete()
    stage.start()
    stage.lanes.expect([claimant(identity()), other])
    stage.script.in_use = True
    assert await stage.passes() == Again(15.0)
    stage.lanes.declare(Declaration(other))
    await stage.lanes.converge(other)
    assert stage.standing == {ANN}, "its own are kept"


# Sweeps.


async def test_a_ready_object_differs_only_if_a_read_shows_it(stage: Stage) -> None:
    assert await stage.reconciler.differs(KEY, max_age=1.0)
    await stage.passes()
    assert not await stage.reconciler.differs(KEY, max_age=1.0)
    stage.script.changes = [DRIFT]
    assert await stage.reconciler.differs(KEY, max_age=1.0)
    assert stage.script.reads[-1] == 1.0
    stage.cluster.delete()
    assert await stage.reconciler.differs(KEY, max_age=1.0)


async def test_what_is_gone_does_not_differ_and_what_cannot_be_read_does(stage: Stage) -> None:
    gone = Key("CloudRunIdentity", "payments", "gone")
    assert not await stage.reconciler.differs(gone, max_age=1.0)
    stage.cluster.raws[KEY]["spec"] = {}
    assert await stage.reconciler.differs(KEY, max_age=1.0)


async def test_drift_is_counted_with_every_grant_that_was_missing(stage: Stage) -> None:
    await stage.passes()
    stage.scene.policies.revoke(ANN)
    stage.script.changes = [DRIFT]
    await stage.passes()
    assert stage.cluster.status.drift.count == 2
    assert stage.cluster.status.drift.last_repaired_time == NOON
    assert stage.told.events == ["Ready", "DriftDetected", "DriftRepaired"]


async def test_drift_that_no_status_could_tell_is_told_by_the_next_one(stage: Stage) -> None:
    await stage.passes()
    stage.scene.policies.revoke(ANN)
    stage.script.changes = [DRIFT]
    stage.cluster.edited_under_us = True
    assert await stage.passes() == Again(0.1)
    assert stage.standing == {ANN}
    assert stage.cluster.status.drift is None

    stage.cluster.edited_under_us = False
    stage.script.changes = []
    await stage.passes()
    assert stage.cluster.status.drift.count == 2
    assert stage.told.events == ["Ready", "DriftDetected", "DriftRepaired"]
    await stage.passes()
    assert stage.cluster.status.drift.count == 2, "it is told once"


async def test_a_refused_object_rests(stage: Stage) -> None:
    stage.script.applied = Refused(Reason.CONFLICT, "m")
    assert await stage.passes() == Rest()
    assert stage.cluster.status.condition(ConditionType.STALLED).reason == "Conflict"
