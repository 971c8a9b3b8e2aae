"""What to do about what a preflight check found: a manifest where objects of ours do it, else gcloud."""

from typing import Any

from cloudrun_identity.controllers.cross_project import gcloud, identity_text, manifest, operator_member
from cloudrun_identity.gcp.workload_dependencies import Named
from cloudrun_identity.iam.principals import service_account_member

from .attachment import AttachmentWant


def creates_account(want: AttachmentWant) -> str:
    """For an account that is not there."""
    name = want.email.partition("@")[0]
    return gcloud(f"iam service-accounts create {name}", want.account.project_id)


def enables_account(want: AttachmentWant) -> str:
    """For an account that is disabled."""
    if want.account.identity:
        return manifest(identity_text(want.account), {"disabled": False})
    return gcloud(f"iam service-accounts enable {want.email}", want.account.project_id)


def lets_operator_read(want: AttachmentWant, project: str) -> str:
    """For images that the operator must be able to read."""
    return _grant_on_project(project, operator_member(want.operator), "roles/artifactregistry.reader")


def lets_access_secret(want: AttachmentWant, secret: Named) -> str:
    """For a secret that the template names."""
    role = "roles/secretmanager.secretAccessor"
    if secret.project != want.workload.project_id:
        member = service_account_member(want.email)
        command = f"secrets add-iam-policy-binding {secret.name} --member={member} --role={role}"
        return gcloud(command, secret.project)
    spec = {
        "projectRef": {"name": want.managed_project},
        "target": {"kind": "Secret", "name": secret.name},
        "role": role,
        "members": [_member(want)],
    }
    return manifest("an IAMBinding", spec)


def grants_role(want: AttachmentWant, role: str, project: str) -> str:
    """For a role on a project."""
    if want.account.identity and project == want.account.project_id:
        return manifest(identity_text(want.account), {"roles": [{"role": role}]})
    return _grant_on_project(project, service_account_member(want.email), role)


def lets_use_bucket(want: AttachmentWant, bucket: str) -> str:
    """For a bucket that the template mounts."""
    member = service_account_member(want.email)
    return (
        f"gcloud storage buckets add-iam-policy-binding gs://{bucket} --member={member} "
        "--role=roles/storage.objectUser"
    )


def lets_publish(want: AttachmentWant, topic: str) -> str:
    """For a topic (its full name) that an environment variable names."""
    member = service_account_member(want.email)
    return (
        f"gcloud pubsub topics add-iam-policy-binding {topic} --member={member} --role=roles/pubsub.publisher"
    )


def _member(want: AttachmentWant) -> dict[str, Any]:
    """The account as a member in a manifest of the attachment's namespace."""
    declared = want.account.identity
    if declared is None:
        return {"principal": service_account_member(want.email)}
    if declared.namespace == want.obj.metadata.namespace:
        return {"identityRef": {"name": declared.name}}
    return {"identityRef": {"name": declared.name, "namespace": declared.namespace}}


def _grant_on_project(project: str, member: str, role: str) -> str:
    return f"gcloud projects add-iam-policy-binding {project} --member={member} --role={role}"
