"""Report what remains in Google Cloud for an object that is refused: grants, and a workload's account.

A guardrail that is tightened, and an identity that no longer allows a namespace, retain what exists. The
status of the object says so.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from cloudrun_identity.api import GrantState, IdentityAttachment, ProjectScopedResource
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.model import Ledger

from .cluster_state import ClusterState, ledger_owner
from .references import declared_workload

_SHOWN: Final = 3  # grants that the issues name before they count the rest


def retained_issues(
    obj: ProjectScopedResource,
    held: Iterable[Target],
    cluster: ClusterState,
    desired: Collection[Grant] = frozenset(),
) -> tuple[str, ...]:
    """Return what remains for an object that is refused as a whole, or except for its `desired` grants.

    `held` are the targets with ledger entries of the object.
    """
    owner_key = ledger_owner(obj).owner_key
    grants = [
        grant
        for target in sorted(held)
        for grant in granted_to(cluster.ledger(target), owner_key)
        if grant not in desired
    ]
    issues = [f"{grant} remains, until this object is deleted or is admitted again" for grant in grants]
    hidden = len(issues) - _SHOWN
    more = [f"{hidden} more grants remain"] if hidden > 0 else []
    return (*_running(obj, cluster), *issues[:_SHOWN], *more)


def granted_to(ledger: Ledger, owner_key: str) -> Iterator[Grant]:
    """Yield the grants in a ledger that are present for an owner, without those that are being released."""
    for grant in sorted(ledger.held_by(owner_key), key=str):
        if ledger.entries[grant].state is GrantState.GRANTED:
            yield grant


def workload_target(attachment: IdentityAttachment, cluster: ClusterState) -> Target | None:
    """Return the workload of an attachment; None if its project is unknown."""
    project = cluster.project(attachment.spec.project_ref.name)
    return declared_workload(attachment, project.project_id).target if project else None


def runs_as(attachment: IdentityAttachment, cluster: ClusterState) -> str:
    """Return the account that the attachment made its workload run as; empty if it reassigned none."""
    workload = workload_target(attachment, cluster)
    record = cluster.ledger(workload).attachment if workload else None
    own = f"{attachment.metadata.namespace}/{attachment.metadata.name}"
    return record.service_account if record and record.owner == own else ""


def _running(obj: ProjectScopedResource, cluster: ClusterState) -> Iterator[str]:
    if isinstance(obj, IdentityAttachment) and (account := runs_as(obj, cluster)):
        workload = workload_target(obj, cluster)
        yield f"{workload} still runs as {account}; deploy it with another account to end that"
