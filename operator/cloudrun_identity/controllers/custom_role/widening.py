"""Whether a custom role may come to permit more, for all who hold it or are about to."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from cloudrun_identity.api import CustomRole, ManagedProject, Reason
from cloudrun_identity.controllers.gate import surroundings
from cloudrun_identity.controllers.outcomes import Outcome, Refused
from cloudrun_identity.controllers.world import World
from cloudrun_identity.iam.admission import Denied
from cloudrun_identity.iam.claims import Claimant
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.iam.guardrails import GrantRequest, decide


class Claims(Protocol):
    """Who is about to hold a role: `gcp.policy_engine.lanes.Lanes`."""

    def about_to_hold(self, role: str, project_id: str) -> Iterable[tuple[Grant, str]]:
        """Every grant of the role that is to be written in the project, and who claims it."""
        ...


def holders(role: str, project_id: str, world: World, claims: Claims) -> Iterator[tuple[Grant, Claimant]]:
    """Every grant of a role that we hold or are about to hold, with each object it is for."""
    for grant, holding in world.held_by_role(role):
        yield from ((grant, Claimant.parse(each)) for each in sorted(holding.claimants))
    for grant, claimant in claims.about_to_hold(role, project_id):
        yield grant, Claimant.parse(claimant)


def objection_to_widening(
    obj: CustomRole, project: ManagedProject, permissions: frozenset[str], world: World, claims: Claims
) -> Outcome | None:
    """Why the project does not allow that the role comes to permit these; None if it does.

    Whoever has been granted the role would have all of them, so it is asked as if each of the objects that
    grant it asked for that. An object that does so later is judged by them, too (`grants.wishes.Judge`).
    """
    facts = surroundings(project, world)
    for grant, claimant in holders(obj.name_in(project.project_id), project.project_id, world, claims):
        request = GrantRequest(claimant.namespace, grant.target, grant.role, grant.member, permissions)
        decision = decide(request, project, facts)
        if isinstance(decision, Denied):
            return Refused(
                Reason.DENIED_BY_GUARDRAIL,
                f"spec.permissions: {claimant.kind} {claimant.namespace}/{claimant.name} grants the role "
                f"already, and {decision.reason}",
            )
    return None
