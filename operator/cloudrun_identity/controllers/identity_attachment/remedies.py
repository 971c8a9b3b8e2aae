"""Remedies for failed preflight checks: a manifest if the operator can do it, otherwise a gcloud command."""

from typing import Any

from cloudrun_identity.api.predefined_roles import PUBLISHER, SECRET_ACCESSOR
from cloudrun_identity.controllers.cross_project import gcloud, identity_text, manifest, operator_member
from cloudrun_identity.gcp.workload_dependencies import ResourceRef
from cloudrun_identity.iam.principals import service_account_member

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


def let_access_secret(want: AttachmentWant, secret: ResourceRef) -> str:
    """Return the remedy for a secret that the template references."""
    role = SECRET_ACCESSOR
    if secret.project != want.workload.project_id:
        member = service_account_member(want.email)
        command = f"secrets add-iam-policy-binding {secret.name} --member={member} --role={role}"
        return "run: " + gcloud(command, secret.project)
    spec = {
        "projectRef": {"name": want.managed_project},
        "target": {"kind": "Secret", "name": secret.name},
        "role": role,
        "members": [_member(want)],
    }
    return manifest("an IAMBinding", spec)


def create_secret(secret: ResourceRef) -> str:
    """Return the remedy for a secret that does not exist."""
    command = gcloud(f"secrets create {secret.name}", secret.project)
    return f"secret {secret.name} does not exist in project {secret.project}; run: {command}"


def ask_for_secret(secret: ResourceRef) -> str:
    """Return the remedy for a secret that the guardrails do not admit for the namespace."""
    return (
        f"guardrails.grants of a ManagedProject for {secret.project} must admit {SECRET_ACCESSOR} on the "
        "secret for this namespace; ask the administrators of the project"
    )


def grant_role(want: AttachmentWant, role: str, project: str) -> str:
    """Return the remedy for a role that the account lacks on a project."""
    if want.account.identity and project == want.account.project_id:
        return manifest(identity_text(want.account), {"roles": [{"role": role}]})
    return _grant_on_project(project, service_account_member(want.email), role)


def let_use_bucket(want: AttachmentWant, bucket: str) -> str:
    """Return the remedy for a bucket that the template mounts."""
    member = service_account_member(want.email)
    return (
        f"run: gcloud storage buckets add-iam-policy-binding gs://{bucket} --member={member} "
        "--role=roles/storage.objectUser"
    )


def let_publish(want: AttachmentWant, topic: ResourceRef) -> str:
    """Return the remedy for a topic in an environment variable."""
    member, name = service_account_member(want.email), f"projects/{topic.project}/topics/{topic.name}"
    return f"run: gcloud pubsub topics add-iam-policy-binding {name} --member={member} --role={PUBLISHER}"


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
