"""Resources that permissions apply to, with their policies."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cloudrun_identity_playground.emulator.apis.access_limits import attached_to
from cloudrun_identity_playground.emulator.apis.accounts import Account, AccountStore
from cloudrun_identity_playground.emulator.apis.projects import Project, ProjectRegistry
from cloudrun_identity_playground.emulator.apis.service_accounts import policy_name
from cloudrun_identity_playground.emulator.apis.target_names import TargetName, target_name
from cloudrun_identity_playground.emulator.apis.target_resources import TargetResources

_RUN_TYPES = {"services": "Service", "jobs": "Job", "workerPools": "WorkerPool"}


@dataclass(frozen=True)
class Resource:
    """A resource, which need not exist.

    `policies` are the names of its policy, if it has one, and of the policies above it up to the
    organization. `name` and `type` are those in conditions.
    """

    name: str
    type: str
    policies: tuple[str, ...]


class Hierarchy:
    """Finds resources and their ancestors."""

    def __init__(self, projects: ProjectRegistry, accounts: AccountStore, targets: TargetResources) -> None:
        self._projects = projects
        self._accounts = accounts
        self._targets = targets

    def resource(self, name: str, rpc: str = "") -> Resource | None:
        """Return the resource that decides about `name`: the resource itself, or the one that contains it.

        Return None for predefined roles, for an empty name and for an invalid one.

        Raises GoogleError: as `ProjectRegistry.resolve`.
        """
        if target := target_name(name, rpc):
            return self._target(target)
        match name.split("/"):
            case ["projects", project, "serviceAccounts", identifier, *_]:
                return self._account(project, identifier)
            case ["projects", project, "locations", location, kind, workload, *_] if kind in _RUN_TYPES:
                found = self._projects.resolve(project)
                own = f"projects/{found.id}/locations/{location}/{kind}/{workload}"
                return Resource(
                    own, f"run.googleapis.com/{_RUN_TYPES[kind]}", (own, *self._projects.chain(found))
                )
            case ["policies", *_]:
                return self.resource(attached_to(name), rpc)
            case ["projects", project, *_]:
                return self.project(self._projects.resolve(project))
            case ["folders" | "organizations" as collection, number, *_]:
                own = f"{collection}/{number}"
                kind = "Folder" if collection == "folders" else "Organization"
                return Resource(
                    own,
                    f"cloudresourcemanager.googleapis.com/{kind}",
                    tuple(self._projects.containers.above(own)),
                )
        return None

    def _target(self, target: TargetName) -> Resource | None:
        """Return a resource of a target kind; None if its project is not known."""
        project = self._targets.home(target)
        if project is None:
            return None
        named = replace(target, project_id=project.id)
        numbered = replace(target, project_id=project.number if target.project_id else "")
        noun = named.resource.split("/")[-2].removesuffix("s").capitalize()
        kind = f"{target.descriptor.host}/{noun}"
        return Resource(numbered.resource, kind, (named.policy, *self._projects.chain(project)))

    def project(self, project: Project) -> Resource:
        """Return a project as a resource."""
        return Resource(
            f"projects/{project.number}",
            "cloudresourcemanager.googleapis.com/Project",
            tuple(self._projects.chain(project)),
        )

    def account(self, account: Account) -> Resource:
        """Return a service account as a resource."""
        own = policy_name(account)
        return Resource(
            own, "iam.googleapis.com/ServiceAccount", (own, *self._projects.chain(account.project))
        )

    def _account(self, project_id: str, identifier: str) -> Resource:
        """Return an account, deleted or not. Without an account, the policies of its project decide."""
        account = self._accounts.any(identifier)
        project = None if project_id == "-" else self._projects.resolve(project_id)
        if account is not None and project in (None, account.project):
            return self.account(account)
        policies = tuple(self._projects.chain(project)) if project is not None else ()
        return Resource(
            f"projects/{project_id}/serviceAccounts/{identifier}",
            "iam.googleapis.com/ServiceAccount",
            policies,
        )
