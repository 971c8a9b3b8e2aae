"""Expected state of Google Cloud: what the objects declare, and what other clients made of it.

The operator must make and keep every required grant, and must leave the grants of others alone. For a few
grants both outcomes are right, because they depend on more than the objects; these are unclear.
"""

import asyncio
import math
from collections import deque
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatch
from typing import Any

from google.iam.v1 import policy_pb2

from cloudrun_identity_playground.kubeapi.store import Backup

from .changes import Changes, recorded_grants
from .cloud import RESTORABLE
from .declarations import PROJECTS, Grant, ObjectName, email
from .grants import (
    ALL_GRANTS,
    DECLARED,
    INTRUDERS,
    UNMANAGED,
    all_grants_of,
    grants_of,
    grants_of_account,
)
from .pool import POOL
from .world import World

ATTACHMENT = ObjectName("IdentityAttachment", "team-a", "checkout")
READER = ObjectName("CustomRole", "team-a", "reader")
VISITORS = ObjectName("IAMBinding", "team-b", "visitors")
WRITERS = ObjectName("IAMBinding", "team-a", "writers")
_EXPIRING = frozenset(grant for grant in ALL_GRANTS if grant.member == "user:guest@example.com")
_NEVER = "9"
"""An end after all ends that specs declare."""
_KEPT_BACKUPS = 64

SEEN_WITHIN = 120.0
"""Seconds after which the operator must know what is declared, even if a watch was silent."""

FAULT_LASTS = 300.0
"""Seconds in which a fault of Cloud Run may still be pending, or its error still be known."""


@dataclass(frozen=True)
class _Moment:
    """The state at one moment of a history."""

    time: float
    """Virtual seconds since the start."""
    backup: Backup
    """Storage of the API server."""
    accounts: Mapping[str, str]
    """Unique IDs of the accounts, by e-mail."""
    managed: frozenset[Grant]
    """Grants that the ledgers record as made by an operator."""


class Expectation:
    """The expected state of a world."""

    def __init__(self, world: World) -> None:
        self.by_others = {grant for grant in UNMANAGED if world.cloud.has(grant)}
        """Grants of other clients, which must stay."""
        self.unclear: set[Grant] = set()
        """Grants that may exist or not, unless an object requires them."""
        self.left: set[ObjectName] = set()
        """Objects whose accounts or roles may be left, or be those of others."""
        self.declared_since: dict[Grant, float] = {}
        """The time since which an object that the operator serves declares each grant without a break."""
        self._served: dict[ObjectName, float] = {}
        """The time since which each object is served: once it was for a while, its grants are kept."""
        self._creating: set[str] = set()
        """E-mails of the accounts that an operator has asked Google Cloud to create."""
        self._visitors_end = _NEVER
        """The end that the temporary grant had when the objects were last looked at."""
        self._known_to_backup: set[Grant] = set()
        """Grants that were declared and managed at the time of a restored backup, and still are."""
        self.lease_restored = -math.inf
        """The last time at which a backup replaced the Lease."""
        self.former_leader = ""
        """The process that held the Lease then. It notices the restore at its next renewal."""
        self.untouched: dict[str, str] = {}
        """Owners, conditions and audit configs of the policies, as other clients left them."""
        self._world = world
        self.changes = Changes()
        self._uses_unreadable_at = -math.inf
        self._are_ids_unreadable = False
        for resource in RESTORABLE:
            self.note_untouched(resource)
        self._used: set[ObjectName] = set()
        self._moments: deque[_Moment] = deque(maxlen=_KEPT_BACKUPS)
        self._written: list[tuple[float, str, policy_pb2.Policy]] = []

    # Objects

    def objects(self) -> dict[ObjectName, dict[str, Any]]:
        """Return the objects of the pool that exist."""
        return {name: obj for name in POOL if (obj := self._world.kube.find(name))}

    def declared(self, declarers: Container[ObjectName] = POOL) -> tuple[set[Grant], set[Grant]]:
        """Return the grants that objects require, and those that depend on more than their specs."""
        specs = {
            name: obj["spec"]
            for name, obj in self.objects().items()
            if "deletionTimestamp" not in obj["metadata"]
        }

        def home(namespace: str, name: str) -> str | None:
            spec = specs.get(ObjectName("CloudRunIdentity", namespace, name))
            return spec["projectRef"]["name"] if spec else None

        now = _rfc3339_now()
        required: set[Grant] = set()
        depending: set[Grant] = set()
        for name, spec in specs.items():
            if name not in declarers:
                continue
            needs_role = "customRoleRef" in spec and READER not in specs
            # A temporary grant ends as it was last admitted: a later end counts only once it is admitted.
            is_pending = name == VISITORS and (
                "duration" in spec["members"][0] or not self._is_admitted(name)
            )
            is_open = needs_role or is_pending or spec.get("suspend", False)
            (depending if is_open else required).update(grants_of(name, spec, home, now))
        return required - depending, depending

    def _is_admitted(self, name: ObjectName) -> bool:
        """Return whether the project of an object exists and admits its namespace."""
        project = self._world.kube.find(ObjectName("ManagedProject", "", POOL[name].project))
        return project is not None and name.namespace in project["spec"]["namespaces"]["names"]

    def _is_served(self, name: ObjectName, spec: Mapping[str, Any]) -> bool:
        """Return whether the operator makes what an object declares."""
        project = self._world.kube.find(ObjectName("ManagedProject", "", POOL[name].project))
        return (
            project is not None
            and self._is_admitted(name)
            and bool(project["spec"]["guardrails"])
            and not (project["spec"].get("suspend") or spec.get("suspend"))
            and project["spec"].get("managementPolicy") != "Observe"
        )

    def _update_served(self, now: float) -> None:
        """Note which objects are served, and forget those that were served for a short time only."""
        specs = {name: obj["spec"] for name, obj in self.objects().items()}
        for name, spec in specs.items():
            if name.kind != "ManagedProject" and self._is_served(name, spec):
                self._served.setdefault(name, now)
            elif now - self._served.get(name, now) < SEEN_WITHIN:
                self._served.pop(name, None)
        self._served = {name: since for name, since in self._served.items() if name in specs}

    def update(self, now: float) -> None:
        """Note what the stored objects declare and use, after a step or a write."""
        self._update_served(now)
        declared, _ = self.declared(self._served)
        if self._visitors_end <= _rfc3339_now():
            self.declared_since = {g: since for g, since in self.declared_since.items() if g not in _EXPIRING}
        visitors = self._world.kube.find(VISITORS)
        self._visitors_end = visitors["spec"]["members"][0].get("expiresAt", _NEVER) if visitors else _NEVER
        self.declared_since = {grant: self.declared_since.get(grant, now) for grant in declared}
        # After a restore, the operator leaves what is released before it has compared ledger and policy.
        self.unclear |= self._known_to_backup - declared
        self._known_to_backup &= declared

    def note_step(self, now: float) -> None:
        """Note what a step changed: deletions that leave something, and identities in use."""
        self.update(now)
        attachment = self._world.kube.find(ATTACHMENT)
        if attachment:
            reference = attachment["spec"]["identityRef"]["name"]
            self._used.add(ObjectName("CloudRunIdentity", "team-a", reference))
        runs_as = self._world.cloud.runs_as()
        self._used |= {name for name in _identities() if _account(name) == runs_as}
        for name, obj in self.objects().items():
            if "deletionTimestamp" in obj["metadata"]:
                self._note_deletion(name, obj["spec"])
        if not self._moments or self._moments[-1].time < now:
            kube, cloud = self._world.kube, self._world.cloud
            managed = frozenset(
                grant for grant, entry in recorded_grants(kube.ledgers()) if not entry.get("presentBefore")
            )
            self._moments.append(_Moment(now, kube.backup(), cloud.account_ids(), managed))

    def _note_deletion(self, name: ObjectName, spec: Mapping[str, Any]) -> None:
        """Note what the deletion of an object leaves in Google Cloud.

        These are the account of an identity that is in use, with its grants; everything of an object with the
        policy Abandon; and everything of an object of an observed project.
        """
        observed = self._is_observed(POOL[name].project)
        abandoned = spec.get("deletionPolicy") == "Abandon"
        grants = all_grants_of(name)
        if observed or abandoned:
            self.unclear |= grants
        for project in filter(self._is_observed, PROJECTS):
            resource = f"projects/{PROJECTS[project]}"
            self.unclear |= {grant for grant in grants if grant.resource == resource}
        if (observed or abandoned) and name == READER:
            self.left.add(name)
        if name.kind == "CloudRunIdentity" and (observed or abandoned or name in self._used):
            self._leave(name)

    def _is_observed(self, project: str) -> bool:
        found = self._world.kube.find(ObjectName("ManagedProject", "", project))
        return found is not None and found["spec"].get("managementPolicy") == "Observe"

    def note_fault(self, method: str, code: str) -> None:
        """Note that calls of a method fail: the operator may not read who uses an account, or its ID."""
        if code == "PERMISSION_DENIED" and fnmatch("google.iam.admin.v1.IAM/GetServiceAccount", method):
            self._are_ids_unreadable = True
        if method == "*" or method.startswith("google.cloud.run"):
            self._uses_unreadable_at = _now()

    def note_namespace_deletion(self, namespace: str) -> None:
        """Note that a namespace was deleted: its identities leave accounts whose uses cannot be read."""
        if _now() - self._uses_unreadable_at > FAULT_LASTS:
            return
        for name in _identities():
            if name.namespace == namespace and self._world.kube.find(name):
                self._leave(name)

    def _leave(self, name: ObjectName) -> None:
        self.left.add(name)
        self.unclear |= grants_of_account(name)

    # Other clients

    def note_written(self, now: float) -> None:
        """Keep the policies, so that another client can write them later."""
        self._written += [(now, resource, self._world.cloud.policy(resource)) for resource in RESTORABLE]

    def note_untouched(self, resource: str) -> None:
        """Note that another client changed what the operator never changes in a policy."""
        self.untouched[resource] = self._world.cloud.untouched(resource)
        self.changes.note_edited(resource)

    def is_certainly_made(self, grant: Grant) -> bool:
        """Return whether an operator made a grant, and must know it.

        The ID of a restored account proves that its grant is the operator's.
        """
        if self._are_ids_unreadable and grant.member.startswith("serviceAccount:"):
            return False
        return grant not in self.by_others | self.unclear and self.changes.is_certainly_made(grant)

    def note_edit(self, grant: Grant, *, present: bool) -> None:
        """Note that another client added or removed a grant."""
        self.changes.note_edited(grant.resource)
        if grant in DECLARED or grant in INTRUDERS:
            self.unclear.add(grant)
        elif present:
            self.by_others.add(grant)
        else:
            self.by_others.discard(grant)

    def older_policy(self, resource: str, before: float) -> policy_pb2.Policy | None:
        """Return the policy of a resource at a time; None if it was not written yet."""
        return next(
            (policy for at, name, policy in reversed(self._written) if name == resource and at <= before),
            None,
        )

    def note_overwritten(self, resource: str, changed: frozenset[Grant]) -> None:
        """Note that another client wrote an older policy."""
        self.changes.note_edited(resource)
        self.unclear |= changed - set(UNMANAGED)
        present = {
            grant for grant in UNMANAGED if grant.resource == resource and self._world.cloud.has(grant)
        }
        self.by_others = {grant for grant in self.by_others if grant.resource != resource} | present

    def note_account_edit(self, address: str, verb: str) -> None:
        """Note that another client changed an account, and so the policies that have it as a member.

        No identity may own an undeleted account any more, and none owns an account of another client.
        """
        for resource in {grant.resource for grant in ALL_GRANTS}:
            self.changes.note_edited(resource)
        for name in _identities():
            if _account(name) != address:
                continue
            if verb == "recreate" or (verb == "rename" and self._is_being_created(address)):
                self._leave(name)
            elif verb == "undelete" and not self._world.kube.find(name):
                self.left.add(name)

    def _is_being_created(self, address: str) -> bool:
        """Return whether an account is being created, and is recognized only by its display name."""
        accounts = (ledger["spec"].get("account") for ledger in self._world.kube.ledgers())
        return any(each and each["email"] == address and each.get("intent") for each in accounts)

    def note_role_edit(self, verb: str) -> None:
        """Note that another client changed the custom role. No object may own an undeleted one any more."""
        if verb == "undelete" and not self._world.kube.find(READER):
            self.left.add(READER)

    def note_creation(self, address: str) -> None:
        """Note that an operator asks Google Cloud to create an account."""
        self._creating.add(address)

    def note_clock_jump(self) -> None:
        """Note that the wall clock jumped: a temporary grant may have ended before."""
        self.unclear |= _EXPIRING

    def backup(self, before: float) -> Backup | None:
        """Return the newest backup of the API server that was made before a time.

        Note that it is restored: the operator knows nothing of what it did since. What it managed then,
        and what is still declared, it must keep.
        """
        moment = next((each for each in reversed(self._moments) if each.time <= before), None)
        if moment is None:
            return None
        self._known_to_backup = {
            grant
            for grant, since in self.declared_since.items()
            if since <= moment.time and grant in moment.managed and self._world.cloud.has(grant)
        } - self.unclear
        self.unclear |= ALL_GRANTS - self._known_to_backup
        self.lease_restored = asyncio.get_running_loop().time()
        self.former_leader = self._world.kube.leader()
        now = self._world.cloud.account_ids()
        for name in _identities():
            is_same = moment.accounts.get(_account(name)) == now.get(_account(name))
            is_created_later = _account(name) not in now and _account(name) in self._creating
            if not is_same or is_created_later:
                self._leave(name)
        self.left.add(READER)
        return moment.backup

    def note_lost(self, names: Iterable[ObjectName]) -> None:
        """Note that a restored backup lacks objects. The operator may not notice it at once."""
        for name in names:
            if name.kind == "CloudRunIdentity":
                self._leave(name)

    # The end

    def is_left(self, name: ObjectName) -> bool:
        """Return whether the account or role of an object may be that of others."""
        return name in self.left

    def misses_dependency(self, obj: Mapping[str, Any]) -> bool:
        """Return whether something that an object needs is not declared, or may be that of others."""
        namespace, spec = obj["metadata"].get("namespace", ""), obj["spec"]
        wanted = [("CloudRunIdentity", spec.get("identityRef")), ("CustomRole", spec.get("customRoleRef"))]
        wanted += [("CloudRunIdentity", member.get("identityRef")) for member in spec.get("members", ())]
        for kind, reference in wanted:
            if reference:
                name = ObjectName(kind, namespace, reference["name"])
                found = self._world.kube.find(name)
                if not found or "deletionTimestamp" in found["metadata"] or name in self.left:
                    return True
                if found["spec"].get("disabled") and obj["kind"] != "IAMBinding":
                    return True
        return False

    def excludes_intruders(self) -> bool:
        """Return whether a binding must have removed the unmanaged member of its role.

        It removes nothing while a reference to one of its own members is unresolved.
        """
        binding = self._world.kube.find(WRITERS)
        if binding is None or self.misses_dependency(binding):
            return False
        return bool(binding["spec"].get("authority") == "Exclusive")


def _now() -> float:
    return asyncio.get_running_loop().time()


def _rfc3339_now() -> str:
    """Return the time of the wall clock, as specs write it."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _identities() -> Iterator[ObjectName]:
    return (name for name in POOL if name.kind == "CloudRunIdentity")


def _account(name: ObjectName) -> str:
    return email(name.namespace, name.name, POOL[name].project)
