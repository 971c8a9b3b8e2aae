"""Detect Cloud Run services that allow unauthenticated invocation, where `roles/run.invoker` has no effect.

The result is advice for the status; a grant on such a service is made all the same.
"""

from collections.abc import Iterable
from typing import Final, TypeAlias

from cloudrun_identity.api import ManagedProject, TargetKind, WorkloadKind
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.workloads import Workload
from cloudrun_identity.iam.admission import Admitted, may_use_workload
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.reconcile.cluster_state import ClusterState
from cloudrun_identity.reconcile.guardrail_checks import guardrail_facts
from cloudrun_identity.reconcile.references import Resolved

INVOKER: Final = "roles/run.invoker"

GrantPlace: TypeAlias = tuple[Resolved[Target], Resolved[str], ManagedProject]
"""Target, role that is requested there, and ManagedProject of the target."""


def invoked_services(
    places: Iterable[GrantPlace], namespace: str, cluster: ClusterState
) -> tuple[Workload, ...]:
    """Return the services on which an object of `namespace` requests to grant the invoker role."""
    projects = {
        target: project
        for target, role, project in places
        if role == INVOKER and isinstance(target, Target) and target.kind is TargetKind.SERVICE
    }
    return tuple(
        Workload(WorkloadKind.SERVICE, target.project_id, target.location, target.name)
        for target, project in projects.items()
        if isinstance(
            may_use_workload(project, namespace, target, guardrail_facts(project, cluster)), Admitted
        )
    )


async def public_services(
    services: Iterable[Workload], inventory: Inventory, max_age: float
) -> tuple[Workload, ...]:
    """Return the services that do not check their callers, from shared lists of at most `max_age` seconds."""
    return tuple([each for each in services if await _is_public(each, inventory, max_age)])


def ineffective_roles(services: Iterable[Workload]) -> tuple[str, ...]:
    """Return one issue for each public service."""
    return tuple(
        f"{service} of project {service.project_id} allows unauthenticated invocation: {INVOKER} has no "
        "effect; to check callers, gcloud run services update --invoker-iam-check"
        for service in services
    )


async def _is_public(service: Workload, inventory: Inventory, max_age: float) -> bool:
    try:
        state = await inventory.listed_workload(service, max_age)
    except GoogleError:
        return False
    return state is not None and state.invoker_iam_disabled
