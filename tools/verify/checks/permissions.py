"""Beliefs about permissions: their names, and the condition that limits the operator's grants."""

from collections.abc import AsyncIterator, Awaitable, Iterable
from typing import Final

from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.permissions import ACCOUNT_PERMISSIONS, FEATURES
from cloudrun_identity.gcp.policies import Policies
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.iam.delegation import Delegation
from cloudrun_identity.iam.grants import Grant, IAMCondition, Target
from cloudrun_identity.iam.principals import service_account_member
from tools.verify.beliefs import Belief, Cost, Observation, described, judged, refuted, undecided
from tools.verify.sandbox import HARMLESS_ROLE, Sandbox

from .accounts import cannot_act, until_acting, until_effective
from .policies import targets

_ADMIN: Final = "roles/resourcemanager.projectIamAdmin"
_WRITE: Final = "resourcemanager.projects.setIamPolicy"
_OTHER_ROLE: Final = "roles/serviceusage.serviceUsageViewer"


async def _names(sandbox: Sandbox) -> AsyncIterator[Observation]:
    names = {permission for feature in FEATURES.values() for permission in feature}
    async for target in targets(sandbox):
        if target.is_project:
            asked = names
        elif target.is_service_account:
            asked = {*ACCOUNT_PERMISSIONS, *target.descriptor.permissions, target.descriptor.read_permission}
        else:
            asked = {*target.descriptor.permissions, target.descriptor.read_permission}
        yield await _tested(sandbox.policies, target, asked)


async def _tested(policies: Policies, target: Target, asked: set[str]) -> Observation:
    subject = f"{len(asked)} permissions on {target.kind}"
    try:
        held = await policies.test_permissions(target, asked)
    except GoogleError as error:
        if error.fault is not Fault.INVALID_ARGUMENT:
            raise
        invalid = await _invalid(policies, target, asked)
        return refuted(subject, f"{described(error)}; refused alone: {', '.join(invalid) or 'none'}")
    foreign = sorted(held - asked)
    if foreign:
        return refuted(subject, f"the answer has others: {', '.join(foreign)}")
    return judged(True, subject, f"accepted; the caller has {len(held)} of them")


async def _invalid(policies: Policies, target: Target, asked: Iterable[str]) -> list[str]:
    invalid = []
    for permission in sorted(asked):
        try:
            await policies.test_permissions(target, [permission])
        except GoogleError as error:
            if error.fault is not Fault.INVALID_ARGUMENT:
                raise
            invalid.append(permission)
    return invalid


async def _delegation(sandbox: Sandbox) -> AsyncIterator[Observation]:
    delegate = await sandbox.account("delegate")
    limits = IAMCondition(
        "cloudrun-identity", "Only the roles in the guardrails", Delegation((HARMLESS_ROLE,), ()).expression
    )
    own = Grant(sandbox.project, _ADMIN, service_account_member(delegate.email), limits)
    await sandbox.add(own)
    try:
        async for observation in _delegated_writes(sandbox, delegate):
            yield observation
    finally:
        await sandbox.remove(own)


async def _delegated_writes(sandbox: Sandbox, delegate: ServiceAccount) -> AsyncIterator[Observation]:
    try:
        policies = await until_acting(sandbox, delegate)
    except (GoogleError, TimeoutError) as error:
        yield undecided("the delegate writes the policy", cannot_act(sandbox, error))
        return
    try:
        await until_effective(sandbox, policies, _WRITE)
    except TimeoutError as error:
        yield refuted("the delegate may write the policy", str(error))
        return
    holder = await sandbox.account("anchor")
    admitted = sandbox.grant_on_project(holder)
    other = sandbox.grant_on_project(holder, _OTHER_ROLE)
    yield await _permitted(sandbox, policies, admitted)
    yield await _denied("add another role", sandbox.add(other, policies))
    await sandbox.add(other)
    yield await _denied("remove another role", sandbox.remove(other, policies=policies))
    try:
        await sandbox.remove(admitted, policies=policies)
    except GoogleError as error:
        yield refuted("remove a role in the condition", described(error))
    else:
        yield judged(True, "remove a role in the condition", "accepted")
    await sandbox.remove(admitted, other)


async def _permitted(sandbox: Sandbox, policies: Policies, grant: Grant) -> Observation:
    subject = "add a role in the condition"

    async def added() -> bool:
        await sandbox.add(grant, policies)
        return True

    try:  # reading may be effective before writing is
        await sandbox.until(added, frozenset({Fault.PERMISSION_DENIED}), sandbox.settings.access_lag)
    except (GoogleError, TimeoutError) as error:
        return refuted(subject, described(error) if isinstance(error, GoogleError) else str(error))
    return judged(True, subject, "accepted")


async def _denied(subject: str, write: Awaitable[object]) -> Observation:
    try:
        await write
    except GoogleError as error:
        return judged(error.fault is Fault.PERMISSION_DENIED, subject, described(error))
    return refuted(subject, "accepted")


PERMISSION_NAMES = Belief(
    id="permission-names",
    statement="testIamPermissions accepts every permission in docs/reference/permissions.md on a project, "
    "and those of a target kind on its targets.",
    breaks="`status.missingPermissions` and `cloudrun-identity check` report an error instead of the missing "
    "permissions.",
    modules=("gcp/permissions.py", "gcp/policies.py"),
    cost=Cost.FAST,
    check=_names,
)

DELEGATION = Belief(
    id="delegation",
    statement="With the condition on `modifiedGrantsByRole`, an account can add and remove the roles in the "
    "condition on a project, and no others.",
    breaks="Google does not enforce the guardrails on the operator's own access to a project, or denies "
    "grants that the guardrails admit.",
    modules=("iam/delegation.py", "commands/permissions.py"),
    cost=Cost.SLOW,
    check=_delegation,
)
