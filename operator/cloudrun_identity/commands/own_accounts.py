"""The service accounts in manifests that the operator needs permissions on."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from cloudrun_identity.api import CloudRunIdentity, IdentityAttachment, ManagedProject, Resource
from cloudrun_identity.gcp.service_accounts import expected_email
from cloudrun_identity.kube.resources import Object

from .granting import OwnAccounts

Kind = TypeVar("Kind", bound=Resource)


def own_accounts(project: ManagedProject, objects: Iterable[Object]) -> OwnAccounts:
    """Return the accounts of a project that manifests declare or name, and those of its workloads."""
    objects = list(objects)
    declared = _declared(objects)
    managed = {email for home, email in declared.values() if home == project.metadata.name}
    listed = [entry.email for entry in project.spec.guardrails.accounts]
    managed |= {email for email in listed if "*" not in email}
    attached = set()
    for attachment in _of_kind(IdentityAttachment, objects):
        reference, home = attachment.spec.identity_ref, attachment.spec.project_ref.name
        if reference is None or home != project.metadata.name:
            continue
        identity = declared.get((reference.namespace or attachment.metadata.namespace, reference.name))
        if identity and identity[0] != home:
            attached.add(identity[1])
    return OwnAccounts(
        tuple(sorted(managed)), tuple(sorted(attached)), tuple(email for email in listed if "*" in email)
    )


def _declared(objects: Iterable[Object]) -> Mapping[tuple[str, str], tuple[str, str]]:
    """Return the ManagedProject and the e-mail of each CloudRunIdentity, by namespace and name."""
    projects = {each.metadata.name: each.project_id for each in _of_kind(ManagedProject, objects)}
    return {
        (identity.metadata.namespace, identity.metadata.name): (
            identity.spec.project_ref.name,
            expected_email(projects[identity.spec.project_ref.name], identity.account_id),
        )
        for identity in _of_kind(CloudRunIdentity, objects)
        if identity.spec.project_ref.name in projects
    }


def _of_kind(kind: type[Kind], objects: Iterable[Object]) -> Iterator[Kind]:
    return (kind.model_validate(obj) for obj in objects if obj["kind"] == kind.__name__)
