"""Guardrail decisions about namespaces, workloads, accounts, names and keys.

Decisions about grants are in `iam.guardrails`, decisions about custom roles in `iam.role_permissions`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import yaml

from cloudrun_identity.api import (
    CloudRunIdentity,
    KeyAdmission,
    LabelRequirement,
    LabelSelector,
    ManagedProject,
    SelectorOperator,
    WorkloadAdmission,
    WorkloadKind,
)

from .grants import Target
from .patterns import matches, matches_any
from .principals import is_default_account, lower_email


@dataclass(frozen=True, slots=True)
class DeclaredIdentity:
    """A CloudRunIdentity as guardrails match it: `identity:NAMESPACE/NAME`, never its e-mail."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"identity:{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class GuardrailFacts:
    """The state of the cluster that a decision depends on, besides the ManagedProject."""

    namespaces: frozenset[str]
    """Existing namespaces that the project admits, as returned by `admitted_namespaces`."""
    identities: Mapping[str, DeclaredIdentity] = field(default_factory=dict)
    """Every CloudRunIdentity of the cluster, by the e-mail of its account in lower case."""
    credential_accounts: frozenset[str] = frozenset()
    """E-mails, in lower case, of all accounts that the operator acts as in any project, with delegates."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """The guardrails admit the request."""


@dataclass(frozen=True, slots=True)
class Denied:
    """The guardrails deny the request."""

    reason: str
    """One line: what the guardrails do not admit, and what would admit it."""
    invalid_entry: bool = False
    """True if an incomplete entry of the guardrails, once completed, would admit the request."""


Decision = Admitted | Denied


def admitted_namespaces(project: ManagedProject, existing: Mapping[str, Mapping[str, str]]) -> frozenset[str]:
    """Return the existing namespaces, given with their labels, that the project admits."""
    return frozenset(name for name, labels in existing.items() if admits_namespace(project, name, labels))


def admits_namespace(project: ManagedProject, namespace: str, labels: Mapping[str, str]) -> bool:
    """Return whether the project lists the namespace or selects its labels."""
    admitted = project.spec.namespaces
    return namespace in admitted.names or bool(admitted.selector and _selects(admitted.selector, labels))


def may_use_project(project: ManagedProject, namespace: str, guardrail_facts: GuardrailFacts) -> Decision:
    """Decide whether objects of the namespace may use the project."""
    if namespace in guardrail_facts.namespaces:
        return Admitted()
    return Denied(
        f"{named(project)} does not admit namespace {namespace}; add {namespace} to its spec.namespaces.names"
    )


def may_use_workload(
    project: ManagedProject, namespace: str, workload: Target, guardrail_facts: GuardrailFacts
) -> Decision:
    """Decide whether objects of the namespace may attach an identity to a workload or grant roles on it.

    While `guardrails.workloads` is unset, they may if theirs is the only existing namespace that the project
    admits.
    """
    entrance = may_use_project(project, namespace, guardrail_facts)
    if isinstance(entrance, Denied):
        return entrance
    entries = project.spec.guardrails.workloads
    if not entries and len(guardrail_facts.namespaces) == 1:
        return Admitted()
    kind = WorkloadKind(workload.kind.value)
    if any(_covers(entry, namespace, kind, workload) for entry in entries):
        return Admitted()
    admitting = {
        "namespaces": [namespace],
        "kinds": [kind.value],
        "locations": [workload.location],
        "names": [workload.name],
    }
    admitted = len(guardrail_facts.namespaces)
    unset = "" if entries else f" (unset while {admitted} namespaces are admitted)"
    return Denied(
        f"guardrails.workloads of {named(project)}{unset} does not admit {workload} for namespace "
        f"{namespace}; add an entry such as {as_yaml(admitting)}"
    )


def may_name_account(project: ManagedProject, email: str, guardrail_facts: GuardrailFacts) -> Decision:
    """Decide whether an object may refer by e-mail to an account that no CloudRunIdentity declares."""
    return _listed(project, "accounts", project.spec.guardrails.accounts, email, guardrail_facts)


def may_adopt(project: ManagedProject, email: str, guardrail_facts: GuardrailFacts) -> Decision:
    """Decide whether a CloudRunIdentity may adopt the existing account with this e-mail."""
    listed = project.spec.guardrails.adoptable_accounts
    return _listed(project, "adoptableAccounts", listed, email, guardrail_facts)


def may_be_called(project: ManagedProject, identity: CloudRunIdentity) -> Decision:
    """Decide whether an account may have the ID, the display name and the description that are declared."""
    naming = project.spec.guardrails.naming
    rules = f"guardrails.naming of {named(project)}"
    if naming.account_id_pattern and not matches(identity.account_id, naming.account_id_pattern):
        return Denied(
            f"spec.accountID: {identity.account_id} does not match {naming.account_id_pattern}, "
            f"which {rules} requires"
        )
    if naming.require_display_name and not identity.spec.display_name:
        return Denied(f"spec.displayName: must be set, because {rules} requires it")
    if naming.require_description and not identity.spec.description:
        return Denied(f"spec.description: must be set, because {rules} requires it")
    return Admitted()


def may_make_keys(project: ManagedProject, namespace: str, guardrail_facts: GuardrailFacts) -> Decision:
    """Decide whether objects of the namespace may create keys of their identities."""
    entrance = may_use_project(project, namespace, guardrail_facts)
    if isinstance(entrance, Denied):
        return entrance
    if project.spec.guardrails.keys is KeyAdmission.ALLOWED:
        return Admitted()
    return Denied(
        f"guardrails.keys of {named(project)} is Denied, because a key works for everyone who obtains it; "
        "attach the identity to the workload, impersonate it (tokenCreators) or use Workload Identity "
        "(workloadIdentityUsers) instead, or set guardrails.keys to Allowed"
    )


def named(project: ManagedProject) -> str:
    """Return the project as reasons refer to it."""
    return f"ManagedProject {project.metadata.name}"


def as_yaml(entry: Mapping[str, object]) -> str:
    """Return an entry as one line of YAML that a user can paste into a manifest.

    The emitter writes YAML 1.1, which kubectl reads: a string such as "on" is quoted.
    """
    return yaml.safe_dump(
        dict(entry), default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf")
    ).strip()


def _covers(entry: WorkloadAdmission, namespace: str, kind: WorkloadKind, workload: Target) -> bool:
    return (
        (entry.namespaces is None or namespace in entry.namespaces)
        and kind in entry.kinds
        and matches_any(workload.location, entry.locations)
        and matches_any(workload.name, entry.names)
    )


def _listed(
    project: ManagedProject, name: str, listed: Collection[str], email: str, guardrail_facts: GuardrailFacts
) -> Decision:
    account = lower_email(email)
    if is_default_account(account):
        return Denied(f"{email} is a default service account, which no guardrail of {named(project)} admits")
    if account in guardrail_facts.credential_accounts:
        return Denied(f"the operator acts as {email}, which no guardrail of {named(project)} admits")
    if account in map(lower_email, listed):
        return Admitted()
    return Denied(f"guardrails.{name} of {named(project)} does not list {email}; add it there")


def _selects(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Return whether all requirements hold. An empty selector selects nothing, unlike in Kubernetes."""
    if not selector.match_labels and not selector.match_expressions:
        return False
    return all(labels.get(key) == value for key, value in selector.match_labels.items()) and all(
        _holds(requirement, labels) for requirement in selector.match_expressions
    )


def _holds(requirement: LabelRequirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case SelectorOperator.IN:
            return value in requirement.values
        case SelectorOperator.NOT_IN:
            return value not in requirement.values
        case SelectorOperator.EXISTS:
            return value is not None
        case SelectorOperator.DOES_NOT_EXIST:
            return value is None
