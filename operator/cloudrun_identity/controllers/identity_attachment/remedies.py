"""What to do about what a preflight check found: a manifest where objects of ours do it, else gcloud."""

from typing import Any

from cloudrun_identity.api.predefined_roles import TOKEN_CREATOR, USER
from cloudrun_identity.gcp.workload_dependencies import ResourceRef
from cloudrun_identity.iam.admission import as_yaml
from cloudrun_identity.iam.principals import service_account_member

from .attachment import Account, AttachmentWant


def creates_account(want: AttachmentWant) -> str:
    """For an account that is not there."""
    name = want.email.partition("@")[0]
    return _gcloud(f"iam service-accounts create {name}", want.account.project_id)


def enables_account(want: AttachmentWant) -> str:
    """For an account that is disabled."""
    if want.account.identity:
        return _manifest(_identity(want.account), {"disabled": False})
    return _gcloud(f"iam service-accounts enable {want.email}", want.account.project_id)


def lets_operator_act(account: Account, operator: str) -> str:
    """For the operator (its e-mail), which deploys and so must be allowed to act as the account."""
    if account.identity and operator:
        member = {"principal": service_account_member(operator)}
        return _manifest(_identity(account), {"users": [member]})
    return _grant_on_account(account, _operator(operator), USER)


def lets_operator_read(want: AttachmentWant, project: str) -> str:
    """For images that the operator must be able to read."""
    return _grant_on_project(project, _operator(want.operator), "roles/artifactregistry.reader")


def lends_account(account: Account, managed_project: str, agent: str) -> str:
    """For Cloud Run's service agent, which runs the workloads of another project."""
    if account.identity and managed_project:
        return _manifest(_identity(account), {"usableFrom": [{"projectRef": {"name": managed_project}}]})
    return _grant_on_account(account, service_account_member(agent), TOKEN_CREATOR)


def allows_cross_project(account: Account) -> str:
    """For the organization policy of the account's project."""
    if account.managed_project:
        return _manifest(f"ManagedProject {account.managed_project}", {"crossProjectUsage": "Allow"})
    return _gcloud(
        "resource-manager org-policies disable-enforce iam.disableCrossProjectServiceAccountUsage",
        account.project_id,
    )


def lets_access_secret(want: AttachmentWant, secret: ResourceRef) -> str:
    """For a secret that the template names."""
    role = "roles/secretmanager.secretAccessor"
    if secret.project != want.workload.project_id:
        member = service_account_member(want.email)
        command = f"secrets add-iam-policy-binding {secret.name} --member={member} --role={role}"
        return _gcloud(command, secret.project)
    spec = {
        "projectRef": {"name": want.managed_project},
        "target": {"kind": "Secret", "name": secret.name},
        "role": role,
        "members": [_member(want)],
    }
    return _manifest("an IAMBinding", spec)


def grants_role(want: AttachmentWant, role: str, project: str) -> str:
    """For a role on a project."""
    if want.account.identity and project == want.account.project_id:
        return _manifest(_identity(want.account), {"roles": [{"role": role}]})
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


def _identity(account: Account) -> str:
    declared = account.identity
    return f"CloudRunIdentity {declared.namespace}/{declared.name}" if declared else ""


def _member(want: AttachmentWant) -> dict[str, Any]:
    """The account as a member in a manifest of the attachment's namespace."""
    declared = want.account.identity
    if declared is None:
        return {"principal": service_account_member(want.email)}
    if declared.namespace == want.obj.metadata.namespace:
        return {"identityRef": {"name": declared.name}}
    return {"identityRef": {"name": declared.name, "namespace": declared.namespace}}


def _operator(operator: str) -> str:
    return service_account_member(operator or "OPERATOR")


def _grant_on_account(account: Account, member: str, role: str) -> str:
    return _gcloud(
        f"iam service-accounts add-iam-policy-binding {account.email} --member={member} --role={role}",
        account.project_id,
    )


def _grant_on_project(project: str, member: str, role: str) -> str:
    return f"gcloud projects add-iam-policy-binding {project} --member={member} --role={role}"


def _gcloud(command: str, project: str) -> str:
    return f"gcloud {command} --project={project}"


def _manifest(what: str, spec: dict[str, Any]) -> str:
    return f"{what} with spec {as_yaml(spec)}"
