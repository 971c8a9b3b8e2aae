"""Selection of the resources that an export declares, and of those that it leaves out."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from pydantic import ValidationError

from cloudrun_identity.api import MAX_PERMISSIONS, CustomRole, IAMBinding
from cloudrun_identity.api.validation import complaints, misfits
from cloudrun_identity.gcp.custom_roles import CustomRoleState
from cloudrun_identity.gcp.service_accounts import ServiceAccount, expected_email, project_id_of_email
from cloudrun_identity.gcp.workloads import WorkloadState
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.iam.principals import (
    PrincipalKind,
    email,
    is_default_account,
    is_google_managed,
    lower_email,
    parse,
)

from .manifests import NONE, binding_manifest, role_manifest
from .survey import DeclaredKey, Survey


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A resource that the manifests do not declare, and the reason."""

    what: str
    """The resource."""
    why: str
    """The reason."""
    group: str = ""
    """The reason without the names in it; empty if it has none."""

    @property
    def reason(self) -> str:
        """The reason as totals count it."""
        return self.group or self.why

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


@dataclass(frozen=True, slots=True)
class Selection:
    """The resources that the manifests declare."""

    accounts: tuple[ServiceAccount, ...] = ()
    """Accounts to declare as CloudRunIdentities."""
    roles: tuple[CustomRoleState, ...] = ()
    """Custom roles to declare."""
    attached: tuple[WorkloadState, ...] = ()
    """Workloads to declare an IdentityAttachment for."""
    grants: tuple[Grant, ...] = ()
    """Grants to declare. The guardrails may still refuse some."""
    keys: tuple[DeclaredKey, ...] = ()
    """Keys to declare an IdentityKey for."""
    left_out: tuple[LeftOut, ...] = ()
    """Resources that are not declared."""


def select(survey: Survey, without: frozenset[str] = frozenset()) -> Selection:
    """Select the resources to declare, without the accounts in `without`, by e-mail."""
    selector = _Selector(frozenset(map(lower_email, without)))
    accounts = selector.accounts(survey)
    roles = selector.roles(survey)
    attached = selector.attached(survey, accounts)
    declared = {lower_email(account.email) for account in accounts}
    grants = selector.grants(survey, declared)
    keys = selector.keys(survey, declared)
    return Selection(accounts, roles, attached, grants, keys, tuple(selector.left_out))


@dataclass(slots=True)
class _Selector:
    """Returns the resources to declare, and collects the others in `left_out`."""

    without: frozenset[str]
    left_out: list[LeftOut] = field(default_factory=list)

    def accounts(self, survey: Survey) -> tuple[ServiceAccount, ...]:
        """Return the user-managed accounts."""
        fit: list[ServiceAccount] = []
        for account in survey.accounts:
            if why := self._account(account):
                self.left_out.append(LeftOut(f"ServiceAccount {account.email}", why))
            else:
                fit.append(account)
        return tuple(sorted(fit, key=lambda account: account.email))

    def roles(self, survey: Survey) -> tuple[CustomRoleState, ...]:
        """Return the custom roles that are not deleted, up to the limit of admitted permissions."""
        fit: list[CustomRoleState] = []
        permissions: frozenset[str] = frozenset()
        for role in survey.roles:
            why = _role(role)
            if not why and len(permissions | role.permissions) > MAX_PERMISSIONS:
                why = f"a ManagedProject admits at most {MAX_PERMISSIONS} permissions in custom roles"
            if why:
                self.left_out.append(LeftOut(f"CustomRole {role.name}", why))
            else:
                permissions |= role.permissions
                fit.append(role)
        return tuple(fit)

    def attached(self, survey: Survey, accounts: Iterable[ServiceAccount]) -> tuple[WorkloadState, ...]:
        """Return the workloads that run as a declared account, or as one of another project."""
        declared = {lower_email(account.email) for account in accounts}
        fit: list[WorkloadState] = []
        for state in survey.workloads:
            if found := self._workload(state, declared, survey.project_id):
                self.left_out.append(found)
            else:
                fit.append(state)
        return tuple(fit)

    def grants(self, survey: Survey, declared: set[str]) -> tuple[Grant, ...]:
        """Return the grants that a manifest can declare."""
        fit: list[Grant] = []
        for grant in survey.grants:
            if why := self._grant(grant, survey, declared):
                group = _EXCLUDED if why.endswith(_EXCLUDED) else ""
                self.left_out.append(LeftOut(str(grant), why, group))
            else:
                fit.append(grant)
        return tuple(fit)

    def keys(self, survey: Survey, declared: set[str]) -> tuple[DeclaredKey, ...]:
        """Return the keys of declared accounts."""
        fit: list[DeclaredKey] = []
        for key in survey.keys:
            if lower_email(key.account) in declared:
                fit.append(key)
            else:
                self.left_out.append(LeftOut(f"IdentityKey {key.name}", "the account is left out"))
        return tuple(fit)

    def _account(self, account: ServiceAccount) -> str:
        if is_default_account(account.email):
            return "a default account; run its workloads as dedicated accounts"
        if lower_email(account.email) in self.without:
            return _EXCLUDED
        account_id = account.email.partition("@")[0]
        if account.email != expected_email(account.project_id, account_id):
            return f"its e-mail is not {expected_email(account.project_id, account_id)}"
        return ""

    def _grant(self, grant: Grant, survey: Survey, declared: set[str]) -> str:
        holder, target = lower_email(email(grant.member)), grant.target
        if target.is_service_account and lower_email(target.name) not in declared:
            return "the account is left out"
        if why := _member(grant.member):
            return why
        if holder in self.without:
            return f"{holder} is {_EXCLUDED}"
        if grant.role == _OWNER:
            return "deleting the object could lock out the project's owners; manage this role elsewhere"
        if grant.role not in survey.permissions:
            return "the role no longer exists"
        return _invalid(IAMBinding, binding_manifest("x", "x", "x", [grant], NONE))

    def _workload(self, state: WorkloadState, declared: set[str], project_id: str) -> LeftOut | None:
        what, account = str(state.workload), lower_email(state.service_account)
        if state.managed_by:
            group = "deployed by another product; set its account there"
            return LeftOut(what, f"deployed by {state.managed_by}; set its account there", group)
        if not account or is_default_account(account):
            return LeftOut(what, "runs as the default account; run it as a dedicated account")
        if account in declared:
            return None
        if project_id_of_email(account) in ("", project_id) or account in self.without:
            return LeftOut(what, f"runs as {account}, which is not exported", "its account is not exported")
        return None


def _member(member: str) -> str:
    """Return why a manifest should not name a member; empty if it may."""
    match parse(member).kind:
        case PrincipalKind.DELETED:
            return "a deleted principal"
        case PrincipalKind.PROJECT_OWNER | PrincipalKind.PROJECT_EDITOR | PrincipalKind.PROJECT_VIEWER:
            return "a convenience value for the principals with a basic role"
        case PrincipalKind.OPAQUE:
            return "not a documented form of a principal"
        case PrincipalKind.SERVICE_ACCOUNT if is_default_account(email(member)):
            return "a default account"
        case PrincipalKind.SERVICE_ACCOUNT if is_google_managed(email(member)):
            return "a Google-managed service agent"
        case _:
            return ""


def _role(role: CustomRoleState) -> str:
    if role.deleted:
        return "deleted"
    return _invalid(CustomRole, role_manifest("x", "x", "x", role))


def _invalid(kind: type[CustomRole] | type[IAMBinding], manifest: dict[str, object]) -> str:
    """Return why the API server would reject the manifest; empty if it would accept it."""
    try:
        found = complaints(kind.model_validate(manifest))
    except ValidationError as error:
        return misfits(error)[0]
    return found[0] if found else ""


_OWNER = "roles/owner"
_EXCLUDED = "excluded from the export"
