"""Generate a history from a seed."""

import random
from collections.abc import Callable
from typing import Any, get_args

from .declarations import (
    BUCKET,
    CHECKOUT,
    DATA,
    INVOKER,
    NAMESPACES,
    POOL,
    SHOP,
    WRITER,
    Grant,
    ObjectName,
    email,
)
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

UNMANAGED = (
    Grant(CHECKOUT, INVOKER, "group:testers@example.com"),
    Grant(CHECKOUT, INVOKER, "allAuthenticatedUsers"),
    Grant(f"projects/{SHOP}", "roles/viewer", "group:auditors@example.com"),
    Grant(f"projects/{SHOP}", "roles/cloudsql.client", "user:eve@example.com"),
    Grant(BUCKET, "roles/storage.objectViewer", "user:eve@example.com"),
    Grant(f"projects/{DATA}", "roles/cloudsql.client", "group:auditors@example.com"),
)
"""Grants that no object of the pool declares."""

INTRUDER = Grant(BUCKET, WRITER, "group:intruders@example.com")
"""Grant that an Exclusive binding removes."""

DECLARED = (
    Grant(CHECKOUT, INVOKER, "group:callers@example.com"),
    Grant(CHECKOUT, INVOKER, "user:ann@example.com"),
    Grant(BUCKET, "roles/storage.objectViewer", "group:analysts@example.com"),
    Grant(f"projects/{SHOP}", f"projects/{SHOP}/roles/reader", "group:analysts@example.com"),
)
"""Grants of users and groups that objects of the pool declare."""

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


_APIS = ("iam.googleapis.com", "cloudresourcemanager.googleapis.com", "run.googleapis.com")


def generate(seed: int) -> History:
    """Return the history of a seed."""
    source = random.Random(seed)
    declared = [Step(0.0, Apply(name, POOL[name].specs[0])) for name in _initial(source)]
    count = source.randint(4, 18)
    kinds, weights = zip(*_GENERATORS, strict=True)
    steps = [Step(_pause(source), source.choices(kinds, weights)[0](source)) for _ in range(count)]
    return History(seed, (*declared, *steps))


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


def _edit_grant(source: random.Random) -> Action:
    if source.random() < 0.1:
        return EditGrant(INTRUDER, present=True)
    grant = source.choice(UNMANAGED if source.random() < 0.4 else DECLARED)
    return EditGrant(grant, source.random() < 0.4)


def _restore(source: random.Random) -> Action:
    return RestorePolicies(
        source.choice((CHECKOUT, BUCKET, f"projects/{SHOP}")), source.choice((5.0, 30.0, 120.0))
    )


def _edit_account(source: random.Random) -> Action:
    return EditAccount(source.choice(ACCOUNTS), source.choice(("delete", "undelete", "disable", "enable")))


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


_GENERATORS: tuple[tuple[Callable[[random.Random], Action], float], ...] = (
    (_apply, 6.0),
    (_delete, 2.5),
    (_edit_grant, 3.0),
    (_restore, 1.0),
    (_edit_account, 1.5),
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
