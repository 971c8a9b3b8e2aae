"""What it takes to run a workload as another project's account: three requirements, and what mends each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cloudrun_identity.api import ConditionStatus, EffectiveCrossProjectUsage, PreflightCheck, PreflightState
from cloudrun_identity.gcp.org_policies import CROSS_PROJECT_USAGE
from cloudrun_identity.gcp.permission_checks import AccessState
from cloudrun_identity.gcp.projects import cloud_run_service_agent
from cloudrun_identity.reconcile.conditions import Finding

from . import remedies
from .attachment import Account
from .checks import failed, line, passed, unknown

ACT_AS: Final = "ActAs"
SERVICE_AGENT: Final = "ServiceAgent"
ORG_POLICY: Final = "OrgPolicy"

CROSS_PROJECT_CHECKS: Final = frozenset({ACT_AS, SERVICE_AGENT, ORG_POLICY})


@dataclass(frozen=True, slots=True)
class Crossing:
    """An account, and the project whose Cloud Run is to run as it.

    `managed_project` and `project_number` are those of the workloads' project, `operator` is the e-mail that
    we act as there, empty where it is not known.
    """

    account: Account
    managed_project: str
    project_number: str
    operator: str


def acting(crossing: Crossing, hint: AccessState) -> PreflightCheck:
    """The operator deploys, and so has to be permitted to act as the account."""
    account = crossing.account
    mends = remedies.lets_operator_act(account, crossing.operator)
    return line(ACT_AS, hint, f"the operator may not act as {account.email}; {mends}")


def lending(crossing: Crossing, hint: AccessState) -> PreflightCheck:
    """Cloud Run's service agent of the workloads' project has to get tokens of the account."""
    agent, account = cloud_run_service_agent(crossing.project_number), crossing.account
    mends = remedies.lends_account(account, crossing.managed_project, agent)
    return line(SERVICE_AGENT, hint, f"{agent} gets no tokens of {account.email}; {mends}")


def allowing(crossing: Crossing) -> PreflightCheck:
    """The account's project must not forbid that other projects run as its accounts."""
    account = crossing.account
    mends = remedies.allows_cross_project(account)
    match account.cross_project_usage:
        case EffectiveCrossProjectUsage.ALLOWED:
            return passed(ORG_POLICY)
        case EffectiveCrossProjectUsage.DENIED:
            message = f"{CROSS_PROJECT_USAGE} is enforced in project {account.project_id}; {mends}"
            return failed(ORG_POLICY, message)
        case EffectiveCrossProjectUsage.UNKNOWN:
            doubt = f"nothing tells whether {CROSS_PROJECT_USAGE} is enforced in project {account.project_id}"
            return unknown(ORG_POLICY, f"{doubt}; {mends}")


def cross_project_ready(lines: Sequence[PreflightCheck]) -> Finding:
    """The condition CrossProjectReady: what is missing before what is not known."""
    for state, status in (
        (PreflightState.FAILED, ConditionStatus.FALSE),
        (PreflightState.UNKNOWN, ConditionStatus.UNKNOWN),
    ):
        found = [each for each in lines if each.state is state]
        if found:
            message = "; ".join(dict.fromkeys(each.message or "" for each in found))
            return Finding(status, found[0].check, message)
    return Finding(ConditionStatus.TRUE, "Allowed", "the account may be used from the workload's project")
