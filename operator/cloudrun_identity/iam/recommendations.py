"""Advice on what an identity is granted and on who may act as it: never a block, always the better choice.

One table. What a role holds decides where that is known, its name where nothing else can.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cloudrun_identity.api import TargetKind

from .acting_roles import ACTING_ROLES
from .basic_roles import BASIC_ROLES
from .escalation import Reach, escalating, reason_for
from .grants import Target
from .patterns import matches_any
from .principals import email, is_default_account, is_service_account


class AdviceKind(StrEnum):
    """What advice is about, the gravest first."""

    BASIC_ROLE = "BasicRole"
    DEFAULT_ACCOUNT = "DefaultAccount"
    PROJECT_WIDE_IDENTITIES = "ProjectWideIdentities"
    RUN_WITH_OVERRIDES = "RunWithOverrides"
    SSH = "SSH"
    ESCALATION = "Escalation"


@dataclass(frozen=True, slots=True)
class Given:
    """A grant as it is declared by the field `path`; `permissions` are the role's, None while unknown."""

    path: str
    target: Target
    role: str
    member: str
    permissions: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Advice:
    """One piece of advice: what is wrong with which grant, and what to do instead."""

    kind: AdviceKind
    text: str


def advise(grants: Iterable[Given]) -> tuple[Advice, ...]:
    """Everything there is to say about the grants, the gravest first, in their order."""
    found = [advice for given in grants for advice in _about(given)]
    order = {kind: rank for rank, kind in enumerate(AdviceKind)}
    return tuple(sorted(dict.fromkeys(found), key=lambda advice: order[advice.kind]))


@dataclass(frozen=True, slots=True)
class _Row:
    """Roles by name, or what they hold by patterns (`*` is any run of characters), on such targets.

    `wrong` reads on after the grant, `better` after "instead: ".
    """

    kind: AdviceKind
    wrong: str
    better: str
    roles: frozenset[str] = frozenset()
    permissions: tuple[str, ...] = ()
    on: frozenset[TargetKind] = frozenset(TargetKind)

    def applies(self, given: Given) -> bool:
        """Whether the grant is such a one."""
        if given.target.kind not in self.on:
            return False
        return given.role in self.roles or any(
            matches_any(permission, self.permissions) for permission in given.permissions or ()
        )


_TABLE: Final = (
    _Row(
        AdviceKind.BASIC_ROLE,
        "reaches almost everything in the project",
        "the predefined roles for what the workload does, or a CustomRole with just its permissions",
        roles=BASIC_ROLES,
    ),
    _Row(
        AdviceKind.PROJECT_WIDE_IDENTITIES,
        "reaches every service account of the project, those to come as well",
        "users or tokenCreators of the very CloudRunIdentity that it has to act as",
        roles=frozenset(ACTING_ROLES),
        on=frozenset({TargetKind.PROJECT}),
    ),
    _Row(
        AdviceKind.RUN_WITH_OVERRIDES,
        "lets its holder run jobs with commands of its own, as the job's identity",
        "roles/run.invoker, which runs a job as it was deployed, best on the job alone",
        permissions=("run.jobs.runWithOverrides",),
    ),
    _Row(
        AdviceKind.SSH,
        "opens shells in running workloads, as their identity",
        "a role without it, such as roles/run.developer or a CustomRole",
        permissions=("run.*.ssh*",),
    ),
)


def _about(given: Given) -> Iterator[Advice]:
    grant = f"{given.path}: {given.role} on {given.target}"
    account = email(given.member) if is_service_account(given.member) else ""
    if is_default_account(account):
        yield Advice(
            AdviceKind.DEFAULT_ACCOUNT,
            f"{given.path}: {account} is what every workload without an identity of its own runs as; "
            "instead: the identity of the workload that needs it",
        )
    if given.target.kind is TargetKind.SERVICE_ACCOUNT and is_default_account(given.target.name):
        yield Advice(
            AdviceKind.DEFAULT_ACCOUNT,
            f"{grant} leads to all that the default account may do; instead: a CloudRunIdentity of its own",
        )
    rows = [row for row in _TABLE if row.applies(given)]
    for row in rows:
        yield Advice(row.kind, f"{grant} {row.wrong}; instead: {row.better}")
    if not any(row.roles for row in rows):
        yield from _escalation(given, grant, [pattern for row in rows for pattern in row.permissions])


def _escalation(given: Given, grant: str, told: list[str]) -> Iterator[Advice]:
    """Whatever else of the role's permissions lets its holder become more than it was given."""
    reach = _REACH.get(given.target.kind, Reach.RESOURCE)
    left = sorted(each for each in escalating(given.permissions or (), reach) if not matches_any(each, told))
    if left:
        reasons = dict.fromkeys(reason_for(each, reach) for each in left[:_SHOWN])
        more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
        yield Advice(
            AdviceKind.ESCALATION,
            f"{grant}: its holder {', '.join(reasons)} ({', '.join(left[:_SHOWN])}{more}); "
            "instead: a CustomRole without that",
        )


_SHOWN = 3
_REACH = {TargetKind.PROJECT: Reach.PROJECT, TargetKind.SERVICE_ACCOUNT: Reach.OWN_IDENTITY}
