"""Advice on the grants of an identity and on the grants to act as it. Advice never blocks a grant.

One table decides. It matches the permissions of a role where they are known, and otherwise its name.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cloudrun_identity.api.predefined_roles import ACTING_ROLES, BASIC_ROLES

from .escalation import escalating, reach_of, reasons_for
from .grants import Target
from .patterns import matches_any
from .principals import email, is_default_account, is_service_account
from .wording import some


class AdviceKind(StrEnum):
    """Subjects of advice, the most severe first."""

    BASIC_ROLE = "BasicRole"
    DEFAULT_ACCOUNT = "DefaultAccount"
    PROJECT_WIDE_IDENTITIES = "ProjectWideIdentities"
    RUN_WITH_OVERRIDES = "RunWithOverrides"
    SSH = "SSH"
    ESCALATION = "Escalation"


@dataclass(frozen=True, slots=True)
class DeclaredGrant:
    """A grant that an identity declares."""

    path: str
    """Field that declares the grant, such as `spec.roles[0]`."""
    target: Target
    """Resource that the role is granted on."""
    role: str
    """Full name of the role."""
    member: str
    """Member as the policy writes it."""
    permissions: frozenset[str] | None = None
    """Permissions of the role; None while unknown."""


@dataclass(frozen=True, slots=True)
class Advice:
    """One piece of advice."""

    kind: AdviceKind
    """Subject of the advice."""
    text: str
    """The grant, its problem and a better choice."""


def advise(grants: Iterable[DeclaredGrant]) -> tuple[Advice, ...]:
    """Return the advice on the grants, the most severe first, and then in the order of the grants."""
    found = [advice for grant in grants for advice in _about(grant)]
    order = {kind: rank for rank, kind in enumerate(AdviceKind)}
    return tuple(sorted(dict.fromkeys(found), key=lambda advice: order[advice.kind]))


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of the table: grants with a problem, and a better choice."""

    kind: AdviceKind
    """Subject of the advice."""
    problem: str
    """Problem of the grant, to follow the grant."""
    better: str
    """Better choice, to follow "instead: "."""
    roles: frozenset[str] = frozenset()
    """Roles that the row is about."""
    permissions: tuple[str, ...] = ()
    """Patterns of permissions of the roles that the row is about."""
    only_inherited: bool = False
    """True if the row is only about grants that apply to every resource in the target."""

    def applies(self, grant: DeclaredGrant) -> bool:
        """Return whether the row is about the grant."""
        if self.only_inherited and not grant.target.descriptor.is_inherited:
            return False
        return grant.role in self.roles or any(
            matches_any(permission, self.permissions) for permission in grant.permissions or ()
        )


_TABLE: Final = (
    _Row(
        AdviceKind.BASIC_ROLE,
        "has permissions on nearly every resource of the project",
        "the predefined roles that the workload needs, or a CustomRole with only those permissions",
        roles=BASIC_ROLES,
    ),
    _Row(
        AdviceKind.PROJECT_WIDE_IDENTITIES,
        "applies to every service account of the project, including future ones",
        "users or tokenCreators of the CloudRunIdentity that it must act as",
        roles=frozenset(ACTING_ROLES),
        only_inherited=True,
    ),
    _Row(
        AdviceKind.RUN_WITH_OVERRIDES,
        "allows its holder to run jobs with any command, as the job's identity",
        "roles/run.invoker, which runs a job as it was deployed, on that job only",
        permissions=("run.jobs.runWithOverrides",),
    ),
    _Row(
        AdviceKind.SSH,
        "allows its holder to open shells in running workloads, as their identity",
        "a CustomRole with the permissions that its holder needs, or roles/run.viewer to look",
        permissions=("run.*.ssh*",),
    ),
)


def _about(declared: DeclaredGrant) -> Iterator[Advice]:
    grant = f"{declared.path}: {declared.role} on {declared.target}"
    account = email(declared.member) if is_service_account(declared.member) else ""
    if is_default_account(account):
        yield Advice(
            AdviceKind.DEFAULT_ACCOUNT,
            f"{declared.path}: {account} is the account of every workload without an identity of its own; "
            "instead: the identity of the workload that needs the role",
        )
    if declared.target.is_service_account and is_default_account(declared.target.name):
        yield Advice(
            AdviceKind.DEFAULT_ACCOUNT,
            f"{grant} includes everything that the default account may do; instead: a CloudRunIdentity",
        )
    rows = [row for row in _TABLE if row.applies(declared)]
    for row in rows:
        yield Advice(row.kind, f"{grant} {row.problem}; instead: {row.better}")
    if not any(row.roles for row in rows):
        yield from _escalation(declared, grant, [pattern for row in rows for pattern in row.permissions])


def _escalation(declared: DeclaredGrant, grant: str, covered: list[str]) -> Iterator[Advice]:
    """Yield advice on the escalating permissions that no row of the table covers."""
    reach = reach_of(declared.target.kind, own_identity=declared.target.is_service_account)
    left = sorted(
        each for each in escalating(declared.permissions or (), reach) if not matches_any(each, covered)
    )
    if left:
        yield Advice(
            AdviceKind.ESCALATION,
            f"{grant}: its holder {reasons_for(left, reach)} ({some(left)}); "
            "instead: a CustomRole without these permissions",
        )
