"""Evaluate the guardrails of a project for an object, with the facts of all other objects."""

from cloudrun_identity.api import Adoption, CloudRunIdentity, ManagedProject, ProjectScopedResource
from cloudrun_identity.gcp.service_accounts import expected_email
from cloudrun_identity.iam.admission import (
    Admitted,
    Denied,
    GuardrailFacts,
    may_adopt,
    may_be_called,
    may_use_project,
)
from cloudrun_identity.iam.grants import Target

from .cluster_state import ClusterState
from .outcomes import Refused
from .refusals import refusal


def guardrail_facts(project: ManagedProject, cluster: ClusterState) -> GuardrailFacts:
    """Return the facts that the guardrails of the project are evaluated with."""
    return GuardrailFacts(
        namespaces=cluster.admitted_namespaces(project),
        identities=cluster.identities(),
        credential_accounts=cluster.credential_accounts(),
        holders_of=lambda workload: cluster.ledger(workload).namespaces,
    )


def is_delegated(project: str, namespace: str, cluster: ClusterState) -> bool:
    """Return whether a project, by id or number, is delegated to `namespace`."""
    return delegated_project(project, namespace, cluster) is not None


def delegated_project(project: str, namespace: str, cluster: ClusterState) -> ManagedProject | None:
    """Return the ManagedProject of a project, by id or number, that is delegated to `namespace`."""
    return next(
        (
            each
            for each in cluster.objects(ManagedProject)
            if project in (each.project_id, each.status.project_number)
            and not each.spec.suspend
            and isinstance(may_use_project(each, namespace, guardrail_facts(each, cluster)), Admitted)
        ),
        None,
    )


def denied_namespace(
    obj: ProjectScopedResource, project: ManagedProject, cluster: ClusterState
) -> Denied | None:
    """Return why the guardrails do not admit the namespace."""
    admission = may_use_project(project, obj.metadata.namespace, guardrail_facts(project, cluster))
    return admission if isinstance(admission, Denied) else None


def denied_account(obj: CloudRunIdentity, project: ManagedProject, cluster: ClusterState) -> Refused | None:
    """Return why the guardrails deny the account, or its adoption, before it is read.

    The plan checks the adoption again once the account is read and its e-mail is known.
    """
    name = may_be_called(project, obj)
    if isinstance(name, Denied):
        return refusal(name)
    if obj.spec.adoption is not Adoption.ADOPT or cluster.account(obj) is not None:
        return None
    if may_take_back(obj, project, cluster):
        return None
    email = expected_email(project.project_id, obj.account_id)
    adoption = may_adopt(project, obj.metadata.namespace, email, guardrail_facts(project, cluster))
    return refusal(adoption, "spec.adoption") if isinstance(adoption, Denied) else None


def may_take_back(obj: CloudRunIdentity, project: ManagedProject, cluster: ClusterState) -> bool:
    """Return whether an object of this namespace and name left the account that the object declares."""
    account = Target.service_account(project.project_id, expected_email(project.project_id, obj.account_id))
    left = cluster.ledger(account).account
    return left is not None and left.left_by == f"{obj.metadata.namespace}/{obj.metadata.name}"
