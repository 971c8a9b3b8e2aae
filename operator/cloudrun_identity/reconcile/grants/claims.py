"""Claims: existing grants that an object may remove, because a guardrail entry has `claim`."""

from collections.abc import Iterable, Iterator
from datetime import timedelta

from cloudrun_identity.iam.admission import Admitted
from cloudrun_identity.iam.grant_matching import GrantRequest
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.guardrails import decide
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.ledger.temporary_grants import by_granted
from cloudrun_identity.reconcile.cluster_state import ClusterState
from cloudrun_identity.reconcile.guardrail_checks import guardrail_facts


def claimed_grants(owner: Owner, targets: Iterable[Target], cluster: ClusterState) -> frozenset[Grant]:
    """Return the grants on these targets that existed before the object, and that it may remove.

    The guardrails decide now, not when the grant was recorded: an object that was admitted with
    `existingGrants: Keep` could otherwise be edited to Claim and be deleted.
    """
    return frozenset(grant for target in targets for grant in _claimed_on(target, owner, cluster))


def _claimed_on(target: Target, owner: Owner, cluster: ClusterState) -> Iterator[Grant]:
    ledger = cluster.ledger(target)
    temporary = by_granted(ledger.temporary)
    for grant in ledger.held_by(owner.owner_key):
        entry = ledger.entries[grant]
        declared, _ = temporary.get((owner.owner_key, grant), (grant, None))  # without the end as a condition
        # A grant that is not recorded as made may exist.
        if (entry.present_before or not entry.is_made) and _may_claim(owner, declared, cluster):
            yield grant


def _may_claim(owner: Owner, grant: Grant, cluster: ClusterState) -> bool:
    project = cluster.project_on(grant.target.project_id)
    if project is None:
        return False
    # The removal of a grant gives its role to no one, whatever the permissions and the longest duration.
    request = GrantRequest(
        owner.namespace,
        grant.target,
        grant.role,
        grant.member,
        permissions=frozenset(),
        condition=grant.condition,
        claim=True,
        lasts=timedelta(),
    )
    return isinstance(decide(request, project, guardrail_facts(project, cluster)), Admitted)
