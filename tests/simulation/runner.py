"""Run one history and check what must hold during it and after it."""

import asyncio
import contextvars
import random
import tempfile
import traceback
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, assert_never

from google.iam.v1 import iam_policy_pb2, policy_pb2

from cloudrun_identity_playground.emulator.apis.actor import OTHER_USER, acting_as
from cloudrun_identity_playground.emulator.apis.service_accounts import policy_name
from cloudrun_identity_playground.emulator.edits import EditError
from cloudrun_identity_playground.emulator.seed import Seed
from cloudrun_identity_playground.kubeapi.errors import ApiError

from . import loop as simulated
from . import steps
from .declarations import (
    BUCKET,
    CHECKOUT,
    DATA,
    NAMESPACES,
    PLURALS,
    POOL,
    PROJECTS,
    SHOP,
    Grant,
    ObjectName,
    email,
    grants_of,
    manifest,
)
from .steps import DECLARED, UNMANAGED, History
from .processes import OperatorProcess
from .world import World, installed

QUIET = 330.0
"""Seconds without a write after which a history has settled: longer than the longest backoff."""
SETTLES_WITHIN = 5_400.0
"""Seconds in which it must settle."""
IDLE = 130.0
"""Seconds after that in which nothing may be written: two drift intervals."""

_SEEN_WITHIN = 120.0
"""Seconds after which the operator must know what is declared, even if a watch was silent."""


@dataclass
class Result:
    """Result of a history."""

    violations: list[str] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)
    """Calls, steps and writes, with their times."""
    log: list[str] = field(default_factory=list)
    checkpoints: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    """Virtual seconds."""
    reached: Counter[str] = field(default_factory=Counter)
    """Number of each action that had an effect."""


def run(history: History) -> Result:
    """Run a history. A crash of the operator is a violation, not an exception."""
    result = Result()
    with simulated.seeded(history.seed) as source, tempfile.TemporaryDirectory() as directory:

        async def main(loop: simulated.SimulatedLoop) -> None:
            world = World(_SEED, source, Path(directory))
            result.log, result.checkpoints = world.log, world.checkpoints
            with installed(world, loop):
                async with world.running():
                    await Execution(history, world, loop, result).run()

        try:
            simulated.run(main)
        except Exception as error:
            result.violations.append(f"the simulation failed: {error!r}")
            result.trace.extend(traceback.format_exc().splitlines())
    return result


class Execution:
    """One run of a history."""

    def __init__(
        self, history: History, world: World, loop: simulated.SimulatedLoop, result: Result
    ) -> None:
        self._history = history
        self._world = world
        self._loop = loop
        self._result = result
        self._by_hand = {grant for grant in UNMANAGED if self._has(grant)}
        self._unclear: set[Grant] = set()
        self._written: list[tuple[float, str, policy_pb2.Policy]] = []
        self._present = {resource: set(self._grants(resource)) for resource in _resources(ALL_GRANTS)}
        """Grants on each resource after the last write."""
        self._declared_since: dict[Grant, float] = {}
        """The time since which each grant is declared without a break."""
        self._used: set[ObjectName] = set()
        """Identities that the service has run as, or was to run as."""
        self._abandoned: set[ObjectName] = set()
        """Those of them that were deleted, so that their accounts may be left."""
        self._due: steps.CrashAt | None = None
        self._restarts: set[asyncio.Task[None]] = set()
        world.on_google_write.append(self._after_write)
        world.on_checkpoint.append(self._after_checkpoint)

    async def run(self) -> None:
        """Carry out all steps, wait until nothing happens, and check everything."""
        self._context = contextvars.copy_context()
        for namespace in NAMESPACES:
            self._world.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        self._world.start()
        for step in self._history.steps:
            await self._sleep(step.after)
            self._note(f"step {step.action}")
            try:
                await self._carry_out(step.action)
            except (ApiError, EditError) as error:
                self._note(f"refused: {error}")
            else:
                self._result.reached[type(step.action).__name__] += 1
            self._update_declared()
            self._update_present()
            self._note_used()
        await self._settle()
        self._check_end()
        await self._check_idle()
        self._result.seconds = self._loop.time()

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _carry_out(self, action: steps.Action) -> None:
        world, emulator = self._world, self._world.emulator
        match action:
            case steps.Apply(name, spec):
                world.apply(manifest(name, spec))
                self._note_observed_deletions()
            case steps.Delete(name):
                self._note_abandoned(name)
                world.delete(name.namespace, PLURALS[name.kind], name.name)
                self._note_observed_deletions()
            case steps.EditGrant(grant, present):
                self._edit_grant(grant, present=present)
            case steps.RestorePolicies(resource, age):
                self._restore_policy(resource, age)
            case steps.EditAccount(account, verb):
                emulator.edit({"serviceAccount": _full_name(_account(account)), verb: True})
            case steps.Redeploy(account):
                emulator.edit({"workload": _full_name(CHECKOUT), "serviceAccount": account})
            case steps.GoogleFault(method, code, times, applied, delay):
                emulator.faults.add(_google_fault(method, code, times, applied, delay))
            case steps.KubeFault(fault):
                world.fail(fault)
            case steps.ResetConnections():
                world.reset_connections()
            case steps.Crash(down, terminate):
                await self._crash(down, terminate=terminate)
            case steps.CrashAt():
                self._due = action
            case steps.SecondOperator():
                if sum(process.is_alive for process in world.processes) < 2:
                    world.start()
            case steps.ClockJump(seconds):
                self._loop.shift_wall_clock(seconds)
            case steps.RestoreApiServer():
                raise NotImplementedError
            case _:
                assert_never(action)

    async def _crash(self, down: float, *, terminate: bool, dead: OperatorProcess | None = None) -> None:
        if dead:
            await self._world.crash(dead)
        for process in self._world.processes:
            if process.is_alive and terminate:
                process.terminate()
            elif process.is_alive:
                await self._world.crash(process)
        if terminate:
            await asyncio.sleep(30.0)
            for process in self._world.processes:
                if not process.has_ended:
                    self._violated(f"{process.name} did not end within 30 s of SIGTERM")
                    await self._world.crash(process)
        await asyncio.sleep(down)
        self._world.start()

    def _after_checkpoint(self, process: OperatorProcess, step: str) -> None:
        due = self._due
        if due is None or due.checkpoint != step or not process.is_alive:
            return
        self._due = None
        process.is_alive = False
        self._note(f"{process.name} crashes at {step!r}")
        self._result.reached[f"crash at {step}"] += 1
        # In a context of its own: the present one belongs to the process.
        task = self._context.run(asyncio.ensure_future, self._crash(due.down, terminate=False, dead=process))
        self._restarts.add(task)
        task.add_done_callback(self._restarts.discard)

    def _note_abandoned(self, name: ObjectName) -> None:
        """An account in use is left with its grants when its identity is deleted."""
        if name.kind != "CloudRunIdentity" or name not in self._used:
            return
        account = email(name.namespace, name.name, POOL[name].project)
        self._abandoned.add(name)
        self._unclear |= {each for each in ALL_GRANTS if account in each.resource or account in each.member}

    def _note_observed_deletions(self) -> None:
        for name in POOL:
            obj = self._world.find(name.namespace, PLURALS[name.kind], name.name)
            if obj and "deletionTimestamp" in obj["metadata"]:
                self._note_observed(name)

    def _note_observed(self, name: ObjectName) -> None:
        """The deletion of an object of an observed project leaves everything in Google Cloud."""
        project = self._world.find("", PLURALS["ManagedProject"], POOL[name].project)
        if project and project["spec"].get("managementPolicy") == "Observe":
            account = email(name.namespace, name.name, POOL[name].project)
            specs = POOL[name].specs
            self._unclear |= {each for spec in specs for each in grants_of(name, spec, _HOMES)}
            if name.kind == "CloudRunIdentity":
                self._abandoned.add(name)
                self._unclear |= {each for each in ALL_GRANTS if account in each.resource or account in each.member}

    def _note_used(self) -> None:
        attachment = self._world.find("team-a", PLURALS["IdentityAttachment"], "checkout")
        if attachment:
            identity = attachment["spec"]["identityRef"]["name"]
            self._used.add(ObjectName("CloudRunIdentity", "team-a", identity))
        runs_as = self._world.runs_as(CHECKOUT)
        self._used |= {
            name
            for name, declared in POOL.items()
            if name.kind == "CloudRunIdentity"
            and email(name.namespace, name.name, declared.project) == runs_as
        }

    def _edit_grant(self, grant: Grant, *, present: bool) -> None:
        if present == self._has(grant):
            return
        verb = "add" if present else "remove"
        change = {"role": grant.role, "member": grant.member}
        self._world.emulator.edit({"policy": _full_name(grant.resource), verb: [change]})
        if grant in DECLARED:
            self._unclear.add(grant)
        elif present:
            self._by_hand.add(grant)
        else:
            self._by_hand.discard(grant)

    def _restore_policy(self, resource: str, age: float) -> None:
        before = self._loop.time() - age
        old = next((policy for at, name, policy in reversed(self._written) if name == resource and at <= before), None)
        if old is None:
            return
        changes: dict[str, list[dict[str, str]]] = {"add": [], "remove": []}
        was, now = set(_grants(resource, old)), set(self._grants(resource))
        for grant in was - now:
            changes["add"].append({"role": grant.role, "member": grant.member})
        for grant in now - was:
            changes["remove"].append({"role": grant.role, "member": grant.member})
        if not was ^ now or any("deleted:" in grant.member for grant in was ^ now):
            return
        self._world.emulator.edit({"policy": _full_name(resource), **changes})
        self._unclear |= (was ^ now) - set(UNMANAGED)
        self._by_hand = {grant for grant in self._by_hand if grant.resource != resource} | (was & set(UNMANAGED))

    def _update_declared(self) -> None:
        """Note which grants the stored objects declare."""
        specs = {
            name: obj["spec"]
            for name in POOL
            if (obj := self._world.find(name.namespace, PLURALS[name.kind], name.name))
            and "deletionTimestamp" not in obj["metadata"]
        }
        declared, _ = self._declared(specs)
        now = self._loop.time()
        self._declared_since = {grant: self._declared_since.get(grant, now) for grant in declared}

    def _update_present(self) -> set[Grant]:
        """Return the grants that were removed since the last call."""
        removed: set[Grant] = set()
        for resource, before in self._present.items():
            self._present[resource] = set(self._grants(resource))
            removed |= before - self._present[resource]
        return removed

    def _after_write(self, process: OperatorProcess, method: str) -> None:
        if (leader := self._world.leader()) != process.name:
            self._violated(f"{process.name} calls {method}, but {leader or 'no process'} holds the Lease")
        if not process.is_alive:
            self._violated(f"{process.name} calls {method} after its end")
        for grant in self._update_present():
            since = self._declared_since.get(grant)
            if since is not None and self._loop.time() - since > _SEEN_WITHIN and grant not in self._unclear:
                self._violated(f"{process.name} removed a grant that is declared since {since:.0f}: {_shown(grant)}")
        for resource in _RESTORABLE:
            shown = self._world.emulator.cloud.policies.shown(resource)
            self._written.append((self._loop.time(), resource, shown))

    async def _settle(self) -> None:
        """Clear the faults, open all projects, and wait until nothing is written any more."""
        world = self._world
        world.emulator.faults.clear()
        world.clear_faults()
        self._due = None
        await asyncio.gather(*self._restarts)
        for name, declared in POOL.items():
            if name.kind == "ManagedProject":
                world.apply(manifest(name, declared.specs[0]))
        if not any(process.is_alive for process in world.processes):
            world.start()
        self._note("settle")
        end = self._loop.time() + SETTLES_WITHIN
        while self._loop.time() < end:
            before = world.writes()
            quiet_since = self._loop.time()
            while world.writes() == before and self._loop.time() < quiet_since + QUIET:
                await asyncio.sleep(10.0)
            if world.writes() == before:
                return
        self._violated(f"still writing {SETTLES_WITHIN:g} s after the last step: {world.last_writes()}")

    def _check_end(self) -> None:
        live = {
            name: obj
            for name in POOL
            if (obj := self._world.find(name.namespace, PLURALS[name.kind], name.name))
        }
        deleting = [name for name, obj in live.items() if "deletionTimestamp" in obj["metadata"]]
        for name in deleting:
            if not self._is_in_use(name, live):
                self._violated(f"{name} is still being deleted: {_ready(live[name])}")
        for name, obj in live.items():
            self._check_status(name, obj)
        required, unclear = self._declared({name: obj["spec"] for name, obj in live.items() if name not in deleting})
        universe = ALL_GRANTS
        present = {grant for resource in _resources(universe) for grant in self._grants(resource)}
        for grant in sorted(required - present):
            self._violated(f"missing: {_shown(grant)}")
        for grant in sorted((universe & present) - required - unclear - self._unclear):
            self._violated(f"left: {_shown(grant)}")
        for grant in sorted(self._by_hand - present):
            self._violated(f"removed a grant of others: {_shown(grant)}")
        for grant in sorted(set(UNMANAGED) & present - self._by_hand):
            self._violated(f"added a grant that no object declares: {_shown(grant)}")
        for grant in sorted(required & present):
            if not self._is_effective(grant):
                self._violated(f"of no effect: {_shown(grant)}")
        for process in self._world.processes:
            if process.failure:
                self._note(f"{process.name} ended: {process.failure!r}")

    def _declared(self, specs: dict[ObjectName, Any]) -> tuple[set[Grant], set[Grant]]:
        """Return the grants that the objects require, and those that depend on more than their specs."""

        def home(namespace: str, name: str) -> str | None:
            spec = specs.get(ObjectName("CloudRunIdentity", namespace, name))
            return spec["projectRef"]["name"] if spec else None

        required: set[Grant] = set()
        unclear: set[Grant] = set()
        for name, spec in specs.items():
            grants = grants_of(name, spec, home)
            needs_role = "customRoleRef" in spec and ObjectName("CustomRole", "team-a", "reader") not in specs
            (unclear if needs_role else required).update(grants)
        return required, unclear

    def _check_status(self, name: ObjectName, obj: dict[str, Any]) -> None:
        if "deletionTimestamp" in obj["metadata"]:
            return
        ready = _ready(obj)
        if not ready:
            self._violated(f"{name} has no status")
        elif ready.get("observedGeneration") != obj["metadata"]["generation"]:
            self._violated(f"{name} has an old status: {ready}")
        elif ready["status"] != "True" and not self._misses_dependency(obj):
            self._violated(f"{name} is not Ready: {ready['reason']}: {ready['message']}")

    def _is_in_use(self, name: ObjectName, live: dict[ObjectName, Any]) -> bool:
        """Return whether a custom role cannot be deleted, because a binding grants it."""
        return name.kind == "CustomRole" and ObjectName("IAMBinding", "team-a", "special") in live

    def _misses_dependency(self, obj: dict[str, Any]) -> bool:
        """Return whether an object that it references is not declared."""
        namespace, spec = obj["metadata"].get("namespace", ""), obj["spec"]
        own = ObjectName(obj["kind"], namespace, obj["metadata"]["name"])
        if own in self._abandoned and _ready(obj)["reason"] == "Conflict":
            return True
        wanted = [("CloudRunIdentity", spec.get("identityRef")), ("CustomRole", spec.get("customRoleRef"))]
        wanted += [("CloudRunIdentity", member.get("identityRef")) for member in spec.get("members", ())]
        for kind, reference in wanted:
            if reference:
                found = self._world.find(namespace, PLURALS[kind], reference["name"])
                if not found or "deletionTimestamp" in found["metadata"] or found["spec"].get("disabled"):
                    return True
                if ObjectName(kind, namespace, reference["name"]) in self._abandoned:
                    return True
        return False

    async def _check_idle(self) -> None:
        before = self._world.writes()
        await asyncio.sleep(IDLE)
        if self._world.writes() != before:
            self._violated(f"writes while nothing changes: {self._world.last_writes()}")

    def _grants(self, resource: str) -> Iterator[Grant]:
        return _grants(resource, self._world.emulator.cloud.policies.shown(self._stored_as(resource)))

    def _stored_as(self, resource: str) -> str:
        """Return the name of a resource in the store of policies: accounts have their unique id there."""
        address = resource.partition("/serviceAccounts/")[2]
        for account in self._world.emulator.cloud.accounts:
            if account.email == address and account.deleted_at is None:
                return policy_name(account)
        return resource

    def _has(self, grant: Grant) -> bool:
        return grant in self._grants(grant.resource)

    def _is_effective(self, grant: Grant) -> bool:
        if not grant.member.startswith("serviceAccount:"):
            return True
        cloud = self._world.emulator.cloud
        ids = {
            account.unique_id
            for account in cloud.accounts
            if account.email == grant.member.partition(":")[2] and account.deleted_at is None
        }
        bound = {
            ids_of.get(grant.member)
            for binding, ids_of in zip(
                cloud.policies.shown(grant.resource).bindings,
                cloud.policies.bound_ids(grant.resource),
                strict=True,
            )
            if binding.role == grant.role
        }
        return bool(ids & bound)

    def _violated(self, what: str) -> None:
        self._result.violations.append(what)
        self._note(f"VIOLATION {what}")

    def _note(self, what: str) -> None:
        self._result.trace.append(f"{self._loop.time():9.2f} {what}")


_RESTORABLE = (CHECKOUT, BUCKET, f"projects/{SHOP}")


def _ready(obj: dict[str, Any]) -> dict[str, Any]:
    conditions = obj.get("status", {}).get("conditions", ())
    return next((each for each in conditions if each["type"] == "Ready"), {})


def _grants(resource: str, policy: policy_pb2.Policy) -> Iterator[Grant]:
    for binding in policy.bindings:
        for member in binding.members:
            yield Grant(resource, binding.role, member)


def _HOMES(namespace: str, name: str) -> str | None:
    declared = POOL.get(ObjectName("CloudRunIdentity", namespace, name))
    return declared.project if declared else None


def _all_grants() -> set[Grant]:
    """Return every grant that an object of the pool may declare."""
    return {
        grant
        for name, declared in POOL.items()
        for spec in declared.specs
        for grant in grants_of(name, spec, _HOMES)
    }


ALL_GRANTS = frozenset(_all_grants())


def _resources(grants: Iterable[Grant]) -> set[str]:
    return {grant.resource for grant in grants} | {grant.resource for grant in UNMANAGED}


def _shown(grant: Grant) -> str:
    return f"{grant.role} for {grant.member} on {grant.resource}"


def _account(email: str) -> str:
    return f"projects/{email.partition('@')[2].partition('.')[0]}/serviceAccounts/{email}"


def _full_name(resource: str) -> str:
    if resource == BUCKET:
        return "//storage.googleapis.com/projects/_/buckets/acme-exports"
    hosts = {"serviceAccounts": "iam", "services": "run"}
    host = hosts.get(resource.split("/")[-2], "cloudresourcemanager")
    return f"//{host}.googleapis.com/{resource}"


def _google_fault(method: str, code: str, times: int, applied: bool, delay: float) -> Any:
    from cloudrun_identity_playground.emulator.faults import Fault

    return Fault(method=method, code=code, times=times, applied=applied, delay=delay)


_SEED = Seed.model_validate(
    {
        "projects": [
            {
                "projectID": SHOP,
                "projectNumber": "417203958816",
                "policy": [
                    {"role": "roles/owner", "members": ["user:dana@example.com"]},
                    {"role": "roles/viewer", "members": ["group:auditors@example.com"]},
                ],
                "services": [
                    {
                        "location": "europe-west1",
                        "name": "checkout",
                        "policy": [{"role": "roles/run.invoker", "members": ["group:testers@example.com"]}],
                    }
                ],
                "resources": [{"kind": "StorageBucket", "name": "acme-exports"}],
            },
            {
                "projectID": DATA,
                "projectNumber": "528860113547",
                "policy": [{"role": "roles/owner", "members": ["user:dana@example.com"]}],
                "orgPolicies": [
                    {"constraint": "iam.disableCrossProjectServiceAccountUsage", "enforce": False}
                ],
            },
        ]
    }
)
