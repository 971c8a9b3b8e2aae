"""Services that let in everybody: who is granted the role to call one gains nothing by it, and is to know.

It is advice: what keeps a grant from being made is told by its lane.
"""

from collections.abc import Iterable
from typing import Final

from cloudrun_identity.api import ManagedProject, TargetKind, WorkloadKind
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.workloads import Workload
from cloudrun_identity.iam.admission import Admitted, may_use_workload
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.reconcile.cluster_state import ClusterState
from cloudrun_identity.reconcile.preconditions import guardrail_facts

from .references import NoRole
from .targets import NoTarget

INVOKER: Final = "roles/run.invoker"


Place = tuple[Target | NoTarget, str | NoRole, ManagedProject]
"""A target, a role that is to be granted there, and the project of the target."""


def services_called(places: Iterable[Place], namespace: str, cluster: ClusterState) -> tuple[Workload, ...]:
    """The services that somebody is to call by what an object in `namespace` grants, if it may use them."""
    lenders = {
        target: lender
        for target, role, lender in places
        if role == INVOKER and isinstance(target, Target) and target.kind is TargetKind.SERVICE
    }
    return tuple(
        Workload(WorkloadKind.SERVICE, target.project_id, target.location, target.name)
        for target, lender in lenders.items()
        if isinstance(may_use_workload(lender, namespace, target, guardrail_facts(lender, cluster)), Admitted)
    )


async def open_to_all(
    services: Iterable[Workload], inventory: Inventory, max_age: float
) -> tuple[Workload, ...]:
    """Those that do not check who calls them, by lists that all share, at most `max_age` seconds old."""
    return tuple([each for each in services if await _is_open(each, inventory, max_age)])


def roles_in_vain(open_services: Iterable[Workload]) -> tuple[str, ...]:
    """Say of each service what the role comes to there."""
    return tuple(
        f"{service} of project {service.project_id} lets in everybody, whoever holds {INVOKER}; "
        "gcloud run services update --invoker-iam-check has it check who calls it"
        for service in open_services
    )


async def _is_open(service: Workload, inventory: Inventory, max_age: float) -> bool:
    try:
        state = await inventory.listed_workload(service, max_age)
    except GoogleError:
        return False
    return state is not None and state.invoker_iam_disabled
