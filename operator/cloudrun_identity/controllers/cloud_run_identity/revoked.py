"""Report the workloads and grants that objects of namespaces outside `allowedNamespaces` retain."""

from collections.abc import Iterator

from cloudrun_identity.api import CloudRunIdentity, IdentityAttachment, ManagedProject
from cloudrun_identity.iam.principals import same_member, service_account_member
from cloudrun_identity.reconcile.cluster_state import ClusterState, ObjectKey, account_key
from cloudrun_identity.reconcile.retained import granted_to, runs_as, workload_target


def kept_by_others(obj: CloudRunIdentity, email: str, cluster: ClusterState) -> tuple[str, ...]:
    """Return the workloads and grants that objects of namespaces without permission retain, in words."""
    referrers = {*cluster.referrers(ObjectKey.of(obj)), *cluster.referrers(account_key(email))}
    allowed = {obj.metadata.namespace, *obj.spec.allowed_namespaces}
    return tuple(
        f"spec.allowedNamespaces does not list {key.namespace}, but {what} until {key} is deleted or changed"
        for key in sorted(referrers)
        if key.namespace and key.namespace not in allowed
        for what in _kept(key, email, cluster)
    )


def _kept(key: ObjectKey, email: str, cluster: ClusterState) -> Iterator[str]:
    if key.kind == IdentityAttachment.__name__:
        attachment = cluster.attachment(key.namespace, key.name)
        member = service_account_member(runs_as(attachment, cluster)) if attachment else ""
        if attachment and same_member(member, service_account_member(email)):
            yield f"{workload_target(attachment, cluster)} runs as the identity"
        return
    owner_key = f"{key.kind}/{key.namespace}/{key.name}"
    for project in cluster.objects(ManagedProject):
        for ledger in cluster.ledgers(project.project_id):
            for grant in granted_to(ledger, owner_key):
                if same_member(grant.member, service_account_member(email)):
                    yield f"the identity keeps {grant.role} on {grant.target}"
