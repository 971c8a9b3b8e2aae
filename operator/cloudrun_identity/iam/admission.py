"""Guardrail decisions about namespaces, workloads, accounts, roles to adopt, names and keys.

Decisions about grants are in `iam.guardrails`, decisions about custom roles in `iam.role_permissions`. The
chart expresses some of them in CEL; `tests/kube/test_admission_policy.py` compares the two.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from cloudrun_identity.api import (
    AccountAdmission,
    CloudRunIdentity,
    KeyAdmission,
    ManagedProject,
    WorkloadAdmission,
    WorkloadKind,
)

from .grants import Target
from .guardrail_entries import entry_path, is_for
from .patterns import matches, matches_any
from .principals import is_default_account, is_google_managed, lower_email
from .proposals import Proposal, Value, proposed_entry, proposed_namespace, proposed_value


@dataclass(frozen=True, slots=True)
class DeclaredIdentity:
    """A CloudRunIdentity as guardrails match it: `identity:NAMESPACE/NAME`, never its e-mail."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"identity:{self.namespace}/{self.name}"


def _no_holders(_: Target) -> frozenset[str]:
    return frozenset()


@dataclass(frozen=True, slots=True)
class GuardrailFacts:
    """The state of the cluster that a decision depends on, besides the ManagedProject."""

    namespaces: frozenset[str]
    """Existing namespaces that the project admits, as returned by `namespace_selection`."""
    identities: Mapping[str, DeclaredIdentity] = field(default_factory=dict)
    """Every CloudRunIdentity of the cluster, by the e-mail of its account in lower case."""
    credential_accounts: frozenset[str] = frozenset()
    """E-mails, in lower case, of all accounts that the operator acts as in any project, with delegates."""
    holders_of: Callable[[Target], frozenset[str]] = _no_holders
    """Returns the namespaces that use a workload according to its ledger."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """The guardrails admit the request."""


@dataclass(frozen=True, slots=True)
class Denied:
    """The guardrails deny the request."""

    reason: str
    """One line: what the guardrails do not admit, and why."""
    invalid_entry: bool = False
    """True if an incomplete entry of the guardrails, once completed, would admit the request."""
    proposals: tuple[Proposal, ...] = ()
    """All changes of the ManagedProject that together would admit the request; empty if none would."""


Decision = Admitted | Denied


def may_use_project(project: ManagedProject, namespace: str, guardrail_facts: GuardrailFacts) -> Decision:
    """Decide whether objects of the namespace may use the project."""
    if namespace in guardrail_facts.namespaces:
        return Admitted()
    return Denied(
        f"{named(project)} does not admit namespace {namespace} in spec.namespaces",
        proposals=proposed_namespace(project, namespace),
    )


def may_use_workload(
    project: ManagedProject, namespace: str, workload: Target, guardrail_facts: GuardrailFacts
) -> Decision:
    """Decide whether objects of the namespace may attach an identity to a workload or grant roles on it.

    While `guardrails.workloads` is unset, they may if theirs is the only existing namespace that the project
    admits, or if they hold the workload already: the admission of a second namespace, perhaps by a label that
    its users set, takes nothing from the first one.
    """
    entrance = may_use_project(project, namespace, guardrail_facts)
    if isinstance(entrance, Denied):
        return entrance
    entries = project.spec.guardrails.workloads
    if not entries and (
        len(guardrail_facts.namespaces) == 1 or namespace in guardrail_facts.holders_of(workload)
    ):
        return Admitted()
    kind = WorkloadKind(workload.kind.value)
    covering = [index for index, entry in enumerate(entries) if _covers(entry, kind, workload)]
    if any(is_for(project, entries[index].namespaces, namespace) for index in covering):
        return Admitted()
    admitted = len(guardrail_facts.namespaces)
    unset = "" if entries else f" (unset while {admitted} namespaces are admitted)"
    denial = (
        f"guardrails.workloads of {named(project)}{unset} does not admit {workload} for namespace {namespace}"
    )
    admitting: dict[str, Value | None] = {
        "namespaces": (namespace,),
        "kinds": (kind.value,),
        "locations": (workload.location,),
        "names": (workload.name,),
    }
    incomplete = (index for index in covering if entries[index].namespaces is None)
    return _denied(project, "workloads", denial, admitting, next(incomplete, None))


def are_workloads_ambiguous(project: ManagedProject, namespaces: frozenset[str]) -> bool:
    """Return whether no guardrail says which of the admitted namespaces may use which workloads."""
    return not project.spec.guardrails.workloads and len(namespaces) > 1


def may_name_account(
    project: ManagedProject, namespace: str, email: str, guardrail_facts: GuardrailFacts
) -> Decision:
    """Decide whether an object may refer by e-mail to an account that no CloudRunIdentity declares."""
    entries = project.spec.guardrails.accounts
    return _may_have_account(project, "accounts", entries, namespace, email, guardrail_facts)


def may_adopt(
    project: ManagedProject, namespace: str, email: str, guardrail_facts: GuardrailFacts
) -> Decision:
    """Decide whether a CloudRunIdentity may adopt, or take over, the existing account with this e-mail."""
    entries = project.spec.guardrails.adoptable_accounts
    return _may_have_account(project, "adoptableAccounts", entries, namespace, email, guardrail_facts)


def may_adopt_role(project: ManagedProject, namespace: str, role_id: str) -> Decision:
    """Decide whether a CustomRole may adopt the existing custom role with this ID."""
    entries = project.spec.guardrails.adoptable_roles
    matching = [index for index, entry in enumerate(entries) if matches(role_id, entry.role_id)]
    if any(is_for(project, entries[index].namespaces, namespace) for index in matching):
        return Admitted()
    incomplete = (index for index in matching if entries[index].namespaces is None)
    denial = (
        f"guardrails.adoptableRoles of {named(project)} does not list role {role_id} for namespace "
        f"{namespace}"
    )
    admitting: dict[str, Value | None] = {"roleID": role_id, "namespaces": (namespace,)}
    return _denied(project, "adoptableRoles", denial, admitting, next(incomplete, None))


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


def may_have_role_id(project: ManagedProject, role_id: str) -> Decision:
    """Decide whether a new custom role may have the ID that is declared."""
    pattern = project.spec.guardrails.naming.role_id_pattern
    if not pattern or matches(role_id, pattern):
        return Admitted()
    return Denied(
        f"spec.roleID: {role_id} does not match {pattern}, which guardrails.naming of {named(project)} "
        "requires"
    )


def may_make_keys(project: ManagedProject, namespace: str, guardrail_facts: GuardrailFacts) -> Decision:
    """Decide whether objects of the namespace may create keys of their identities."""
    entrance = may_use_project(project, namespace, guardrail_facts)
    if isinstance(entrance, Denied):
        return entrance
    guardrails, admitting = project.spec.guardrails, "/spec/guardrails"
    listed = guardrails.key_namespaces
    if guardrails.keys is KeyAdmission.DENIED:
        return Denied(
            f"guardrails.keys of {named(project)} is Denied, because a key works for everyone who obtains "
            "it; attach the identity to the workload, impersonate it (tokenCreators) or use Workload "
            "Identity (workloadIdentityUsers) instead",
            proposals=(
                proposed_value(project, f"{admitting}/keys", KeyAdmission.ALLOWED.value),
                proposed_value(project, f"{admitting}/keyNamespaces", (*(listed or ()), namespace)),
            ),
        )
    if is_for(project, listed, namespace):
        return Admitted()
    if listed is None:
        return Denied(
            f"spec.guardrails of {named(project)} has no keyNamespaces and admits no keys; set "
            f"keyNamespaces to the namespaces that may create keys, such as [{namespace}]",
            invalid_entry=True,
        )
    return Denied(
        f"guardrails.keyNamespaces of {named(project)} does not list namespace {namespace}",
        proposals=(proposed_value(project, f"{admitting}/keyNamespaces", (*listed, namespace)),),
    )


def named(project: ManagedProject) -> str:
    """Return the project as reasons refer to it."""
    return f"ManagedProject {project.metadata.name}"


def _covers(entry: WorkloadAdmission, kind: WorkloadKind, workload: Target) -> bool:
    return (
        kind in entry.kinds
        and matches_any(workload.location, entry.locations)
        and matches_any(workload.name, entry.names)
    )


def _denied(
    project: ManagedProject,
    field: str,
    denial: str,
    admitting: Mapping[str, Value | None],
    incomplete: int | None,
) -> Denied:
    """Return the denial, with the entry that would admit the request, or the entry to complete."""
    if incomplete is None:
        return Denied(denial, proposals=(proposed_entry(project, field, admitting),))
    return Denied(
        f"{entry_path(field, incomplete)} of {named(project)} has no namespaces and admits nothing; add the "
        "namespaces that it is for",
        invalid_entry=True,
    )


def _may_have_account(
    project: ManagedProject,
    field: str,
    entries: Iterable[AccountAdmission],
    namespace: str,
    email: str,
    guardrail_facts: GuardrailFacts,
) -> Decision:
    account = lower_email(email)
    if is_default_account(account):
        return Denied(f"{email} is a default service account, which no guardrail of {named(project)} admits")
    if account in guardrail_facts.credential_accounts:
        return Denied(f"the operator acts as {email}, which no guardrail of {named(project)} admits")
    by_pattern = not is_google_managed(account)  # a service agent of Google matches only literally
    matching = [
        (index, entry)
        for index, entry in enumerate(entries)
        if (pattern := lower_email(entry.email)) == account
        or (by_pattern and "*" in pattern and matches(account, pattern))
    ]
    if any(is_for(project, entry.namespaces, namespace) for _, entry in matching):
        return Admitted()
    incomplete = (index for index, entry in matching if entry.namespaces is None)
    denial = f"guardrails.{field} of {named(project)} does not list {email} for namespace {namespace}"
    admitting: dict[str, Value | None] = {"email": account, "namespaces": (namespace,)}
    return _denied(project, field, denial, admitting, next(incomplete, None))
