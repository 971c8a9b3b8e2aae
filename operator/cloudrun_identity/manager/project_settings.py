"""Settings of Google Cloud projects, as the ManagedProjects in the cache declare them."""

from collections.abc import Callable

from cloudrun_identity.api import ManagedProject
from cloudrun_identity.gcp.client_pool import OWN, Credential, NoCredential, credential_of
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.principals import email, lower_email
from cloudrun_identity.iam.shared_limits import namespaces_on, namespaces_with_removals
from cloudrun_identity.policy.exclusive import is_protected
from cloudrun_identity.reconcile.cluster_state import ObjectKey
from cloudrun_identity.reconcile.guardrail_checks import guardrail_facts
from cloudrun_identity.reconcile.invalid_objects import project_named_by
from cloudrun_identity.reconcile.preconditions import is_suspended, observes

from .cache import Cache

JITTER = 0.1
"""Share of the interval by which a resync may be early or late, which keeps the projects apart."""

DEFAULT_RESYNC_INTERVAL = 300.0
"""Seconds: the resync interval of an object without a known ManagedProject."""


class ProjectSettings:
    """Looks settings up by Google Cloud project ID. The oldest ManagedProject of a project decides."""

    def __init__(self, cache: Cache, interval_of: Callable[[ManagedProject], float] | None = None) -> None:
        """`interval_of` returns the present resync interval of a project; by default the declared one."""
        self._cache = cache
        self._interval_of = interval_of or resync_interval_of

    def credential(self, project_id: str) -> Credential:
        """Return the identity to act as in a project: the operator's own if no ManagedProject declares it.

        Raises:
            NoCredential: the ManagedProject has been invalid since the operator started. It might name an
                account with fewer permissions than the operator's own.

        """
        invalid = self._cache.invalid_project_on(project_id)
        if invalid:
            raise NoCredential(
                project_id,
                f"{invalid} is invalid, so the operator does not know which identity to use in project "
                f"{project_id} and makes no calls there; correct it as its Ready condition says",
            )
        project = self._cache.project_on(project_id)
        return credential_of(project) if project else OWN

    def is_suspended(self, project_id: str) -> bool:
        """Return whether the project is suspended: the operator reads and writes nothing there.

        For this operator, a project of another operator on the cluster is suspended.
        """
        project = self._cache.project_on(project_id)
        return project is not None and (is_suspended(project, project) or not self._cache.operates(project))

    def is_observed(self, project_id: str) -> bool:
        """Return whether the project's management policy is Observe: the operator writes nothing there."""
        project = self._cache.project_on(project_id)
        return project is not None and observes(project, project)

    def removals_per_hour(self, project_id: str) -> int:
        """Return the lowest removal limit of the project's ManagedProjects; 0 without one."""
        limits = [
            project.spec.guardrails.max_removals_per_hour
            for project in self._cache.objects(ManagedProject)
            if project.project_id == project_id
        ]
        return min(limits, default=0)

    def namespaces_with_removals(self, project_id: str) -> frozenset[str]:
        """Return the namespaces that have a share of the removals in the project."""
        project = self._cache.project_on(project_id)
        if project is None:
            return frozenset()
        return namespaces_with_removals(project, self._cache.admitted_namespaces(project))

    def namespaces_on(self, target: Target) -> frozenset[str]:
        """Return the namespaces that have a share of the capacity of a target's policy."""
        project = self._cache.project_on(target.project_id)
        if project is None:
            return frozenset()
        return namespaces_on(project, target, guardrail_facts(project, self._cache))

    def is_protected(self, member: str) -> bool:
        """Return whether exclusive bindings keep a member: a Google agent or an operator identity."""
        return is_protected(member) or self.is_operator(member)

    def is_operator(self, member: str) -> bool:
        """Return whether the operator acts as a member: no operation removes its grants."""
        return lower_email(email(member)) in self._cache.credential_accounts()

    def resync_max_age(self, key: ObjectKey) -> float:
        """Return the age, in seconds, up to which a reconcile in a resync accepts reads.

        They are reads of the same resync: the one before was earlier, even if it was late and this is early.
        """
        stored = self._cache.stored(key)
        project = None
        if stored is not None:
            name = key.name if key.kind == ManagedProject.__name__ else project_named_by(stored.raw)
            project = self._cache.project(name)
        interval = self._interval_of(project) if project else DEFAULT_RESYNC_INTERVAL
        return interval * (1 - 2 * JITTER)


def resync_interval_of(project: ManagedProject) -> float:
    """Return the project's drift interval in seconds."""
    return project.spec.drift_interval.timedelta.total_seconds()
