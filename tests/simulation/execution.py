"""Carry out the steps of a history in a world."""

import asyncio
import contextvars
from collections.abc import Callable
from typing import assert_never

from google.cloud.iam_admin_v1 import CreateServiceAccountRequest
from google.iam.v1.iam_policy_pb2 import SetIamPolicyRequest

from cloudrun_identity_playground.emulator.edit_errors import EditError
from cloudrun_identity_playground.kubeapi.errors import ApiError

from . import loop as simulated
from . import steps
from .declarations import BUCKET, NAMESPACES, Grant, ObjectName, Spec, manifest
from .expectation import Expectation
from .kubernetes import OPERATOR_NAMESPACE
from .pool import POOL
from .processes import OperatorProcess
from .result import Result
from .steps import History
from .world import World

QUIET = 330.0
"""Seconds without a write after which a history has settled: longer than the longest backoff, than five drift
intervals and than the temporary grants of the pool, so that a settled operator is known to write nothing."""
SETTLES_WITHIN = 5_400.0
"""Seconds in which it must settle."""

_BUCKET_IN_REQUESTS = "projects/_/buckets/acme-exports"
_TERMINATES_WITHIN = 30.0
_POLL = 10.0


class Execution:
    """One run of a history."""

    def __init__(
        self,
        world: World,
        loop: simulated.SimulatedLoop,
        expectation: Expectation,
        result: Result,
    ) -> None:
        self._world = world
        self._loop = loop
        self._expectation = expectation
        self._result = result
        self._latest = "start"
        self._due: steps.CrashAt | None = None
        self._edits_before_write: list[steps.EditGrant] = []
        self._after_step: Callable[[], None] = lambda: None
        self._restarts: set[asyncio.Task[None]] = set()
        self._behind = 0.0  # seconds by which the wall clock jumped back from its latest time
        self._context = contextvars.copy_context()
        world.on_checkpoint.append(self._after_checkpoint)
        world.before_google_call.append(self._before_call)

    async def run(self, history: History, after_step: Callable[[], None]) -> None:
        """Carry out all steps. Steps that an API refuses have no effect."""
        self._after_step = after_step
        for namespace in (OPERATOR_NAMESPACE, *NAMESPACES):
            self._world.kube.create_namespace(namespace)
        self._world.start()
        for step in history.steps:
            await asyncio.sleep(step.after)
            self._result.note(f"step {step.action}")
            self._latest = type(step.action).__name__
            try:
                await self._carry_out(step.action)
            except (ApiError, EditError) as error:
                self._result.note(f"refused: {error}")
            else:
                self._result.actions[self._latest] += 1
            after_step()

    async def settle(self, *, opens_projects: bool = True) -> None:
        """End all faults, standbys and suspensions, open all projects, and wait until nothing is written.

        A crash at a checkpoint, or an edit before a write, may still happen once.
        """
        world = self._world
        world.calm()
        await asyncio.gather(*self._restarts)
        if self._behind > 0:  # deadlines that were set before the clock jumped back are due as planned
            self._loop.shift_wall_clock(self._behind)
        if opens_projects:
            for name, declared in POOL.items():
                if name.kind == "ManagedProject":
                    self._apply_open(name, declared.specs[0])
                elif (stored := world.kube.find(name)) and stored["spec"].get("suspend"):
                    self._apply_open(name, {**stored["spec"], "suspend": False})
        if not world.alive():
            world.start()
        self._terminate_standbys()
        self._result.note("settle")
        end = self._loop.time() + SETTLES_WITHIN
        while self._loop.time() < end:
            if await self._is_quiet():
                return
        last = "; ".join(world.writes[-6:])
        self._result.violated(f"still writing {SETTLES_WITHIN:g} s after the last step: {last}")

    def _terminate_standbys(self) -> None:
        """End the operators that only read the Lease each second: half of the requests at rest."""
        alive, leader = self._world.alive(), self._world.kube.leader()
        if any(process.name == leader for process in alive):
            for process in alive:
                if process.name != leader:
                    process.terminate()

    async def _is_quiet(self) -> bool:
        """Return whether nothing is written for a while."""
        before, end = len(self._world.writes), self._loop.time() + QUIET
        while len(self._world.writes) == before:
            if self._loop.time() >= end:
                return True
            await asyncio.sleep(_POLL)
        return False

    def _apply_open(self, name: ObjectName, spec: Spec) -> None:
        try:
            self._world.kube.apply(manifest(name, spec))
        except ApiError as error:
            self._result.violated(f"{name} cannot be applied: {error}")

    async def _carry_out(self, action: steps.Action) -> None:
        match action:
            case steps.Apply() | steps.Delete() | steps.DeleteNamespace():
                self._use_kubernetes(action)
            case (
                steps.EditGrant()
                | steps.EditPolicy()
                | steps.RestorePolicies()
                | steps.EditAccount()
                | steps.EditRole()
                | steps.EditKey()
                | steps.Redeploy()
            ):
                self._use_google_cloud(action)
            case (
                steps.GoogleFault()
                | steps.GoogleLag()
                | steps.Quota()
                | steps.KubeFault()
                | steps.ResetConnections()
                | steps.DelayConnections()
            ):
                self._disturb(action)
            case steps.ClockJump(seconds):
                self._loop.shift_wall_clock(seconds)
                self._behind = max(0.0, self._behind) - seconds
                self._expectation.note_clock_jump()
            case steps.RestoreApiServer(age, bump):
                if backup := self._expectation.backup(self._loop.time() - age):
                    before = self._expectation.objects()
                    self._world.kube.restore(backup, bump=bump)
                    self._expectation.note_lost(before.keys() - self._expectation.objects().keys())
                    self._world.reset_connections()
            case _:
                await self._control(action)

    def _use_kubernetes(self, action: steps.Apply | steps.Delete | steps.DeleteNamespace) -> None:
        match action:
            case steps.Apply(name, spec):
                self._world.kube.apply(manifest(name, spec))
            case steps.Delete(name):
                self._world.kube.delete(name)
            case steps.DeleteNamespace(namespace):
                self._world.kube.delete_namespace(namespace)
                self._expectation.note_namespace_deletion(namespace)
            case _:
                assert_never(action)

    def _use_google_cloud(
        self,
        action: steps.EditGrant
        | steps.EditPolicy
        | steps.RestorePolicies
        | steps.EditAccount
        | steps.EditRole
        | steps.EditKey
        | steps.Redeploy,
    ) -> None:
        cloud, expected = self._world.cloud, self._expectation
        match action:
            case steps.EditGrant(_, _, before_write=True):
                self._edits_before_write.append(action)
            case steps.EditGrant(grant, present):
                self._edit_grant(grant, present=present)
            case steps.EditPolicy(resource, part, present):
                cloud.edit_part(resource, part, present=present)
                expected.note_untouched(resource)
            case steps.RestorePolicies(resource, age):
                if old := expected.older_policy(resource, self._loop.time() - age):
                    expected.note_overwritten(resource, cloud.overwrite(resource, old))
            case steps.EditAccount(address, verb):
                cloud.edit_account(address, verb)
                expected.note_account_edit(address, verb)
            case steps.EditRole(verb):
                cloud.edit_role(verb)
                expected.note_role_edit(verb)
            case steps.EditKey(address, verb):
                cloud.edit_key(address, verb)
            case steps.Redeploy(address):
                cloud.redeploy(address)
            case _:
                assert_never(action)

    def _edit_grant(self, grant: Grant, *, present: bool) -> None:
        if present != self._world.cloud.has(grant):
            self._world.cloud.set_grant(grant, present=present)
            self._expectation.note_edit(grant, present=present)

    def _before_call(self, method: str, request: bytes) -> None:
        """Note which account is created, and make the edits that are due before the write of this policy."""
        if method.endswith("/CreateServiceAccount"):
            wanted = CreateServiceAccountRequest.deserialize(request)
            project = wanted.name.removeprefix("projects/")
            self._expectation.note_creation(f"{wanted.account_id}@{project}.iam.gserviceaccount.com")
        if not self._edits_before_write or not method.endswith("/SetIamPolicy"):
            return
        resource = SetIamPolicyRequest.FromString(request).resource
        due = [
            edit
            for edit in self._edits_before_write
            if resource == edit.grant.resource.replace(BUCKET, _BUCKET_IN_REQUESTS)
        ]
        for edit in due:
            self._edits_before_write.remove(edit)
            self._result.note(f"edit before the write: {edit}")
            self._edit_grant(edit.grant, present=edit.present)
        if due:
            self._after_step()

    def _disturb(
        self,
        action: steps.GoogleFault
        | steps.GoogleLag
        | steps.Quota
        | steps.KubeFault
        | steps.ResetConnections
        | steps.DelayConnections,
    ) -> None:
        world = self._world
        match action:
            case steps.GoogleFault(method, code, times, applied, delay):
                world.cloud.fail(method, code, times, applied=applied, delay=delay)
                self._expectation.note_fault(method, code)
            case steps.GoogleLag(accounts, policies):
                world.cloud.lag(accounts, policies)
            case steps.Quota(api, writes):
                world.cloud.limit(api, writes)
            case steps.KubeFault(fault):
                world.kube.fail(fault)
            case steps.ResetConnections():
                world.reset_connections()
            case steps.DelayConnections(share, seconds):
                world.delay_connections(share, seconds)
            case _:
                assert_never(action)

    async def _control(self, action: steps.Crash | steps.CrashAt | steps.SecondOperator) -> None:
        match action:
            case steps.Crash(down, terminate):
                await self._crash(down, terminate=terminate)
            case steps.CrashAt():
                self._due = action
            case steps.SecondOperator():
                if len(self._world.alive()) < 2:
                    self._world.start()
            case _:
                assert_never(action)

    async def _crash(self, down: float, *, terminate: bool) -> None:
        """End all operators, with SIGTERM or at once, and start another one."""
        ended = self._world.alive()
        for process in ended:
            if terminate:
                process.terminate()
            else:
                await self._world.crash(process)
        if terminate:
            await asyncio.sleep(_TERMINATES_WITHIN)
            for process in ended:
                if not process.has_ended:
                    self._result.violated(f"{process.name} did not end within 30 s of SIGTERM")
                    await self._world.crash(process)
        await self._restart(down)

    async def _restart(self, down: float, dead: OperatorProcess | None = None) -> None:
        if dead:
            await self._world.crash(dead)
        await asyncio.sleep(down)
        self._world.start()

    def _after_checkpoint(self, process: OperatorProcess, step: str) -> None:
        self._result.pairs[self._latest, step] += 1
        due = self._due
        if due is None or due.checkpoint != step or not process.is_alive:
            return
        self._due = None
        process.is_alive = False
        self._result.note(f"{process.name} crashes at {step!r}")
        self._world.writes.append(f"{process.name} crashes at {step!r}")  # it has not settled yet
        self._result.actions[f"crash at {step}"] += 1
        # In a context of its own: the present one belongs to the process.
        task = self._context.run(asyncio.ensure_future, self._restart(due.down, process))
        self._restarts.add(task)
        task.add_done_callback(self._restarts.discard)
