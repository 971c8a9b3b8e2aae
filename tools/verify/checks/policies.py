"""Beliefs about the refusals of IAM policies."""

from collections.abc import AsyncIterator, Iterator
from typing import Final

from cloudrun_identity.api import TargetKind, WorkloadKind
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.grants import Grant, IAMCondition, Target
from cloudrun_identity.iam.principals import service_account_member
from cloudrun_identity.policy.bisection import REFUSALS
from cloudrun_identity.policy.merge import grants_in
from tools.verify.beliefs import Belief, Cost, Observation, described, judged, refuted, undecided
from tools.verify.sandbox import HARMLESS_ROLE, Sandbox
from tools.verify.workloads import workload

ROLES: Final = {
    TargetKind.PROJECT: HARMLESS_ROLE,
    TargetKind.SERVICE_ACCOUNT: "roles/iam.serviceAccountViewer",
    TargetKind.SERVICE: "roles/run.viewer",
    TargetKind.JOB: "roles/run.viewer",
    TargetKind.WORKER_POOL: "roles/run.viewer",
    TargetKind.SECRET: "roles/secretmanager.viewer",
}
"""A role for each target kind that permits to read only."""

NEVER: Final = IAMCondition("never", "", 'request.time < timestamp("2001-01-01T00:00:00Z")')
"""Condition that is never met."""


async def targets(sandbox: Sandbox) -> AsyncIterator[Target]:
    """Yield a target of each kind."""
    yield sandbox.project
    yield Target.service_account(sandbox.project_id, (await sandbox.account("anchor")).email)
    for kind in WorkloadKind:
        yield (await workload(sandbox, kind)).workload.target
    if sandbox.settings.secret:
        yield Target.secret(sandbox.project_id, sandbox.settings.secret)


async def _refusals(sandbox: Sandbox) -> AsyncIterator[Observation]:
    member = service_account_member((await sandbox.account("anchor")).email)
    async for target in targets(sandbox):
        refusal = await _refusal_of_own_policy(sandbox, target)
        if refusal is not None:
            yield undecided(f"the unchanged policy of {target.kind}", described(refusal))
            continue
        for what, grant in _refused_grants(sandbox, target, member):
            yield await _refused(sandbox, what, grant)


def _refused_grants(sandbox: Sandbox, target: Target, member: str) -> Iterator[tuple[str, Grant]]:
    """Yield grants that Google refuses. None of them would give access if Google accepted it."""
    role = ROLES[target.kind]
    missing = service_account_member(sandbox.email("missing"))
    yield "account that does not exist", Grant(target, role, missing)
    yield "malformed member", Grant(target, role, "serviceAccount:not-an-address")
    yield "role that does not exist", Grant(target, "roles/cloudrunIdentity.missing", member)
    if target.descriptor.accepts_conditions:
        malformed = IAMCondition("malformed", "", "request.time <")
        yield "malformed condition", Grant(target, role, member, malformed)
    if target.is_project:
        yield "condition on a basic role", Grant(target, "roles/viewer", member, NEVER)
    else:
        yield "role for other resources", Grant(target, "roles/logging.logWriter", member)


async def _refusal_of_own_policy(sandbox: Sandbox, target: Target) -> GoogleError | None:
    """Write a policy without a change. Return the error if the caller cannot write the policy at all."""
    try:
        await sandbox.write(sandbox.policies.set(target, await sandbox.policies.get(target)))
    except GoogleError as error:
        return error
    return None


async def _refused(sandbox: Sandbox, what: str, grant: Grant) -> Observation:
    subject = f"{what} in the policy of {grant.target.kind}"
    try:
        await sandbox.add(grant)
    except GoogleError as error:
        if error.undecided:
            return undecided(subject, described(error))
        return judged(error.fault in REFUSALS, subject, described(error))
    await sandbox.remove(grant)
    return refuted(subject, "accepted")


async def _conditions(sandbox: Sandbox) -> AsyncIterator[Observation]:
    member = service_account_member((await sandbox.account("anchor")).email)
    async for target in targets(sandbox):
        expected = target.descriptor.accepts_conditions
        subject = f"condition in the policy of {target.kind}"
        grant = Grant(target, ROLES[target.kind], member, NEVER)
        try:
            await sandbox.add(grant)
        except GoogleError as error:
            if error.undecided or error.fault is Fault.PERMISSION_DENIED:
                yield undecided(subject, described(error))
            else:
                yield judged(not expected and error.fault in REFUSALS, subject, described(error))
            continue
        shown = grant in grants_in(await sandbox.policies.get(target), target)
        await sandbox.remove(grant)
        answer = "accepted" if shown else "accepted, and missing in the policy"
        yield judged(expected and shown, subject, answer)


REFUSED_POLICIES = Belief(
    id="refused-policies",
    statement="A policy with a member, role or condition that Google refuses is answered with "
    "INVALID_ARGUMENT or FAILED_PRECONDITION, on every kind of target.",
    breaks="One bad grant blocks all other grants on the same target, because the operator does not look "
    "for the grant that is refused.",
    modules=("policy/bisection.py", "gcp/error_classification.py"),
    cost=Cost.FAST,
    check=_refusals,
)

CONDITIONS = Belief(
    id="conditions",
    statement="Policies of projects, accounts, secrets and Cloud Run services accept IAM conditions; those "
    "of jobs and worker pools refuse them.",
    breaks="The CRDs refuse a condition that Google accepts, or accept one that Google refuses.",
    modules=("api/target_kinds.py",),
    cost=Cost.FAST,
    check=_conditions,
)
