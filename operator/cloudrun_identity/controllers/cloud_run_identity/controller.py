"""CloudRunIdentity: a service account, its grants, and the advisory conditions about it.

The record of the account in the ledger of its own policy decides everything about the account. It is
written before the create, completed once reads show the account consistently, and removed last. The status
only mirrors it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from cloudrun_identity.api import (
    AttachmentDeletionPolicy,
    CloudRunIdentity,
    ConditionType,
    IdentityAttachment,
    IdentityDeletionPolicy,
    ManagedProject,
    Reason,
)
from cloudrun_identity.gcp.last_use import LastUses
from cloudrun_identity.gcp.observed_uses import date_of
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity.gcp.service_accounts import expected_email
from cloudrun_identity.iam.admission import may_adopt
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.principals import service_account_member
from cloudrun_identity.policy.desired_grants import RETAIN_ALL, Retain
from cloudrun_identity.reconcile.cluster_state import ClusterState, ObjectKey
from cloudrun_identity.reconcile.conditions import Finding
from cloudrun_identity.reconcile.grants.public_services import invoked_services
from cloudrun_identity.reconcile.grants.resolver import RequestedGrant, declared_grant
from cloudrun_identity.reconcile.guardrail_checks import denied_account, guardrail_facts
from cloudrun_identity.reconcile.interfaces import Executed, Summary
from cloudrun_identity.reconcile.outcomes import Refused
from cloudrun_identity.reconcile.preconditions import Allowed, Blocked, project_of
from cloudrun_identity.reconcile.steps import Plan

from .account import AccountDeletion, AccountSeen, AccountWant
from .actions import AccountAction
from .advisory_conditions import cross_project, keys_audited, least_privilege, recommendations
from .audit import Audit, IdentityAuditor
from .execution import AccountExecutor
from .grants import identity_grants, identity_references
from .last_use import AccountUse, account_use, recently_used, with_last_use
from .observation import AccountObserver
from .places import declared_places
from .plan import plan
from .revoked import kept_by_others


@dataclass(frozen=True, slots=True)
class IdentityWant:
    """An identity as declared, or its deletion."""

    obj: CloudRunIdentity
    cluster: ClusterState
    account: AccountWant
    project: ManagedProject | None = None
    """ManagedProject that admits the identity; None for a deletion, which is not admitted again."""


@dataclass(frozen=True, slots=True)
class IdentitySeen:
    """An account as read, and the audit of it."""

    account: AccountSeen
    audit: Audit | None = None
    """Findings about an account that is settled; None if this reconcile did not look."""
    use: AccountUse | None = None
    """Last uses in the project of the account; None if they are not read."""


class CloudRunIdentityController:
    """Reconcile CloudRunIdentities."""

    kind = CloudRunIdentity

    def __init__(
        self,
        observer: AccountObserver,
        executor: AccountExecutor,
        auditor: IdentityAuditor | None,
        roles: Roles,
        last_uses: LastUses | None = None,
    ) -> None:
        """Initialize the kind; without an `auditor`, as in a dry run, accounts are not audited.

        Without `last_uses`, no last use is reported.
        """
        self._observer = observer
        self._executor = executor
        self._auditor = auditor
        self._roles = roles
        self._last_uses = last_uses

    def references(self, obj: CloudRunIdentity) -> frozenset[ObjectKey]:
        """Return every object that the spec names."""
        return identity_references(obj)

    def declares(self, obj: CloudRunIdentity) -> str:
        """Return the account, which the older of two identities has."""
        return f"{obj.spec.project_ref.name}/{obj.account_id}"

    def resolve(
        self, obj: CloudRunIdentity, allowed: Allowed, cluster: ClusterState
    ) -> IdentityWant | Blocked:
        """Return the account as declared, with what the guardrails say about its adoption."""
        project, home = allowed.project, cluster.account_home(obj)
        if home and (home.project_id, home.name.partition("@")[0]) != (project.project_id, obj.account_id):
            message = (
                f"spec.accountID: a deleted object of this name left service account {home.name}, which this "
                "object does not declare; declare that account, or choose another name"
            )
            return Blocked(Refused(Reason.CONFLICT, message))
        record = cluster.account(obj)
        email = record.email if record else expected_email(project.project_id, obj.account_id)
        namespace, facts = obj.metadata.namespace, guardrail_facts(project, cluster)
        adoption = may_adopt(project, namespace, email, facts)
        denial = denied_account(obj, project, cluster)
        account = AccountWant(
            obj,
            project.project_id,
            email,
            adoption,
            denial,
            places=lambda: frozenset(map(str, declared_places(obj, email, project.project_id, cluster))),
        )
        return IdentityWant(obj, cluster, account, project)

    def resolve_deletion(
        self, obj: CloudRunIdentity, cluster: ClusterState, *, abandon: bool
    ) -> IdentityWant | None:
        """Return the deletion of the account; None for an identity that has none."""
        record, home = cluster.account(obj), cluster.account_home(obj)
        if record is None or home is None:
            return None
        restoring = () if obj.is_force_deleted else tuple(_restoring(obj, cluster))
        deletion = AccountDeletion(
            abandon=abandon or self.abandons(obj),
            forced=obj.is_force_deleted or cluster.is_terminating(obj.metadata.namespace),
            restoring=restoring,
        )
        account = AccountWant(obj, home.project_id, record.email, deletion=deletion)
        return IdentityWant(obj, cluster, account)

    def depends_on_policies_alone(self, obj: CloudRunIdentity) -> bool:
        """Return False: the account is read."""
        return False

    async def observe(self, want: IdentityWant, max_age: float) -> IdentitySeen:
        """Return the account, and the audit of one that is settled; raises GoogleError."""
        seen = await self._observer.observe(want.account, want.cluster, max_age)
        record, project = seen.record, want.project
        if self._auditor is None:
            return IdentitySeen(seen)
        if project is None or seen.account is None or record is None or not record.is_steady:
            return IdentitySeen(seen)
        places = (
            (requested.target, requested.role, requested.project or project)
            for requested in self.requested_grants(want, want.cluster)
        )
        invoked = invoked_services(places, want.obj.metadata.namespace, want.cluster)
        interval = project.spec.drift_interval.timedelta.total_seconds()
        audit = await self._auditor.audit(
            want.obj, want.account.target, record.unique_id, invoked, want.cluster, max_age or interval
        )
        if audit.vacant:
            seen = replace(seen, unused=await self._observer.unused(want.account, audit.vacant))
        use = await account_use(self._last_uses, project) if self._last_uses else None
        return IdentitySeen(seen, audit, use)

    def describe(self, want: IdentityWant) -> str:
        """Return the name of the account as plans show it."""
        return f"ServiceAccount {want.account.email}"

    def plan(self, want: IdentityWant, seen: IdentitySeen, now: datetime) -> Plan[AccountAction]:
        """Return the steps for the account."""
        return plan(want.account, seen.account, now)

    async def execute(
        self, action: AccountAction, want: IdentityWant, seen: IdentitySeen
    ) -> Executed[IdentitySeen]:
        """Execute one action for the account; raises GoogleError."""
        executed = await self._executor.execute(action, want.account, seen.account)
        after = replace(seen, account=executed.seen)
        return Executed(after, executed.outcome, written=executed.written)

    async def assume(self, action: AccountAction, want: IdentityWant, seen: IdentitySeen) -> IdentitySeen:
        """Return what the action would leave behind, and write the record of it."""
        return replace(seen, account=await self._executor.assume(action, want.account, seen.account))

    def requested_grants(self, want: IdentityWant, cluster: ClusterState) -> tuple[RequestedGrant, ...]:
        """Return the roles of the identity, and the roles on its account."""
        if want.project is None:
            return ()
        record = cluster.account(want.obj)  # may be newer than the want, and hold the true e-mail
        email = record.email if record else want.account.email
        return identity_grants(want.obj, want.project, email, cluster)

    def abandons(self, obj: CloudRunIdentity) -> bool:
        """Return whether the deletion policy leaves the account and its grants in place."""
        return obj.spec.deletion_policy is IdentityDeletionPolicy.ABANDON

    def declared_grants(self, obj: CloudRunIdentity, cluster: ClusterState) -> tuple[Retain, ...]:
        """Return the patterns of the identity's roles, and of the roles on its account."""
        project, record = project_of(obj, cluster), cluster.account(obj)
        if project is None:
            return (RETAIN_ALL,)
        email = record.email if record else expected_email(project.project_id, obj.account_id)
        return tuple(map(declared_grant, identity_grants(obj, project, email, cluster)))

    def summarize(self, want: IdentityWant, seen: IdentitySeen) -> Summary:
        """Return the account once it is settled, and the advisory conditions."""
        record = seen.account.record
        if record is None or not record.unique_id or want.project is None:
            return Summary()
        target = Target.service_account(want.account.project_id, record.email)
        advice = recommendations(self.requested_grants(want, want.cluster), self._roles)
        fields: dict[str, object] = {
            "email": record.email,
            "unique_id": record.unique_id,
            "name": target.resource,
            "member": service_account_member(record.email),
            "origin": record.origin,
            "recommendations": advice,
        }
        conditions = {ConditionType.LEAST_PRIVILEGE: least_privilege(advice)}
        audit = seen.audit
        if audit is None:
            return Summary(fields, conditions | _as_before(want.obj, *_AUDITED))
        crossing = cross_project(want.obj, want.project, target, audit, want.cluster)
        if crossing:
            conditions[ConditionType.CROSS_PROJECT_READY] = crossing
        keys = with_last_use(want.obj, audit.keys, seen.use) if isinstance(audit.keys, tuple) else audit.keys
        if keys is not None:
            conditions[ConditionType.KEYS_AUDITED] = keys_audited(keys, record.email)
        if seen.use is None:
            fields["last_used"] = None
        elif seen.use.is_pending:
            conditions |= _as_before(want.obj, ConditionType.RECENTLY_USED)
        else:
            conditions[ConditionType.RECENTLY_USED] = recently_used(want.obj, record.unique_id, seen.use)
            fields["last_used"] = date_of(seen.use.accounts, record.unique_id)
        fields["attached_to"] = audit.attached_to
        fields["unmanaged_keys"] = keys if isinstance(keys, tuple) else ()
        kept = kept_by_others(want.obj, record.email, want.cluster)
        return Summary(fields, conditions, (*kept, *audit.issues))


def _restoring(obj: CloudRunIdentity, cluster: ClusterState) -> Iterator[str]:
    """Return the attachments of the identity that are being deleted and restore the former accounts."""
    for key in sorted(cluster.referrers(ObjectKey.of(obj))):
        if key.kind == IdentityAttachment.__name__:
            found = cluster.attachment(key.namespace, key.name)
            if found and found.is_deleting and found.spec.deletion_policy is AttachmentDeletionPolicy.RESTORE:
                yield str(key)


_AUDITED = (ConditionType.CROSS_PROJECT_READY, ConditionType.KEYS_AUDITED, ConditionType.RECENTLY_USED)


def _as_before(obj: CloudRunIdentity, *types: ConditionType) -> dict[ConditionType, Finding]:
    """Return the findings in the status, where this reconcile had none."""
    known = ((each, obj.status.condition(each)) for each in types)
    return {each: Finding(found.status, found.reason, found.message) for each, found in known if found}
