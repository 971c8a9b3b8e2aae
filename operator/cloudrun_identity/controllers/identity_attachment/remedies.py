"""Remedies for failed preflight checks: a manifest if the operator can do it, otherwise a gcloud command."""

from typing import Any

from cloudrun_identity.api import ManagedProject, TargetKind
from cloudrun_identity.controllers.cross_project import gcloud, identity_text, manifest, operator_member
from cloudrun_identity.iam.gcloud_bindings import binding_command
from cloudrun_identity.iam.principals import service_account_member
from cloudrun_identity.iam.spec_forms import condition_manifest, target_manifest
from cloudrun_identity.iam.workload_needs import Holder, Need

from .attachment import AttachmentWant


def create_account(want: AttachmentWant) -> str:
    """Return the remedy for an account that does not exist."""
    name = want.email.partition("@")[0]
    return "run: " + gcloud(f"iam service-accounts create {name}", want.account.project_id)


def enable_account(want: AttachmentWant) -> str:
    """Return the remedy for a disabled account."""
    if want.account.identity:
        return manifest(identity_text(want.account), {"disabled": False})
    return "run: " + gcloud(f"iam service-accounts enable {want.email}", want.account.project_id)


def let_operator_read_images(want: AttachmentWant, project: str) -> str:
    """Return the remedy for images of a project that the operator may not read."""
    return _grant_on_project(project, operator_member(want.operator), "roles/artifactregistry.reader")


def declare_need(want: AttachmentWant, need: Need, project: ManagedProject) -> str:
    """Return the remedy for access that an object of the attachment's namespace may declare."""
    condition = condition_manifest(need.condition)
    if want.account.identity and need.target.is_project and project.project_id == want.account.project_id:
        grant = {"role": need.access.role, **condition}
        return manifest(identity_text(want.account), {"roles": [grant]})
    spec = {
        "projectRef": {"name": project.metadata.name},
        "target": target_manifest(need.target),
        "role": need.access.role,
        "members": [_holder(want, need)],
        **condition,
    }
    return manifest("an IAMBinding", spec)


def grant_need(need: Need, member: str) -> str:
    """Return the remedy for access in a project that is not delegated to the attachment's namespace."""
    return binding_command(need.target, need.access.role, member, need.condition)


def create_resource(need: Need) -> str:
    """Return the remedy for a resource that does not exist."""
    target = need.target
    missing = f"{target.descriptor.display_name} {target.name} does not exist in project {target.project_id}"
    if target.kind is TargetKind.SECRET:
        return f"{missing}; {gcloud(f'secrets create {target.name}', target.project_id)}"
    return f"{missing}; create it, or correct the template"


def ask_for(need: Need, project: ManagedProject) -> str:
    """Return the remedy for access that the guardrails do not admit for the namespace."""
    return (
        f"guardrails.grants of ManagedProject {project.metadata.name} must admit {need.access.role} on "
        f"{need.target} for this namespace; ask the administrators of the project"
    )


def suggest_command(want: AttachmentWant) -> str:
    """Return the command that prints all grants that the workload needs."""
    workload = want.workload
    kind = workload.kind.value.lower()
    return (
        f"cloudrun-identity suggest --project={workload.project_id} --location={workload.location} "
        f"{kind}/{workload.name}"
    )


def _holder(want: AttachmentWant, need: Need) -> dict[str, Any]:
    """Return the principal that needs the access as a member in a manifest."""
    if need.access.holder is Holder.SERVICE_AGENT:
        return {"cloudRunServiceAgentOf": {"projectRef": {"name": want.managed_project}}}
    return _member(want)


def _member(want: AttachmentWant) -> dict[str, Any]:
    """Return the account as a member in a manifest of the attachment's namespace."""
    declared = want.account.identity
    if declared is None:
        return {"principal": service_account_member(want.email)}
    if declared.namespace == want.obj.metadata.namespace:
        return {"identityRef": {"name": declared.name}}
    return {"identityRef": {"name": declared.name, "namespace": declared.namespace}}


def _grant_on_project(project: str, member: str, role: str) -> str:
    return f"run: gcloud projects add-iam-policy-binding {project} --member={member} --role={role}"
