"""CloudRunIdentity: a service account, from its creation to its deletion.

What decides anything about the account is its record in the ledger of its own policy: written before the
create, completed once reads are steady, dropped last. The status only mirrors it.
"""

from dataclasses import dataclass, replace

from cloudrun_identity.api import (
    CloudRunIdentity,
    ConditionType,
    LedgerAccount,
    ManagedProject,
    Reason,
)
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity.gcp.service_accounts import ServiceAccount, expected_email
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.principals import service_account_member
from cloudrun_identity.reconcile.cluster_state import ClusterState, ObjectKey
from cloudrun_identity.reconcile.conditions import Finding
from cloudrun_identity.reconcile.grants.public_services import invoked_services
from cloudrun_identity.reconcile.grants.resolver import RequestedGrant
from cloudrun_identity.reconcile.interfaces import Applied, Change, Summary
from cloudrun_identity.reconcile.outcomes import Outcome, Refused
from cloudrun_identity.reconcile.preconditions import Allowed, Blocked

from .account_dependencies import AccountSeen
from .account_records import AccountOwner
from .accounts import Accounts
from .audit import Audit, IdentityAuditor, cross_project
from .deletion import IdentityDeletion
from .grants import identity_references, identity_wishes
from .key_audit import keys_audited
from .least_privilege import least_privilege, recommendations


@dataclass(frozen=True, slots=True)
class AccountWant:
    """The account as declared, and what is recorded of it."""

    obj: CloudRunIdentity
    project: ManagedProject
    cluster: ClusterState
    record: LedgerAccount | None

    @property
    def owner(self) -> AccountOwner:
        """The identity, as the account's record names it."""
        return AccountOwner(self.obj, self.project.project_id)

    @property
    def email(self) -> str:
        """The account's e-mail: as recorded, else as it is expected to be."""
        if self.record:
            return self.record.email
        return expected_email(self.project.project_id, self.obj.account_id)

    @property
    def target(self) -> Target:
        """The account as the carrier of a policy."""
        return Target.service_account(self.project.project_id, self.email)


@dataclass(frozen=True, slots=True)
class IdentitySeen:
    """One look at the account, and what there is to tell of it; None while that is not to be known."""

    account: AccountSeen
    audit: Audit | None = None


class CloudRunIdentityController:
    """The life of a CloudRunIdentity."""

    kind = CloudRunIdentity

    def __init__(
        self, accounts: Accounts, deletion: IdentityDeletion, auditor: IdentityAuditor, roles: Roles
    ) -> None:
        self._accounts = accounts
        self._deletion = deletion
        self._auditor = auditor
        self._roles = roles

    def references(self, obj: CloudRunIdentity) -> frozenset[ObjectKey]:
        """Everything that its spec names."""
        return identity_references(obj)

    def declares(self, obj: CloudRunIdentity) -> str:
        """The account: the older of two identities has it."""
        return f"{obj.spec.project_ref.name}/{obj.account_id}"

    def resolve(
        self, obj: CloudRunIdentity, allowed: Allowed, cluster: ClusterState
    ) -> AccountWant | Blocked:
        """The account as declared, beside what is recorded."""
        home = cluster.account_home(obj)
        if home and (home.project_id, home.name.partition("@")[0]) != (allowed.project_id, obj.account_id):
            message = (
                f"spec.accountID: an object of this name left account {home.name} behind, which this one "
                f"does not declare; declare that account, or choose another name"
            )
            return Blocked(Refused(Reason.CONFLICT, message))
        return AccountWant(obj, allowed.project, cluster, cluster.account(obj))

    async def observe(self, want: AccountWant, max_age: float) -> IdentitySeen:
        """The account, if it is there, and what there is to tell of it."""
        seen = await self._accounts.look(want.project.project_id, want.email, want.record, max_age)
        if seen.account is None or want.record is None or not want.record.is_steady:
            return IdentitySeen(seen)
        requested_grants = self.requested_grants(want, want.cluster)
        places = (
            (requested.target, requested.role, requested.project or want.project)
            for requested in requested_grants
        )
        called = invoked_services(places, want.obj.metadata.namespace, want.cluster)
        interval = want.project.spec.drift_interval.timedelta.total_seconds()
        audit = await self._auditor.look(
            want.obj, want.target, want.record.unique_id, called, want.cluster, max_age or interval
        )
        return IdentitySeen(seen, audit)

    def diff(self, want: AccountWant, seen: IdentitySeen) -> tuple[Change, ...]:
        """What has to happen to the account."""
        record, account = want.record, seen.account.account
        if record is None and account:
            return (Change("account", "exists already", "adopted"),)
        # Until reads are steady it is as good as absent; another word would be another write of the status.
        if record is None or not record.unique_id:
            return (Change("account", "absent", "created"),)
        if account is None:
            return () if seen.account.lagging else (Change("account", "deleted", "present"),)
        if account.unique_id != record.unique_id:
            return (Change("unique ID", account.unique_id, record.unique_id),)
        return tuple(_field_changes(want.obj, account))

    async def apply(
        self, want: AccountWant, seen: IdentitySeen, changes: tuple[Change, ...]
    ) -> Applied[IdentitySeen]:
        """Create, adopt, wait for, bring back or update the account."""
        applied = await self._accounts.apply(
            want.owner, want.email, want.record, want.project, want.cluster, seen.account
        )
        after = replace(seen, account=applied.seen)
        return Applied(applied.outcome, after, left=applied.left, retains=applied.retains)

    def requested_grants(self, want: AccountWant, cluster: ClusterState) -> tuple[RequestedGrant, ...]:
        """What the identity may do, and who may act as it."""
        record = cluster.account(want.obj)  # may be newer than that of the want, and hold the true e-mail
        return identity_wishes(want.obj, want.project, record.email if record else want.email, cluster)

    def summarize(self, want: AccountWant, seen: IdentitySeen) -> Summary:
        """The account, once it is steady, and what there is to tell of it."""
        record = want.cluster.account(want.obj)
        if record is None or not record.unique_id:
            return Summary({})
        advice = recommendations(self.requested_grants(want, want.cluster), self._roles)
        account = {
            "email": record.email,
            "unique_id": record.unique_id,
            "name": Target.service_account(want.project.project_id, record.email).resource,
            "member": service_account_member(record.email),
            "origin": record.origin,
            "recommendations": advice,
        }
        findings = {ConditionType.LEAST_PRIVILEGE: least_privilege(advice)}
        if seen.audit is None:
            return Summary(account, findings | _as_before(want.obj))
        crossing = cross_project(want.obj, want.project, want.target, seen.audit, want.cluster)
        findings |= {ConditionType.CROSS_PROJECT_READY: crossing} if crossing else {}
        keys = seen.audit.keys
        findings |= {ConditionType.KEYS_AUDITED: keys_audited(keys, record.email)} if keys is not None else {}
        listed = keys if isinstance(keys, tuple) else ()
        told = {"attached_to": seen.audit.attached_to, "unmanaged_keys": listed}
        return Summary(account | told, findings, seen.audit.issues)

    async def delete(self, obj: CloudRunIdentity, cluster: ClusterState, *, abandon: bool) -> Outcome:
        """Let go of the grants and delete the account, unless something still runs as it."""
        return await self._deletion.delete(obj, cluster, abandon=abandon)


def _as_before(obj: CloudRunIdentity) -> dict[ConditionType, Finding]:
    """What was found by the last look, where there was none now."""
    audited = (ConditionType.CROSS_PROJECT_READY, ConditionType.KEYS_AUDITED)
    known = ((each, obj.status.condition(each)) for each in audited)
    return {each: Finding(found.status, found.reason, found.message) for each, found in known if found}


def _field_changes(obj: CloudRunIdentity, account: ServiceAccount) -> list[Change]:
    changes = []
    for field, declared, actual in (
        ("displayName", obj.spec.display_name, account.display_name),
        ("description", obj.spec.description, account.description),
    ):
        if declared is not None and declared != actual:
            changes.append(Change(field, actual, declared))
    if obj.spec.disabled != account.disabled:
        changes.append(Change("disabled", str(account.disabled).lower(), str(obj.spec.disabled).lower()))
    return changes
