"""Namespaces of the exported objects: a mapping of names, and the placement of a survey by it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.gcp.workloads import WorkloadState
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.patterns import matches
from cloudrun_identity.iam.principals import email, lower_email

from .names import is_namespace
from .survey import Survey


@dataclass(frozen=True, slots=True)
class Namespaces:
    """Mapping of resources to namespaces."""

    default: str
    """Namespace of everything that the rest of the mapping does not place, such as custom roles."""
    patterns: tuple[tuple[str, str], ...] = ()
    """Patterns of names, each with its namespace. The first pattern that matches decides."""
    label: str = ""
    """Label of Cloud Run workloads. Its value is the namespace of the workload and of its account."""

    def of_name(self, name: str) -> str:
        """Return the namespace of a name by the patterns; empty if none matches."""
        return next((namespace for pattern, namespace in self.patterns if matches(name, pattern)), "")

    def of_label(self, state: WorkloadState) -> str:
        """Return the namespace in the label of a workload; empty if it has none that is valid."""
        labels: Mapping[str, str] = state.message.labels if self.label and state.message else {}
        named = labels.get(self.label, "")
        return named if is_namespace(named) else ""


class Placement:
    """Namespace of each account, workload and grant of a survey.

    An account is placed by its account ID, then by the label of the workloads that run as it. A workload is
    placed with its account. Without one, its own name and label decide. Everything else is placed by name.
    """

    def __init__(self, survey: Survey, namespaces: Namespaces, declared: Iterable[ServiceAccount]) -> None:
        """`declared` are the accounts that the export declares."""
        self._namespaces = namespaces
        labels: defaultdict[str, set[str]] = defaultdict(set)
        for state in survey.workloads:
            labels[lower_email(state.service_account)].add(namespaces.of_label(state))
        self._accounts = {key: self._of(key, labels[key]) for key in (lower_email(a.email) for a in declared)}
        self._workloads = {
            state.workload.target: self._accounts.get(lower_email(state.service_account))
            or self._of(state.workload.name, {namespaces.of_label(state)})
            for state in survey.workloads
        }

    @property
    def default(self) -> str:
        """Namespace of the objects that nothing else places, such as custom roles."""
        return self._namespaces.default

    def of_account(self, address: str) -> str:
        """Return the namespace of a declared account; empty for any other account."""
        return self._accounts.get(lower_email(address), "")

    def of_target(self, target: Target) -> str:
        """Return the namespace of the objects that grant roles on the target."""
        if target.is_project:
            return self.default
        return (
            self.of_account(target.name)
            or self._workloads.get(target)
            or self._namespaces.of_name(target.name.partition("@")[0])
            or self.default
        )

    def of_grant(self, grant: Grant) -> str:
        """Return the namespace of the object that declares the grant.

        An account has its roles on the project in its own namespace.
        """
        holder = self.of_account(email(grant.member)) if grant.target.is_project else ""
        return holder or self.of_target(grant.target)

    def _of(self, name: str, labels: set[str]) -> str:
        labelled = labels.pop() if len(labels) == 1 else ""
        return self._namespaces.of_name(name.partition("@")[0]) or labelled or self.default
