"""Findings about a delegated project for the platform team: default identities, orphans, repeated drift."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cloudrun_identity.api import (
    ConditionStatus,
    IAMBinding,
    IdentityAttachment,
    ManagedProject,
    Orphan,
    Reason,
    WorkloadKind,
    WorkloadOnDefaultIdentity,
)
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.projects import cloud_run_service_agent
from cloudrun_identity.gcp.workloads import Workload
from cloudrun_identity.iam.principals import is_default_account
from cloudrun_identity.reconcile.cluster_state import ClusterState, ObjectKey
from cloudrun_identity.reconcile.conditions import Finding
from cloudrun_identity.reconcile.repeated_drift import ROUNDS, RepeatedDrift

REPEATED: Final = "DriftRepeated"
"""Reason of the Event for drift that returns after each repair."""

_NAMED: Final = 3  # differences that a notice names before it counts the rest


@dataclass(frozen=True, slots=True)
class WorkloadAudit:
    """Workloads of a project, as far as they could be listed."""

    on_default: tuple[Workload, ...] = ()
    """Workloads that run as a default account."""
    unreadable: tuple[tuple[str, GoogleError], ...] = ()
    """Places that could not be listed, each with the error."""
    looked: bool = False
    """False if there was no location to look in."""


NOT_LOOKED = WorkloadAudit()


def locations_of(project: ManagedProject, cluster: ClusterState) -> frozenset[str]:
    """Return the locations in which the project's workloads are looked for."""
    if project.spec.locations:
        return frozenset(project.spec.locations)
    found = {
        attachment.spec.workload.location
        for attachment in cluster.objects(IdentityAttachment)
        if attachment.spec.project_ref.name == project.metadata.name
    }
    found |= {
        binding.spec.target.workload_location
        for binding in cluster.objects(IAMBinding)
        if binding.spec.project_ref.name == project.metadata.name and binding.spec.target.workload_location
    }
    return frozenset(found)


async def audit_workloads(
    inventory: Inventory, project_id: str, locations: Iterable[str], max_age: float
) -> WorkloadAudit:
    """List the workloads of the locations, as of at most `max_age` seconds ago."""
    on_default: list[Workload] = []
    unreadable: list[tuple[str, GoogleError]] = []
    looked = False
    for location in sorted(locations):
        for kind in WorkloadKind:
            looked = True
            try:
                states = await inventory.workloads(project_id, location, kind, max_age)
            except GoogleError as error:
                unreadable.append((f"{kind}s in {location}", error))
                continue
            on_default += [
                state.workload
                for _, state in sorted(states.items())
                if not state.service_account or is_default_account(state.service_account)
            ]
    return WorkloadAudit(tuple(on_default), tuple(unreadable), looked)


def on_default_identity(audit: WorkloadAudit) -> tuple[WorkloadOnDefaultIdentity, ...]:
    """Return the workloads on a default account as the status lists them."""
    return tuple(
        WorkloadOnDefaultIdentity(kind=each.kind, location=each.location, name=each.name)
        for each in audit.on_default
    )


def service_agent_ready(project_id: str, number: str, audit: WorkloadAudit) -> Finding:
    """Return the condition ServiceAgentReady. Google creates the service agent when the API is enabled."""
    agent = cloud_run_service_agent(number)
    if not audit.looked:
        return Finding(
            ConditionStatus.UNKNOWN, "NotObserved", "There is no location to look in; set spec.locations"
        )
    faults = {error.fault for _, error in audit.unreadable}
    if Fault.API_DISABLED in faults:
        return Finding(
            ConditionStatus.FALSE,
            Reason.API_DISABLED,
            f"{agent} does not exist before Cloud Run is enabled: "
            f"gcloud services enable run.googleapis.com --project {project_id}",
        )
    if faults:
        return Finding(ConditionStatus.UNKNOWN, "NotObserved", "Cloud Run could not be read")
    return Finding(ConditionStatus.TRUE, "Enabled", agent)


def orphans(project: ManagedProject, cluster: ClusterState, now: datetime) -> tuple[Orphan, ...]:
    """Return the accounts that were left behind, and what is recorded for objects that no longer exist.

    There is one orphan for each object and policy, with the time at which it was first seen.
    """
    since = {(each.resource, each.reason): each.since for each in project.status.orphans}
    ledgers = tuple(cluster.ledgers(project.project_id))
    found = {
        (ledger.target.full_name, f"{done} for {key}, which is deleted")
        for ledger in ledgers
        for done, owner_keys in (("granted", ledger.owner_keys), ("created", ledger.resource_owners))
        for key in (ObjectKey(*owner_key.split("/", 2)) for owner_key in owner_keys)
        if not cluster.exists(key)
    }
    left = [
        Orphan(
            resource=ledger.target.full_name,
            reason=ledger.account.abandoned.reason,
            since=ledger.account.abandoned.time,
        )
        for ledger in ledgers
        if ledger.account and ledger.account.abandoned
    ]
    ownerless = [
        Orphan(resource=resource, reason=reason, since=since.get((resource, reason), now))
        for resource, reason in sorted(found)
    ]
    return (*sorted(left, key=lambda orphan: orphan.resource), *ownerless)


def drift_notices(repeated: Sequence[RepeatedDrift]) -> Mapping[str, str]:
    """Return the notice about repeated drift by the reason of its Event; none without such drift."""
    if not repeated:
        return {}
    named = "; ".join(map(str, repeated[:_NAMED]))
    more = f"; and {len(repeated) - _NAMED} more" if len(repeated) > _NAMED else ""
    return {
        REPEATED: (
            f"Another client reverts what the operator does, {ROUNDS} times or more: {named}{more}. Cloud "
            "Audit Logs name the client. Two clusters that manage one project do the same, which is not "
            "supported: delete the ManagedProject in one of them"
        )
    }
