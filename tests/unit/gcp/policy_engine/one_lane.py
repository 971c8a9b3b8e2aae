"""One policy, two objects that declare grants on it, and the lane between them."""

import asyncio

from cloudrun_identity.api import GrantState, TargetKind
from cloudrun_identity.gcp.policy_engine.lanes import Convergence, Lanes
from cloudrun_identity.gcp.policy_engine.setbacks import Setback
from cloudrun_identity.iam.claims import Claim, Claimant, Declaration
from cloudrun_identity.iam.grants import Grant, Target

TARGET = Target(TargetKind.PROJECT, "acme")
ROLE = "roles/run.invoker"
WEB = Claimant("IAMBinding", "payments", "web", "uid-1")
OPS = Claimant("IAMBinding", "payments", "ops", "uid-2")
ANN, BOB, EVE = (
    Grant(TARGET, ROLE, f"serviceAccount:{name}@acme.iam.gserviceaccount.com")
    for name in ("ann", "bob", "eve")
)


def now() -> float:
    return asyncio.get_running_loop().time()


def claiming(claimant: Claimant, *grants: Grant, **fields: object) -> Declaration:
    return Declaration(claimant, frozenset(map(Claim, grants)), **fields)


async def converged(lanes: Lanes, *declarations: Declaration) -> list[Convergence]:
    for declaration in declarations:
        lanes.declare(declaration)
    return await asyncio.gather(*(lanes.converge(declaration.claimant) for declaration in declarations))


async def retried(lanes: Lanes, claimant: Claimant, after: float) -> Convergence:
    await asyncio.sleep(after)
    return await lanes.converge(claimant)


def state_of(convergence: Convergence, grant: Grant) -> GrantState:
    return next(verdict.state for verdict in convergence.verdicts if verdict.grant == grant)


def setback_of(convergence: Convergence, grant: Grant) -> Setback:
    setback = next(verdict.setback for verdict in convergence.verdicts if verdict.grant == grant)
    assert setback
    return setback
