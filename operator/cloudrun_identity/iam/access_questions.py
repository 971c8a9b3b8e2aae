"""Questions about access: who can act as an account or invoke a workload, and what a principal can do."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cloudrun_identity.api import TargetKind

from .access import (
    Access,
    AccessFacts,
    AccessPath,
    AccessResult,
    access_of,
    best,
    combined,
    members_with,
    paths_of,
)
from .grants import Target


@dataclass(frozen=True, slots=True)
class Ability:
    """A use of a resource that permissions on it allow."""

    name: str
    """Short name, for programs."""
    text: str
    """Description that follows the principal: "creates keys for it"."""
    permission: str
    """The permission that decides."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to the question whether one principal has one ability on one resource."""

    resource: str
    """The resource, such as `ServiceAccount web@shop-1234.iam.gserviceaccount.com`."""
    ability: Ability
    """The ability."""
    access: Access
    """The principal, the result, the reasons and the bindings."""


@dataclass(frozen=True, slots=True)
class WorkloadFacts:
    """A workload, and what decides about access to it."""

    target: Target
    """The workload."""
    account: str
    """E-mail of the account that it runs as."""
    facts: AccessFacts
    """Its bindings, and what it inherits."""
    public: bool = False
    """True if the service does not check `run.routes.invoke`."""


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """A service account, and what decides about access to it."""

    target: Target
    """The account."""
    facts: AccessFacts
    """Its bindings, and what it inherits."""
    project: AccessFacts
    """The policies that decide about access to the project."""
    workloads: tuple[WorkloadFacts, ...] = ()
    """The workloads that run as the account."""


ATTACH: Final = Ability("attach", "attaches it to workloads", "iam.serviceAccounts.actAs")
DEPLOY: Final = Ability("deploy", "deploys workloads that run as it", "iam.serviceAccounts.actAs")
ACT_AS: Final = (
    ATTACH,
    Ability("accessToken", "creates access tokens for it", "iam.serviceAccounts.getAccessToken"),
    Ability("idToken", "creates ID tokens for it", "iam.serviceAccounts.getOpenIdToken"),
    Ability("signJwt", "signs JWTs as it", "iam.serviceAccounts.signJwt"),
    Ability("signBlob", "signs data as it", "iam.serviceAccounts.signBlob"),
    Ability("delegate", "uses it as a delegate", "iam.serviceAccounts.implicitDelegation"),
    Ability("createKey", "creates keys for it", "iam.serviceAccountKeys.create"),
    Ability("setPolicy", "grants roles on it", "iam.serviceAccounts.setIamPolicy"),
)
"""Uses of an account. Each lets the principal act with the access of the account, in one or two steps.

https://cloud.google.com/iam/docs/service-account-permissions
"""

INVOKE: Final = {
    TargetKind.SERVICE: Ability("invoke", "invokes it", "run.routes.invoke"),
    TargetKind.JOB: Ability("invoke", "runs it", "run.jobs.run"),
}
"""Invocation by kind of workload. A worker pool has none."""

_PREFIXES: Final = {
    TargetKind.SERVICE: "run.services",
    TargetKind.JOB: "run.jobs",
    TargetKind.WORKER_POOL: "run.workerpools",
}
"""Prefix of the permissions of each kind of workload."""


def who_acts_as(account: AccountFacts, principal: str = "") -> tuple[Answer, ...]:
    """Return who can act as an account, in each way; only for `principal` if it is named."""
    found = [
        Answer(str(account.target), ability, _access(account.facts, member, ability.permission, principal))
        for ability in ACT_AS
        for member in _asked(principal, members_with(account.facts, ability.permission))
    ]
    return _sorted((*found, *_deployers(account, principal)))


def who_invokes(workload: WorkloadFacts, principal: str = "") -> tuple[Answer, ...]:
    """Return who can invoke a workload; only for `principal` if it is named.

    Raises:
        KeyError: workloads of this kind cannot be invoked.

    """
    ability = INVOKE[workload.target.kind]
    if workload.public:
        everybody = Access(principal or "allUsers", AccessResult.YES)
        return (Answer(str(workload.target), ability, everybody),)
    return who_has(str(workload.target), workload.facts, ability, principal)


def who_has(resource: str, facts: AccessFacts, ability: Ability, principal: str = "") -> tuple[Answer, ...]:
    """Return who has an ability on a resource; only for `principal` if it is named."""
    members = _asked(principal, members_with(facts, ability.permission))
    return _sorted(
        Answer(resource, ability, _access(facts, member, ability.permission, principal)) for member in members
    )


def what_can(
    principal: str, accounts: Iterable[AccountFacts], workloads: Iterable[WorkloadFacts]
) -> tuple[Answer, ...]:
    """Return what the principal can do with accounts and workloads, without the answers that are no."""
    answers = [answer for account in accounts for answer in who_acts_as(account, principal)]
    for workload in workloads:
        if workload.target.kind in INVOKE:
            answers += who_invokes(workload, principal)
        answers += who_has(str(workload.target), workload.facts, _deploys(workload.target), principal)
    return tuple(answer for answer in answers if answer.access.result is not AccessResult.NO)


def held_roles(principal: str, facts: Iterable[AccessFacts]) -> tuple[AccessPath, ...]:
    """Return the bindings that give, or may give, the principal a role, without duplicates."""
    return tuple(dict.fromkeys(path for each in facts for path in paths_of(each, principal)))


def result_of(answers: Sequence[Answer]) -> AccessResult:
    """Return the best result of the answers; NO without any."""
    return best(answer.access for answer in answers).result if answers else AccessResult.NO


def _deployers(account: AccountFacts, principal: str) -> Iterator[Answer]:
    """Yield who can deploy a workload that runs as the account: a new one, or one that runs as it now.

    Cloud Run requires the permission to act as the account, and that to write the workload
    (https://cloud.google.com/run/docs/deploying#required_roles).
    """
    places: list[tuple[AccessFacts, str]] = [
        (account.project, f"{prefix}.create") for prefix in _PREFIXES.values()
    ]
    places += [(workload.facts, _deploys(workload.target).permission) for workload in account.workloads]
    members = {
        *members_with(account.facts, ATTACH.permission),
        *(member for facts, permission in places for member in members_with(facts, permission)),
    }
    for member in _asked(principal, sorted(members)):
        acts = _closest([(account.facts, ATTACH.permission)], member)
        writes = _closest(places, member)
        both = combined(member, (acts, writes))
        if principal or both.result is not AccessResult.NO:
            yield Answer(str(account.target), DEPLOY, both)


def _closest(places: Sequence[tuple[AccessFacts, str]], member: str) -> Access:
    """Return the best direct access in one of the places; without one, the best of any kind."""
    direct = best(access_of(facts, member, permission, direct=True) for facts, permission in places)
    if direct.result is not AccessResult.NO:
        return direct
    return best(access_of(facts, member, permission) for facts, permission in places)


def _access(facts: AccessFacts, member: str, permission: str, principal: str) -> Access:
    """Return the access of a member of a list, or of the principal that the question names."""
    return access_of(facts, member, permission, direct=not principal)


def _deploys(target: Target) -> Ability:
    return Ability("update", "deploys new revisions of it", f"{_PREFIXES[target.kind]}.update")


def _asked(principal: str, members: Sequence[str]) -> Sequence[str]:
    return (principal,) if principal else members


def _sorted(answers: Iterable[Answer]) -> tuple[Answer, ...]:
    """Return the answers by principal; those of one principal keep their order."""
    return tuple(sorted(answers, key=lambda answer: answer.access.principal))


def permission_ability(permission: str) -> Ability:
    """Return a permission that the user names as an ability."""
    return Ability(permission, f"has {permission} on it", permission)


def by_principal(answers: Iterable[Answer]) -> Mapping[str, list[Answer]]:
    """Return the answers by principal, in their order."""
    found: dict[str, list[Answer]] = {}
    for answer in answers:
        found.setdefault(answer.access.principal, []).append(answer)
    return found
