"""Limits that the namespaces of a project share, and the namespaces with a share in each.

A share is set aside only for a namespace that the guardrails let use the limit at all. With
`guardrails.sharing: FirstCome` none is.
"""

from collections.abc import Callable, Mapping
from typing import Final

from cloudrun_identity.api import MAX_ROLES, GrantAdmission, ManagedProject, Sharing

from .admission import Admitted, GuardrailFacts, may_use_workload
from .grant_matching import covers_target
from .grants import Target
from .guardrail_entries import is_for
from .principals import lower_email
from .shares import Budget

ACCOUNT_QUOTA: Final = 100
"""Service accounts that a project may have, unless Google Cloud raised the quota."""


def accounts_budget(
    project: ManagedProject, namespaces: frozenset[str], used: Mapping[str, int], others: int = 0
) -> Budget:
    """Return the budget of the project's service accounts.

    Unless the guardrails declare it, the limit is the quota that Google Cloud sets for every project, and may
    have raised for this one: https://cloud.google.com/iam/quotas.
    """
    declared = project.spec.guardrails.max_accounts
    return Budget(
        declared or ACCOUNT_QUOTA, used, others, _if_fair(project, namespaces), is_estimate=declared is None
    )


def roles_budget(project: ManagedProject, namespaces: frozenset[str], used: Mapping[str, int]) -> Budget:
    """Return the budget of the project's custom roles: https://cloud.google.com/iam/quotas."""
    admission = project.spec.guardrails.custom_roles
    admitted = admission.permissions and (
        each for each in namespaces if is_for(project, admission.namespaces, each)
    )
    return Budget(MAX_ROLES, used, namespaces=_if_fair(project, frozenset(admitted)))


def namespaces_with_removals(project: ManagedProject, namespaces: frozenset[str]) -> frozenset[str]:
    """Return the namespaces that may have exclusive bindings, from which unmanaged members are removed."""
    return _if_fair(project, _admitted_by(project, namespaces, lambda entry: entry.exclusive))


def namespaces_on(project: ManagedProject, target: Target, facts: GuardrailFacts) -> frozenset[str]:
    """Return the namespaces that may grant roles on a target, and so share the capacity of its policy."""
    owner = facts.identities.get(lower_email(target.name)) if target.is_service_account else None
    if owner:  # no other namespace sets the policy of an identity
        return _if_fair(project, frozenset({owner.namespace}))
    found = _admitted_by(project, facts.namespaces, lambda entry: covers_target(entry, target))
    if target.is_workload:
        found |= {
            each
            for each in facts.namespaces
            if isinstance(may_use_workload(project, each, target, facts), Admitted)
        }
    return _if_fair(project, found)


def _admitted_by(
    project: ManagedProject, namespaces: frozenset[str], counts: Callable[[GrantAdmission], bool]
) -> frozenset[str]:
    """Return the namespaces that an entry of `guardrails.grants` is for."""
    entries = {entry.namespaces for entry in project.spec.guardrails.grants if counts(entry)}
    return frozenset(each for each in namespaces if any(is_for(project, listed, each) for listed in entries))


def _if_fair(project: ManagedProject, namespaces: frozenset[str]) -> frozenset[str]:
    return namespaces if project.spec.guardrails.sharing is Sharing.FAIR else frozenset()
