"""Requirements for a Cloud Run workload that runs as a service account of another project.

Cloud Run asks for three: the operator may act as the account, the Cloud Run service agent of the workload's
project may create tokens for it, and the organization policy of the account's project allows it. Each check
is one line of `status.preflight`. All together make the condition CrossProjectReady.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from cloudrun_identity.api import ConditionStatus, EffectiveCrossProjectUsage, PreflightCheck, PreflightState
from cloudrun_identity.api.predefined_roles import TOKEN_CREATOR, USER
from cloudrun_identity.gcp.org_policies import CROSS_PROJECT_USAGE
from cloudrun_identity.gcp.permission_checks import AccessState
from cloudrun_identity.gcp.projects import cloud_run_service_agent
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.iam.principals import service_account_member
from cloudrun_identity.reconcile.advice import operator_name
from cloudrun_identity.reconcile.conditions import Finding

ACT_AS: Final = "ActAs"
SERVICE_AGENT: Final = "ServiceAgent"
ORG_POLICY: Final = "OrgPolicy"

CROSS_PROJECT_CHECKS: Final = frozenset({ACT_AS, SERVICE_AGENT, ORG_POLICY})


@dataclass(frozen=True, slots=True)
class Account:
    """A service account that workloads run as."""

    email: str
    """E-mail of the account."""
    project_id: str
    """Id of the project that has the account; empty if unknown."""
    identity: DeclaredIdentity | None = None
    """CloudRunIdentity that declares the account; None if no object does."""
    managed_project: str = ""
    """Name of the ManagedProject for `project_id`; empty if there is none."""
    cross_project_usage: EffectiveCrossProjectUsage = EffectiveCrossProjectUsage.UNKNOWN
    """Permission of other projects' workloads to run as the accounts of `project_id`."""
    unique_id: str = ""
    """Unique id of the account of the identity; empty if no object declares the account."""


@dataclass(frozen=True, slots=True)
class CrossProjectUse:
    """An account, and the project whose Cloud Run workloads run as it."""

    account: Account
    """The account."""
    managed_project: str
    """Name of the ManagedProject of the workloads."""
    project_number: str
    """Number of the workloads' project."""
    operator: str
    """E-mail that the operator acts as in the workloads' project; empty if unknown."""


def act_as_check(use: CrossProjectUse, hint: AccessState) -> PreflightCheck:
    """Return whether the operator, which deploys, may act as the account."""
    remedy = remedy_for_act_as(use.account, use.operator)
    return check_of(
        ACT_AS, hint, f"{operator_name(use.operator)} may not act as {use.account.email}; {remedy}"
    )


def service_agent_check(use: CrossProjectUse, hint: AccessState) -> PreflightCheck:
    """Return whether the Cloud Run service agent of the workloads' project may create tokens."""
    agent, account = cloud_run_service_agent(use.project_number), use.account
    if account.identity and use.managed_project:
        spec = {"usableFrom": [{"projectRef": {"name": use.managed_project}}]}
        remedy = manifest(identity_text(account), spec)
    else:
        remedy = grant_on_account(account, service_account_member(agent), TOKEN_CREATOR)
    return check_of(SERVICE_AGENT, hint, f"{agent} may not create tokens for {account.email}; {remedy}")


def org_policy_check(use: CrossProjectUse) -> PreflightCheck:
    """Return whether the account's project allows that workloads of other projects run as its accounts."""
    account = use.account
    policy = f"{CROSS_PROJECT_USAGE} is enforced in project {account.project_id}"
    remedy = _remedy_for_org_policy(account)
    match account.cross_project_usage:
        case EffectiveCrossProjectUsage.ALLOWED:
            return passed(ORG_POLICY)
        case EffectiveCrossProjectUsage.DENIED:
            return failed(ORG_POLICY, f"{policy}; {remedy}")
        case EffectiveCrossProjectUsage.UNKNOWN:
            return unknown(ORG_POLICY, f"it is not known whether {policy}; {remedy}")


def failed_requirements(checks: Iterable[PreflightCheck]) -> dict[str, str]:
    """Return the messages of the failed cross-project checks by check, the organization policy first."""
    failures = {each.check: each.message or "" for each in checks if each.state is PreflightState.FAILED}
    return {check: failures[check] for check in (ORG_POLICY, ACT_AS, SERVICE_AGENT) if check in failures}


def cross_project_ready(checks: Sequence[PreflightCheck]) -> Finding:
    """Return the condition CrossProjectReady: failed checks take precedence over unknown ones."""
    for state, status in (
        (PreflightState.FAILED, ConditionStatus.FALSE),
        (PreflightState.UNKNOWN, ConditionStatus.UNKNOWN),
    ):
        found = [each for each in checks if each.state is state]
        if found:
            message = "; ".join(dict.fromkeys(each.message or "" for each in found))
            return Finding(status, found[0].check, message)
    return Finding(ConditionStatus.TRUE, "Allowed", "the account may be used from the workload's project")


# Checks


def check_of(check: str, hint: AccessState, message: str) -> PreflightCheck:
    """Return the check for a hint; `message` says what is missing, and the remedy."""
    match hint:
        case AccessState.GRANTED:
            return passed(check)
        case AccessState.NOT_GRANTED:
            return failed(check, message)
        case AccessState.UNKNOWN:
            return unknown(check, f"not known, as far as the operator may look: {message}")


def passed(check: str) -> PreflightCheck:
    """Return a check that found nothing missing."""
    return PreflightCheck(check=check, state=PreflightState.PASSED)


def failed(check: str, message: str) -> PreflightCheck:
    """Return a check that found something missing."""
    return PreflightCheck(check=check, state=PreflightState.FAILED, message=message)


def unknown(check: str, message: str) -> PreflightCheck:
    """Return a check without a result."""
    return PreflightCheck(check=check, state=PreflightState.UNKNOWN, message=message)


# Remedies: a manifest where objects of the operator can do it, otherwise a gcloud command


def remedy_for_act_as(account: Account, operator: str) -> str:
    """Return how to let the operator (its e-mail, or empty) act as the account."""
    member = operator_member(operator)
    if account.identity and operator:
        return manifest(identity_text(account), {"users": [{"principal": member}]})
    return grant_on_account(account, member, USER)


def identity_text(account: Account) -> str:
    """Return the CloudRunIdentity of the account, as messages name it; empty if there is none."""
    declared = account.identity
    return f"CloudRunIdentity {declared.namespace}/{declared.name}" if declared else ""


def operator_member(operator: str) -> str:
    """Return the operator as an IAM member, or a placeholder if its e-mail is unknown."""
    return service_account_member(operator or "OPERATOR")


def grant_on_account(account: Account, member: str, role: str) -> str:
    """Return the command that grants a role on the account."""
    return "run: " + gcloud(
        f"iam service-accounts add-iam-policy-binding {account.email} --member={member} --role={role}",
        account.project_id,
    )


def gcloud(command: str, project: str) -> str:
    """Return a gcloud command on a project."""
    return f"gcloud {command} --project={project}"


def manifest(object_name: str, spec: dict[str, Any]) -> str:
    """Return the object and the part of its spec to declare."""
    # The emitter writes YAML 1.1, which kubectl reads: a string such as "on" is quoted.
    text = yaml.safe_dump(
        spec, default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf")
    )
    return f"apply {object_name} with spec {text.strip()}"


def _remedy_for_org_policy(account: Account) -> str:
    command = gcloud(
        f"resource-manager org-policies disable-enforce {CROSS_PROJECT_USAGE}", account.project_id
    )
    if not account.managed_project:
        return f"run: {command}"
    spec = manifest(f"ManagedProject {account.managed_project}", {"crossProjectUsage": "Allow"})
    return f"{spec}, or run: {command}"
