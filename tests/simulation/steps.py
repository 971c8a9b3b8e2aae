"""Steps of a history: what users, other clients, faults and crashes do, and when.

A history is its list of steps. A seed generates one, and a found one is shrunk to the steps that matter.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from .declarations import (
    BUCKET,
    CHECKOUT,
    DATA,
    INVOKER,
    POOL,
    SHOP,
    Grant,
    ObjectName,
    Spec,
    email,
)


@dataclass(frozen=True)
class Apply:
    """A user applies an object."""

    kind: Literal["Apply"] = field(default="Apply", kw_only=True, repr=False)
    name: ObjectName
    spec: Spec


@dataclass(frozen=True)
class Delete:
    """A user deletes an object."""

    kind: Literal["Delete"] = field(default="Delete", kw_only=True, repr=False)
    name: ObjectName


@dataclass(frozen=True)
class EditGrant:
    """Another client adds or removes a grant."""

    kind: Literal["EditGrant"] = field(default="EditGrant", kw_only=True, repr=False)
    grant: Grant
    present: bool


@dataclass(frozen=True)
class RestorePolicies:
    """Another client writes all policies of a resource as they were some steps before."""

    kind: Literal["RestorePolicies"] = field(default="RestorePolicies", kw_only=True, repr=False)
    resource: str
    age: float
    """Seconds by which the written policy is older."""


@dataclass(frozen=True)
class EditAccount:
    """Another client changes an account."""

    kind: Literal["EditAccount"] = field(default="EditAccount", kw_only=True, repr=False)
    email: str
    verb: Literal["delete", "undelete", "disable", "enable"]


@dataclass(frozen=True)
class Redeploy:
    """Another client deploys the service with another account; empty is the default account."""

    kind: Literal["Redeploy"] = field(default="Redeploy", kw_only=True, repr=False)
    email: str


@dataclass(frozen=True)
class GoogleFault:
    """The next calls of a method fail or are slow."""

    kind: Literal["GoogleFault"] = field(default="GoogleFault", kw_only=True, repr=False)
    method: str
    code: str = ""
    times: int = 1
    applied: bool = False
    """True if the calls take effect and only their answer is lost."""
    delay: float = 0.0


@dataclass(frozen=True)
class KubeFault:
    """The next requests to the API server fail or are slow, or all watches end."""

    kind: Literal["KubeFault"] = field(default="KubeFault", kw_only=True, repr=False)
    fault: dict[str, Any]


@dataclass(frozen=True)
class ResetConnections:
    """All connections of the operators to the API server break."""

    kind: Literal["ResetConnections"] = field(default="ResetConnections", kw_only=True, repr=False)
@dataclass(frozen=True)
class Crash:
    """The operators crash. Another one starts after `down` seconds."""

    kind: Literal["Crash"] = field(default="Crash", kw_only=True, repr=False)
    down: float
    terminate: bool = False
    """True to end them with SIGTERM."""


@dataclass(frozen=True)
class CrashAt:
    """The operators crash the next time that one of them reaches a checkpoint. Another one starts."""

    kind: Literal["CrashAt"] = field(default="CrashAt", kw_only=True, repr=False)
    checkpoint: str
    down: float


@dataclass(frozen=True)
class SecondOperator:
    """Another operator starts beside the first one."""

    kind: Literal["SecondOperator"] = field(default="SecondOperator", kw_only=True, repr=False)
@dataclass(frozen=True)
class ClockJump:
    """The wall clock jumps."""

    kind: Literal["ClockJump"] = field(default="ClockJump", kw_only=True, repr=False)
    seconds: float


@dataclass(frozen=True)
class RestoreApiServer:
    """The storage of the API server is restored from a backup of some seconds before."""

    kind: Literal["RestoreApiServer"] = field(default="RestoreApiServer", kw_only=True, repr=False)
    age: float


Action = (
    Apply
    | Delete
    | EditGrant
    | RestorePolicies
    | EditAccount
    | Redeploy
    | GoogleFault
    | KubeFault
    | ResetConnections
    | Crash
    | CrashAt
    | SecondOperator
    | ClockJump
    | RestoreApiServer
)


@dataclass(frozen=True)
class Step:
    """An action, and the seconds after the step before it."""

    after: float
    action: Annotated[Action, Field(discriminator="kind")]


@dataclass(frozen=True)
class History:
    """Steps from an empty world on."""

    seed: int
    """Seed of all random numbers while the history runs."""
    steps: tuple[Step, ...]


UNMANAGED = (
    Grant(CHECKOUT, INVOKER, "group:testers@example.com"),
    Grant(CHECKOUT, INVOKER, "allAuthenticatedUsers"),
    Grant(f"projects/{SHOP}", "roles/viewer", "group:auditors@example.com"),
    Grant(f"projects/{SHOP}", "roles/cloudsql.client", "user:eve@example.com"),
    Grant(BUCKET, "roles/storage.objectViewer", "user:eve@example.com"),
    Grant(f"projects/{DATA}", "roles/cloudsql.client", "group:auditors@example.com"),
)
"""Grants that no object of the pool declares."""

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
_CODES = ("UNAVAILABLE", "ABORTED", "INTERNAL", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "PERMISSION_DENIED")


def generate(seed: int) -> History:
    """Return the history of a seed."""
    source = random.Random(seed)
    declared = [Step(0.0, Apply(name, POOL[name].specs[0])) for name in _initial(source)]
    count = source.randint(4, 18)
    kinds, weights = zip(*_GENERATORS, strict=True)
    steps = [
        Step(_pause(source), source.choices(kinds, weights)[0](source))
        for _ in range(count)
    ]
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
    grant = source.choice(UNMANAGED if source.random() < 0.4 else DECLARED)
    return EditGrant(grant, source.random() < 0.4)


def _restore(source: random.Random) -> Action:
    return RestorePolicies(source.choice((CHECKOUT, BUCKET, f"projects/{SHOP}")), source.choice((5.0, 30.0, 120.0)))


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
        return KubeFault({**fault, "delay": source.choice((0.5, 5.0, 20.0))})
    return KubeFault({**fault, "code": source.choice((409, 410, 429, 500, 503, 504))})


def _crash(source: random.Random) -> Action:
    return Crash(source.choice((0.0, 2.0, 20.0)), terminate=source.random() < 0.3)


def _crash_at(source: random.Random) -> Action:
    return CrashAt(source.choice(CHECKPOINTS), source.choice((0.0, 2.0, 20.0)))


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
)

_JSON: TypeAdapter[History] = TypeAdapter(History)


def to_json(history: History) -> str:
    """Return a history as JSON."""
    return _JSON.dump_json(history, indent=1).decode()


def from_json(text: str) -> History:
    """Return the history that the JSON describes."""
    return _JSON.validate_json(text)
