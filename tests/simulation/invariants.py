"""Invariants: what must hold during a history, and after it has settled."""

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from cloudrun_identity.kube.errors import ClusterUnreachable, KubeError
from cloudrun_identity.kube.lease import LeaseLost
from cloudrun_identity.manager.watch_thread import WatchesStuck

from .changes import recorded_grants
from .cloud import RESTORABLE
from .declarations import NAMESPACES, PROJECTS, Grant, ObjectName, email
from .expectation import ATTACHMENT, READER, SEEN_WITHIN, Expectation
from .grants import ALL_GRANTS, INTRUDERS, UNMANAGED
from .loop import SimulatedLoop
from .pool import POOL, REMOVAL_LIMIT
from .processes import OperatorProcess
from .result import Result
from .world import LEASE_DURATION, SECRET, World

_RESOURCES = frozenset(grant.resource for grant in (*ALL_GRANTS, *UNMANAGED))


_WAITING = frozenset({"DependencyNotFound", "DependencyNotReady", "Rejected"})
"""Reasons of an object without its dependencies. Cloud Run rejects the account of a disabled identity."""


class DuringHistory:
    """Invariants of each write."""

    def __init__(self, world: World, loop: SimulatedLoop, expectation: Expectation, result: Result) -> None:
        self._world = world
        self._loop = loop
        self._expectation = expectation
        self._result = result
        self._present: dict[str, frozenset[Grant]] = {}
        self.update()
        world.on_google_write.append(self._after_write)
        world.on_failure.append(self._after_failure)
        world.on_leak.append(lambda where: result.violated(f"a private key is in {where}"))

    def update(self) -> tuple[frozenset[Grant], frozenset[Grant]]:
        """Read all policies. Return the grants that were removed and added since the last call."""
        removed: set[Grant] = set()
        added: set[Grant] = set()
        for resource in _RESOURCES:
            before, present = self._present.get(resource, frozenset()), self._world.cloud.grants(resource)
            removed |= before - present
            added |= present - before
            self._present[resource] = present
        return frozenset(removed), frozenset(added)

    def _after_failure(self, process: OperatorProcess, failure: BaseException) -> None:
        """Check the error that ends a process. Faults may cost it the Lease, the watches or the server."""
        if not isinstance(failure, LeaseLost | KubeError | ClusterUnreachable | WatchesStuck):
            self._result.violated(f"{process.name} ends: {failure!r}")

    def _after_write(self, process: OperatorProcess, method: str) -> None:
        expected, now = self._expectation, self._loop.time()
        leader = self._world.kube.leader()
        # A call of a process that has crashed since was under way: it takes effect after that.
        # A holder whose Lease a backup replaced notices it at the next renewal.
        is_restored = (
            now <= expected.lease_restored + LEASE_DURATION and process.name == expected.former_leader
        )
        if process.is_alive and leader != process.name and not is_restored:
            self._result.violated(
                f"{process.name} calls {method}, but {leader or 'no process'} holds the Lease"
            )
        expected.update(now)
        removed, added = self.update()
        expected.changes.note_made(added)
        self._count_removals(process, removed)
        for resource, before in expected.untouched.items() if method.endswith("/SetIamPolicy") else ():
            if self._world.cloud.untouched(resource) != before:
                self._result.violated(
                    f"{process.name} changed owners, conditions or audit configs of {resource}"
                )
        for grant in sorted(removed):
            since = expected.declared_since.get(grant)
            if since is not None and now - since > SEEN_WITHIN and grant not in expected.unclear:
                self._result.violated(
                    f"{process.name} removed a grant that is declared since {since:.0f}: {shown(grant)}"
                )
            if grant in expected.by_others:
                self._result.violated(f"{process.name} removed a grant of others: {shown(grant)}")
        expected.note_written(now)

    def _count_removals(self, process: OperatorProcess, removed: frozenset[Grant]) -> None:
        """Compare the removals from Exclusive bindings with the hourly limit of a process."""
        changes = self._expectation.changes
        changes.note_removals(process.name, len(removed.intersection(INTRUDERS)))
        if removed and changes.recent_removals(process.name) > REMOVAL_LIMIT:
            self._result.violated(
                f"{process.name} removed more unmanaged members than {REMOVAL_LIMIT} an hour"
            )


class AtTheEnd:
    """Invariants of a settled world."""

    def __init__(self, world: World, expectation: Expectation) -> None:
        self._world = world
        self._expected = expectation
        self._objects = expectation.objects()
        self._live = {
            name: obj for name, obj in self._objects.items() if "deletionTimestamp" not in obj["metadata"]
        }

    def violations(self) -> Iterator[str]:
        """Yield what does not hold."""
        yield from self._deletions()
        for name, obj in self._live.items():
            yield from self._status(name, obj)
        yield from self._grants()
        yield from self._untouched()
        yield from self._accounts()
        yield from self._roles()
        yield from self._keys()
        yield from self._workloads()
        yield from self._ledgers()
        yield from self._secrets()

    def _deletions(self) -> Iterator[str]:
        for name in self._objects.keys() - self._live.keys():
            in_use = name == READER and ObjectName("IAMBinding", "team-a", "special") in self._live
            if not in_use:
                yield f"{name} is still being deleted: {ready(self._objects[name])}"

    def _status(self, name: ObjectName, obj: Mapping[str, Any]) -> Iterator[str]:
        found, generation = ready(obj), obj["metadata"]["generation"]
        if not found:
            yield f"{name} has no status"
        elif (seen := found.get("observedGeneration", 0)) > generation:
            yield f"{name} has a status of a generation {seen} that does not exist"
        elif seen != generation:
            yield f"{name} has an old status: {found}"
        elif found["status"] != "True" and not self._may_wait(name, obj, found["reason"]):
            yield f"{name} is not Ready: {found['reason']}: {found['message']}"

    def _may_wait(self, name: ObjectName, obj: Mapping[str, Any], reason: str) -> bool:
        if reason in _WAITING and self._expected.misses_dependency(obj):
            return True
        if reason == "DriftDetected" and obj["spec"].get("authority") == "Exclusive":
            return self._limits_removals()
        return self._expected.is_left(name) and reason == "Conflict"

    def _grants(self) -> Iterator[str]:
        expected = self._expected
        required, depending = expected.declared()
        present = {grant for resource in _RESOURCES for grant in self._world.cloud.grants(resource)}
        for grant in sorted(required - present):
            if not self._belongs_to_left(grant):
                yield f"missing: {shown(grant)}"
        for grant in sorted((ALL_GRANTS & present) - required - depending - expected.unclear):
            yield f"left: {shown(grant)}"
        for grant in sorted(expected.by_others - present):
            yield f"removed a grant of others: {shown(grant)}"
        for grant in sorted(set(UNMANAGED) & present - expected.by_others):
            yield f"added a grant that no object declares: {shown(grant)}"
        for grant in sorted(required & present):
            if not self._world.cloud.is_effective(grant) and not self._belongs_to_left(grant):
                yield f"of no effect: {shown(grant)}"
        if expected.excludes_intruders() and not self._limits_removals():
            for grant in sorted(present.intersection(INTRUDERS)):
                yield f"an Exclusive binding leaves an unmanaged member: {shown(grant)}"

    def _limits_removals(self) -> bool:
        """Return whether an operator removed as many unmanaged members as a namespace may in an hour."""
        changes = self._expected.changes
        counts = (changes.recent_removals(process.name) for process in self._world.alive())
        return max(counts, default=0) >= REMOVAL_LIMIT // len(NAMESPACES)

    def _belongs_to_left(self, grant: Grant) -> bool:
        """Return whether a grant is of, or on, an account that may be that of others."""
        return any(
            _address(name) in grant.resource or _address(name) in grant.member
            for name in self._expected.left
            if name.kind == "CloudRunIdentity"
        ) or (READER in self._expected.left and grant.role.endswith("/roles/reader"))

    def _untouched(self) -> Iterator[str]:
        for resource, before in self._expected.untouched.items():
            if self._world.cloud.untouched(resource) != before:
                yield f"changed owners, conditions or audit configs of {resource}"

    def _accounts(self) -> Iterator[str]:
        existing = self._world.cloud.account_ids()
        for name in POOL:
            is_deleted = name.kind == "CloudRunIdentity" and name not in self._objects
            if is_deleted and _address(name) in existing and not self._expected.is_left(name):
                yield f"left: account {_address(name)}"
        accounts = self._world.cloud.accounts()
        for name, obj in self._live.items():
            if name.kind == "CloudRunIdentity" and ready(obj).get("status") == "True":
                shown_text = accounts.get(_address(name), {}).get("displayName")
                if shown_text != obj["spec"].get("displayName", shown_text):
                    yield f"{name}: the account has the display name {shown_text!r}"

    def _roles(self) -> Iterator[str]:
        """Compare the custom role with the object that declares it."""
        obj, found = self._objects.get(READER), self._world.cloud.role_permissions()
        if obj is None and found is not None and not self._expected.is_left(READER):
            yield "left: the custom role"
        is_ready = obj is not None and ready(obj).get("status") == "True"
        if obj is not None and is_ready and found != frozenset(obj["spec"]["permissions"]):
            yield f"{READER}: the role has {sorted(found or ())}"

    def _keys(self) -> Iterator[str]:
        """Compare keys with their status: the key in the Secret is the active one, and works."""
        for name, obj in self._live.items():
            if name.kind != "IdentityKey" or ready(obj).get("status") != "True":
                continue
            spec, active = obj["spec"], obj["status"].get("activeKeyID")
            identity = ObjectName("CloudRunIdentity", name.namespace, spec["identityRef"]["name"])
            if not self._world.cloud.keys(_address(identity)).get(active, False):
                yield f"{name}: the active key {active} does not work"
            secret = self._world.kube.secret(name.namespace, spec["secretName"])
            content = base64.b64decode(secret["data"]["key.json"]) if secret else b""
            if active is None or active.encode() not in content:
                yield f"{name}: the Secret does not have the active key {active}"

    def _workloads(self) -> Iterator[str]:
        """Compare the workload with the status of its attachment."""
        obj = self._live.get(ATTACHMENT)
        if obj is None or ready(obj).get("status") != "True":
            return
        identity = ObjectName("CloudRunIdentity", ATTACHMENT.namespace, obj["spec"]["identityRef"]["name"])
        if self._world.cloud.runs_as() != _address(identity):
            yield f"{ATTACHMENT}: the workload runs as {self._world.cloud.runs_as() or 'the default account'}"

    def _ledgers(self) -> Iterator[str]:
        """Compare the ledgers with the policies: what they record is there, and what is there is recorded."""
        entries = dict(recorded_grants(self._world.kube.ledgers()))
        recorded = entries.keys()
        known = {grant for grant in recorded if grant.resource in _RESOURCES}
        present = {grant for resource in _RESOURCES for grant in self._world.cloud.grants(resource)}
        required, _ = self._expected.declared()
        for grant in sorted(known - present):
            tombstones = entries[grant].get("tombstones", ())
            if any(grant._replace(member=member) in present for member in tombstones):
                continue  # the policy shows the account as deleted
            if self._belongs_to_left(grant):
                continue  # a policy on which all objects only retain grants is not read
            # A restored ledger keeps the absent grants of an object that was deleted after the backup.
            if self._expected.lease_restored < 0 or self._has_live_owner(entries[grant]):
                yield f"a ledger records a grant that does not exist: {shown(grant)}"
        for grant in sorted((required & present) - self._expected.unclear):
            if grant not in recorded and not self._belongs_to_left(grant):
                yield f"no ledger records: {shown(grant)}"
        for grant, entry in sorted(entries.items()):
            is_made = self._expected.is_certainly_made(grant) and not self._belongs_to_left(grant)
            if entry.get("presentBefore") and is_made:
                yield f"a ledger records as another client's: {shown(grant)}"

    def _has_live_owner(self, entry: Mapping[str, Any]) -> bool:
        """Return whether an object exists that owns an entry, which is written KIND/NAMESPACE/NAME/UID."""
        return any(ObjectName(*owner.split("/")[:3]) in self._live for owner in entry["owners"])

    def _secrets(self) -> Iterator[str]:
        for where, content in self._world.kube.public_text():
            if SECRET in content:
                yield f"a private key is in {where}"


def end_state(world: World, objects: Mapping[ObjectName, Mapping[str, Any]]) -> dict[str, Any]:
    """Return policies, accounts and statuses, without times and generated IDs."""
    return {
        "grants": {
            resource: sorted(tuple(grant) for grant in world.cloud.grants(resource))
            for resource in sorted(
                {*_RESOURCES, *RESTORABLE, *(f"projects/{each}" for each in PROJECTS.values())}
            )
        },
        "accounts": world.cloud.accounts(),
        "runsAs": world.cloud.runs_as(),
        "conditions": {
            str(name): sorted(
                (each["type"], each["status"], each["reason"])
                for each in obj.get("status", {}).get("conditions", ())
            )
            for name, obj in objects.items()
        },
        "counts": {str(name): obj.get("status", {}).get("grantCounts", {}) for name, obj in objects.items()},
    }


def ready(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Return the condition Ready of an object; empty if there is none."""
    conditions = obj.get("status", {}).get("conditions", ())
    return next((each for each in conditions if each["type"] == "Ready"), {})


def shown(grant: Grant) -> str:
    """Return a grant as a text."""
    return f"{grant.role} for {grant.member} on {grant.resource}"


def _address(name: ObjectName) -> str:
    return email(name.namespace, name.name, POOL[name].project)
