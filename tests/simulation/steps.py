"""Steps of a history: what users, other clients, faults and crashes do, and when.

A history is its list of steps. A seed generates one, and a found one is shrunk to the steps that matter.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from .declarations import Grant, ObjectName, Spec


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
    before_write: bool = False
    """True to do it when an operator has read the policy, and is about to write it."""


@dataclass(frozen=True)
class EditPolicy:
    """Another client adds or removes a part of a policy that the operator never changes."""

    kind: Literal["EditPolicy"] = field(default="EditPolicy", kw_only=True, repr=False)
    resource: str
    part: Literal["condition", "audit config"]
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
    verb: Literal["delete", "undelete", "disable", "enable", "rename", "recreate"]
    """`rename` changes the display name. `recreate` deletes the account, and creates another one."""


@dataclass(frozen=True)
class EditRole:
    """Another client changes the custom role."""

    kind: Literal["EditRole"] = field(default="EditRole", kw_only=True, repr=False)
    verb: Literal["delete", "undelete", "change"]
    """`change` replaces the permissions."""


@dataclass(frozen=True)
class EditKey:
    """Another client changes the newest key of an account."""

    kind: Literal["EditKey"] = field(default="EditKey", kw_only=True, repr=False)
    email: str
    verb: Literal["delete", "disable", "enable"]


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
    bump: bool = True
    """True to continue with higher versions; False to use versions a second time."""


@dataclass(frozen=True)
class DeleteNamespace:
    """A user deletes a namespace with everything in it."""

    kind: Literal["DeleteNamespace"] = field(default="DeleteNamespace", kw_only=True, repr=False)
    namespace: str


@dataclass(frozen=True)
class DelayConnections:
    """A share of the operators' connections to the API server delivers nothing for some seconds.

    So some reads and watches are stale, and the events of different kinds arrive in another order.
    """

    kind: Literal["DelayConnections"] = field(default="DelayConnections", kw_only=True, repr=False)
    share: float
    seconds: float


@dataclass(frozen=True)
class GoogleLag:
    """Google Cloud shows new accounts, and writes of policies, only after some seconds."""

    kind: Literal["GoogleLag"] = field(default="GoogleLag", kw_only=True, repr=False)
    accounts: float
    policies: float


@dataclass(frozen=True)
class Quota:
    """Google Cloud refuses the writes of an API above a number per minute."""

    kind: Literal["Quota"] = field(default="Quota", kw_only=True, repr=False)
    api: str
    writes: int


Action = (
    Apply
    | Delete
    | EditGrant
    | EditPolicy
    | RestorePolicies
    | EditAccount
    | EditRole
    | EditKey
    | Redeploy
    | GoogleFault
    | KubeFault
    | ResetConnections
    | Crash
    | CrashAt
    | SecondOperator
    | ClockJump
    | RestoreApiServer
    | DeleteNamespace
    | DelayConnections
    | GoogleLag
    | Quota
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
    found: str = ""
    """For a history of the corpus: what it found."""


_JSON: TypeAdapter[History] = TypeAdapter(History)


def to_json(history: History) -> str:
    """Return a history as JSON."""
    return _JSON.dump_json(history, indent=1).decode()


def from_json(text: str) -> History:
    """Return the history that the JSON describes."""
    return _JSON.validate_json(text)
