"""Whether a custom role may come to permit more, for all who hold it or are about to."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from cloudrun_identity.api import CustomRole, ManagedProject, Reason
from cloudrun_identity.iam.admission import Denied
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.iam.guardrails import GrantRequest, decide
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.reconcile.cluster_state import ClusterState
from cloudrun_identity.reconcile.outcomes import Outcome, Refused
from cloudrun_identity.reconcile.preconditions import guardrail_facts


class Claims(Protocol):
    """Who is about to hold a role: `policy.syncers.Lanes`."""

    def about_to_hold(self, role: str, project_id: str) -> Iterable[tuple[Grant, str]]:
        """Every grant of the role that is to be written in the project, and who claims it."""
        ...


def holders(
    role: str, project_id: str, cluster: ClusterState, desired_grants: Claims
) -> Iterator[tuple[Grant, Owner]]:
    """Every grant of a role that we hold or are about to hold, with each object it is for."""
    for grant, entry in cluster.held_by_role(role):
        yield from ((grant, Owner.parse(each)) for each in sorted(entry.owners))
    for grant, owner in desired_grants.about_to_hold(role, project_id):
        yield grant, Owner.parse(owner)


def denial_of_expansion(
    obj: CustomRole,
    project: ManagedProject,
    permissions: frozenset[str],
    cluster: ClusterState,
    desired_grants: Claims,
) -> Outcome | None:
    """Why the project does not allow that the role comes to permit these; None if it does.

    Whoever has been granted the role would have all of them, so it is asked as if each of the objects that
    grant it asked for that. An object that does so later is judged by them, too (`grants.wishes.Judge`).
    """
    facts = guardrail_facts(project, cluster)
    for grant, owner in holders(obj.name_in(project.project_id), project.project_id, cluster, desired_grants):
        request = GrantRequest(owner.namespace, grant.target, grant.role, grant.member, permissions)
        decision = decide(request, project, facts)
        if isinstance(decision, Denied):
            return Refused(
                Reason.DENIED_BY_GUARDRAIL,
                f"spec.permissions: {owner.kind} {owner.namespace}/{owner.name} grants the role "
                f"already, and {decision.reason}",
            )
    return None
