"""Whom and what a project admits: namespaces, workloads and accounts; and the form that decisions have."""

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
    """A CloudRunIdentity as guardrails name it: `identity:NAMESPACE/NAME`, never by its e-mail."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"identity:{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class GuardrailFacts:
    """The facts from outside of the ManagedProject that a decision rests on.

    `namespaces` are the existing namespaces that the project admits, as `admitted_namespaces` finds them.
    `identities` are all declared identities of the cluster by the e-mail of their account, in lower case.
    `credential_accounts` are the e-mails, in lower case, of all accounts that the operator acts as in any
    ManagedProject, delegates included.
    """

    namespaces: frozenset[str]
    identities: Mapping[str, DeclaredIdentity] = field(default_factory=dict)
    credential_accounts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Admitted:
    """The guardrails allow it."""


@dataclass(frozen=True, slots=True)
class Denied:
    """The guardrails deny the request."""

    reason: str
    """One line: what the guardrails do not admit, and what would admit it."""
    invalid_entry: bool = False
    """True if an incomplete entry of the guardrails, once completed, would admit the request."""


Decision = Admitted | Denied


def admitted_namespaces(project: ManagedProject, existing: Mapping[str, Mapping[str, str]]) -> frozenset[str]:
    """Those of the existing namespaces, given with their labels, that may use the project."""
    return frozenset(name for name, labels in existing.items() if admits_namespace(project, name, labels))


def admits_namespace(project: ManagedProject, namespace: str, labels: Mapping[str, str]) -> bool:
    """Whether a namespace with these labels may use the project: it is named, or the selector selects it."""
    admitted = project.spec.namespaces
    return namespace in admitted.names or bool(admitted.selector and _selects(admitted.selector, labels))


def may_use_project(project: ManagedProject, namespace: str, guardrail_facts: GuardrailFacts) -> Decision:
    """Whether objects of the namespace may use the project at all."""
    if namespace in guardrail_facts.namespaces:
        return Admitted()
    return Denied(
        f"{named(project)} does not admit namespace {namespace}; listing it in spec.namespaces.names would"
    )


def may_use_workload(
    project: ManagedProject, namespace: str, workload: Target, guardrail_facts: GuardrailFacts
) -> Decision:
    """Whether objects of the namespace may attach an identity to the Cloud Run workload or grant on it.

    Without `guardrails.workloads` they may as long as theirs is the only existing namespace with the project.
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
    unset = "" if entries else f" (unset while {len(guardrail_facts.namespaces)} namespaces are admitted)"
    return Denied(
        f"guardrails.workloads of {named(project)}{unset} admits no {workload} for namespace {namespace}; "
        f"an entry such as {as_yaml(admitting)} would"
    )


def may_name_account(project: ManagedProject, email: str, guardrail_facts: GuardrailFacts) -> Decision:
    """Whether an account that no identity declares may be named by its e-mail, as a target or to run as."""
    return _listed(project, "accounts", project.spec.guardrails.accounts, email, guardrail_facts)


def may_adopt(project: ManagedProject, email: str, guardrail_facts: GuardrailFacts) -> Decision:
    """Whether an identity may take over the account of this e-mail, which existed before it."""
    listed = project.spec.guardrails.adoptable_accounts
    return _listed(project, "adoptableAccounts", listed, email, guardrail_facts)


def may_be_called(project: ManagedProject, identity: CloudRunIdentity) -> Decision:
    """Whether an identity's account may have the id, the display name and the description it declares."""
    naming = project.spec.guardrails.naming
    rules = f"guardrails.naming of {named(project)}"
    if naming.account_id_pattern and not matches(identity.account_id, naming.account_id_pattern):
        return Denied(
            f"spec.accountID: {rules} admits no {identity.account_id}, only {naming.account_id_pattern}"
        )
    if naming.require_display_name and not identity.spec.display_name:
        return Denied(f"spec.displayName: {rules} asks for one")
    if naming.require_description and not identity.spec.description:
        return Denied(f"spec.description: {rules} asks for one")
    return Admitted()


def may_make_keys(project: ManagedProject, namespace: str, guardrail_facts: GuardrailFacts) -> Decision:
    """Whether objects of the namespace may have keys of their identities made."""
    entrance = may_use_project(project, namespace, guardrail_facts)
    if isinstance(entrance, Denied):
        return entrance
    if project.spec.guardrails.keys is KeyAdmission.ALLOWED:
        return Admitted()
    return Denied(
        f"guardrails.keys of {named(project)} is Denied, because a key is good for whoever gets hold of it; "
        "attach the identity to the workload, impersonate it (tokenCreators), or use Workload Identity "
        "(workloadIdentityUsers) instead; keys: Allowed would admit it"
    )


def named(project: ManagedProject) -> str:
    """How reasons name the project."""
    return f"ManagedProject {project.metadata.name}"


def as_yaml(entry: Mapping[str, object]) -> str:
    """Write an entry as one line of YAML, to be pasted into a manifest.

    A bare `on` is a boolean to kubectl, whose YAML is 1.1 as the emitter's is: it comes out quoted.
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
        return Denied(f"{email} is a default service account: no guardrail of {named(project)} can admit it")
    if account in guardrail_facts.credential_accounts:
        return Denied(f"the operator itself acts as {email}: no guardrail of {named(project)} can admit it")
    if account in map(lower_email, listed):
        return Admitted()
    return Denied(f"guardrails.{name} of {named(project)} does not list {email}")


def _selects(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Whether all requirements hold; unlike elsewhere in Kubernetes, an empty selector selects nothing."""
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
