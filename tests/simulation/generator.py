"""Generate a history from a seed."""

import random
from collections.abc import Callable, Sequence
from typing import Any, get_args

from .declarations import BUCKET, CHECKOUT, NAMESPACES, SHOP, ObjectName, email
from .grants import DECLARED, INTRUDERS, UNMANAGED
from .pool import POOL
from .steps import (
    Action,
    Apply,
    ClockJump,
    Crash,
    CrashAt,
    DelayConnections,
    Delete,
    DeleteNamespace,
    EditAccount,
    EditGrant,
    EditKey,
    EditPolicy,
    EditRole,
    GoogleFault,
    GoogleLag,
    History,
    KubeFault,
    Quota,
    Redeploy,
    ResetConnections,
    RestoreApiServer,
    RestorePolicies,
    SecondOperator,
    Step,
)

ACCOUNTS = (
    email("team-a", "web", "shop"),
    email("team-a", "worker", "data"),
    email("team-b", "web", "shop"),
)

CHECKPOINTS = (
    "policy read",
    "ledger written ahead",
    "policy written",
    "ledger settled",
    "intent recorded",
    "account created",
    "account settled",
    "account disabled",
    "undelete recorded",
    "account undeleted",
    "grants released",
    "account deleted",
    "role recorded",
    "role created",
    "role deleted",
    "role brought back",
    "use recorded",
    "reassignment recorded",
    "workload reassigned",
    "account restored",
    "status recorded",
    "key attempt recorded",
    "key created",
    "key recorded",
    "key published",
    "key active",
    "key disabled",
    "key deleted",
    "secret parted with",
)
"""Steps of the operator after which a crash is simulated."""

_IAM = "google.iam.admin.v1.IAM"
_METHODS = (
    "*/SetIamPolicy",
    "*/SetIamPolicy",
    "*/GetIamPolicy",
    f"{_IAM}/CreateServiceAccount",
    f"{_IAM}/GetServiceAccount",
    f"{_IAM}/*",
    "google.cloud.run.v2.Services/*",
    "*",
)
_UNDECIDED = ("UNAVAILABLE", "INTERNAL", "DEADLINE_EXCEEDED")
"""Errors of calls that may have taken effect."""
_CODES = (
    "UNAVAILABLE",
    "ABORTED",
    "INTERNAL",
    "DEADLINE_EXCEEDED",
    "RESOURCE_EXHAUSTED",
    "PERMISSION_DENIED",
)


_RESOURCES = (CHECKOUT, BUCKET, f"projects/{SHOP}")
"""Resources whose policies other clients change."""
_TARGETS = {
    name: {"Service": CHECKOUT, "StorageBucket": BUCKET, "Project": f"projects/{SHOP}"}[
        declared.specs[0]["target"]["kind"]
    ]
    for name, declared in POOL.items()
    if name.kind == "IAMBinding"
}
"""The resource of each binding."""
_APIS = ("iam.googleapis.com", "cloudresourcemanager.googleapis.com", "run.googleapis.com")


def generate(seed: int) -> History:
    """Return the history of a seed."""
    source = random.Random(seed)
    declared = [Step(0.0, Apply(name, POOL[name].specs[0])) for name in _initial(source)]
    count = source.randint(4, 18)
    kinds, weights = zip(*_GENERATORS, strict=True)
    steps = [
        Step(_pause(source), action)
        for _ in range(count)
        for action in _listed(source.choices(kinds, weights)[0](source))
    ]
    return History(seed, (*declared, *steps))


def _listed(actions: Action | Sequence[Action]) -> Sequence[Action]:
    return actions if isinstance(actions, Sequence) else (actions,)


def _initial(source: random.Random) -> list[ObjectName]:
    projects = [name for name in POOL if name.kind == "ManagedProject"]
    others = [name for name in POOL if name.kind != "ManagedProject"]
    chosen = source.sample(others, source.randint(2, len(others)))
    return projects + chosen if source.random() < 0.8 else chosen + projects


def _pause(source: random.Random) -> float:
    """Return a pause: often too short for the operator to finish, sometimes long enough."""
    return source.choice((0.0, 0.05, 0.3, 1.0, 3.0, 10.0, 40.0, 90.0)) * source.uniform(0.5, 1.5)


def _apply(source: random.Random) -> Action:
    declared = source.choice(list(POOL.values()))
    return Apply(declared.name, source.choice(declared.specs))


def _delete(source: random.Random) -> Action:
    return Delete(source.choice([name for name in POOL if name.kind != "ManagedProject"]))


def _recreate(source: random.Random) -> Sequence[Action]:
    """Return the deletion of an object and its creation, with another spec or the same."""
    name = source.choice([name for name in POOL if name.kind != "ManagedProject"])
    return Delete(name), Apply(name, source.choice(POOL[name].specs))


def _detach(source: random.Random) -> Sequence[Action]:
    """Return the deletion of an attachment, in most cases with the policy Restore."""
    name = source.choice([name for name in POOL if name.kind == "IdentityAttachment"])
    return Apply(name, source.choice(POOL[name].specs[-2:])), Delete(name)


def _edit_grant(source: random.Random) -> Action:
    grant = source.choice(UNMANAGED if source.random() < 0.4 else DECLARED)
    return EditGrant(grant, source.random() < 0.4)


def _intrude(source: random.Random) -> Sequence[Action]:
    """Return edits that add members to a role with an Exclusive binding."""
    return [EditGrant(grant, present=True) for grant in INTRUDERS[: source.randint(1, len(INTRUDERS))]]


def _edit_policy(source: random.Random) -> Action:
    part = source.choice(("condition", "audit config"))
    resource = f"projects/{SHOP}" if part == "audit config" else source.choice(_RESOURCES)
    return EditPolicy(resource, part, present=source.random() < 0.7)


def _conflict(source: random.Random) -> Sequence[Action]:
    """Return an edit of an object, and one of the policy that it changes, during the operator's write."""
    name = source.choice(list(_TARGETS))
    grants = [grant for grant in UNMANAGED if grant.resource == _TARGETS[name]]
    change = Delete(name) if source.random() < 0.5 else Apply(name, source.choice(POOL[name].specs))
    return EditGrant(source.choice(grants), source.random() < 0.6, before_write=True), change


def _crash_after_write(source: random.Random) -> Sequence[Action]:
    """Return an edit of an object, and a crash between the writes that follow it."""
    name = source.choice([name for name in POOL if name.kind in ("CloudRunIdentity", "IAMBinding")])
    step = source.choice(CHECKPOINTS[1:4])
    return CrashAt(step, source.choice((0.0, 20.0))), Apply(name, source.choice(POOL[name].specs))


def _restore(source: random.Random) -> Action:
    return RestorePolicies(source.choice(_RESOURCES), source.choice((5.0, 30.0, 120.0)))


def _edit_account(source: random.Random) -> Action:
    verbs = ("delete", "undelete", "disable", "enable", "rename", "recreate")
    return EditAccount(source.choice(ACCOUNTS), source.choice(verbs))


def _edit_role(source: random.Random) -> Action:
    return EditRole(source.choice(("delete", "undelete", "change")))


def _edit_key(source: random.Random) -> Action:
    return EditKey(ACCOUNTS[0], source.choice(("delete", "disable", "enable")))


def _redeploy(source: random.Random) -> Action:
    return Redeploy(source.choice(("", *ACCOUNTS)))


def _google_fault(source: random.Random) -> Action:
    method, times = source.choice(_METHODS), source.choice((1, 1, 2, 5))
    if source.random() < 0.3:
        return GoogleFault(method, times=times, delay=source.choice((0.5, 5.0, 40.0)))
    code = source.choice(_CODES)
    return GoogleFault(method, code, times, applied=code in _UNDECIDED and source.random() < 0.6)


def _kube_fault(source: random.Random) -> Action:
    if source.random() < 0.4:
        resource = source.choice(("*", "iambindings", "policyledgers", "leases", "managedprojects"))
        return KubeFault({"resource": resource, "watches": source.choice(("cut", "expire", "silence"))})
    resource = source.choice(("*", "*/status", "policyledgers", "iambindings", "leases"))
    verb = source.choice(("*", "patch", "update", "get", "list", "create"))
    fault: dict[str, Any] = {"resource": resource, "verb": verb, "times": source.choice((1, 2, 4))}
    if source.random() < 0.3:
        return KubeFault({**fault, "code": source.choice((500, 504)), "applied": True})
    if source.random() < 0.3:
        return KubeFault({**fault, "delay": source.choice((0.5, 5.0, 20.0))})
    return KubeFault({**fault, "code": source.choice((409, 410, 429, 500, 503, 504))})


def _crash(source: random.Random) -> Action:
    return Crash(source.choice((0.0, 2.0, 20.0)), terminate=source.random() < 0.3)


def _crash_at(source: random.Random) -> Action:
    return CrashAt(source.choice(CHECKPOINTS), source.choice((0.0, 2.0, 20.0)))


def _restore_api_server(source: random.Random) -> Action:
    return RestoreApiServer(source.choice((2.0, 20.0, 90.0)), bump=source.random() < 0.6)


def _delete_namespace(source: random.Random) -> Action:
    return DeleteNamespace(source.choice(NAMESPACES))


def _delay_connections(source: random.Random) -> Action:
    return DelayConnections(source.choice((0.2, 0.5, 1.0)), source.choice((1.0, 8.0, 50.0)))


def _lag(source: random.Random) -> Action:
    return GoogleLag(source.choice((0.0, 8.0, 60.0)), source.choice((0.0, 3.0, 8.0)))


def _quota(source: random.Random) -> Action:
    return Quota(source.choice(_APIS), source.choice((0, 1, 6)))


def _clock_jump(source: random.Random) -> Action:
    return ClockJump(source.choice((-600.0, -5.0, 5.0, 600.0)))


_GENERATORS: tuple[tuple[Callable[[random.Random], Action | Sequence[Action]], float], ...] = (
    (_apply, 6.0),
    (_delete, 2.5),
    (_recreate, 0.7),
    (_detach, 0.4),
    (_edit_grant, 2.5),
    (_intrude, 0.4),
    (_edit_policy, 0.7),
    (_conflict, 1.0),
    (_crash_after_write, 0.7),
    (_restore, 1.0),
    (_edit_account, 1.5),
    (_edit_role, 0.5),
    (_edit_key, 0.5),
    (_redeploy, 0.7),
    (_google_fault, 3.0),
    (_kube_fault, 2.5),
    (lambda _: ResetConnections(), 0.7),
    (_crash, 1.0),
    (_crash_at, 2.0),
    (lambda _: SecondOperator(), 0.4),
    (_clock_jump, 0.3),
    (_restore_api_server, 0.4),
    (_delete_namespace, 0.3),
    (_delay_connections, 1.0),
    (_lag, 0.7),
    (_quota, 0.5),
)

ACTIONS = tuple(each.__name__ for each in get_args(Action))
"""Names of all actions."""
