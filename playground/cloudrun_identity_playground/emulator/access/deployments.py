"""Permissions to deploy to Cloud Run, in addition to `run.….create` or `update`.

The deployer must be allowed to act as the workload's account and to read its images. Cloud Run's service
agent must be able to get tokens of the account. If the account belongs to another project, this takes Token
Creator for the agent of the workload's project, and the organization policy
`iam.disableCrossProjectServiceAccountUsage` must not be enforced in the account's project.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from cloudrun_identity_playground.emulator.apis.accounts import Account, AccountStore
from cloudrun_identity_playground.emulator.apis.actor import Caller, caller
from cloudrun_identity_playground.emulator.apis.org_policy import OrgPolicies
from cloudrun_identity_playground.emulator.apis.projects import Project, ProjectRegistry

from .denials import agent_has_no_token, denied, may_not_act_as, may_not_read_image
from .effective import EffectivePermissions
from .resources import Hierarchy, Resource

CROSS_PROJECT = "iam.disableCrossProjectServiceAccountUsage"

_DOCKER = re.compile(r"([a-z0-9-]+)-docker\.pkg\.dev/([^/]+)/([^/:@]+)/.+")
_GCR = re.compile(r"((?:(us|eu|asia)\.)?gcr\.io)/([^/]+)/.+")


class Deployments:
    """Checks whether the caller may deploy; used by `Workloads`."""

    def __init__(
        self,
        projects: ProjectRegistry,
        accounts: AccountStore,
        org_policies: OrgPolicies,
        hierarchy: Hierarchy,
        permissions: EffectivePermissions,
    ) -> None:
        self._projects = projects
        self._accounts = accounts
        self._org_policies = org_policies
        self._hierarchy = hierarchy
        self._permissions = permissions
        self._checking = True

    @contextmanager
    def unchecked(self) -> Iterator[None]:
        """Disable the checks, but for the existence of the account."""
        self._checking = False
        try:
            yield
        finally:
            self._checking = True

    def check_creation(self, rpc: str, permission: str, project: Project) -> None:
        """Check that the caller may create a workload in `project`. Some methods create a missing one.

        Raises GoogleError: PERMISSION_DENIED.
        """
        if not self._permissions.has(caller(), permission, self._hierarchy.project(project)):
            raise denied(rpc, permission, f"projects/{project.id}")

    def check_identity(self, project: Project, email: str) -> None:
        """Check that the caller may run a workload of `project` as the account.

        Raises GoogleError: PERMISSION_DENIED.
        """
        account = self._accounts.live(email)
        if account is None:
            self._check_other(email)
            return
        # A new account is refused like a missing one (https://github.com/firebase/firebase-tools/issues/10859).
        if not self._accounts.is_settled(account):
            raise may_not_act_as(email)
        if not self._checking:
            return
        self._check_act_as(self._hierarchy.account(account), email)
        if account.project is not project:
            self._check_agent(project, account)
            if self._org_policies.is_enforced(account.project, CROSS_PROJECT):
                raise may_not_act_as(email)

    def check_images(self, template: Any) -> None:
        """Check that the caller may read the images of a template.

        Raises GoogleError: PERMISSION_DENIED.
        """
        if not self._checking:
            return
        for repository in _repositories(container.image for container in template.containers):
            # Images of projects that do not exist here, such as Google's samples,
            # count as public.
            if self._projects.find(repository.split("/")[1]) is None:
                continue
            resource = self._hierarchy.resource(repository)
            if resource is not None and not self._permissions.has(
                caller(), "artifactregistry.repositories.downloadArtifacts", resource
            ):
                raise may_not_read_image(repository)

    def _check_other(self, email: str) -> None:
        """Check an account that the store does not have: a default, a missing or another project's one."""
        if self._accounts.is_local(email):
            raise may_not_act_as(email)
        owner = next((each for each in self._projects if each.compute_account == email.lower()), None)
        if not self._checking:
            return
        if owner is not None:
            self._check_act_as(self._hierarchy.project(owner), email)
        elif not caller().is_admin:
            raise may_not_act_as(email)

    def _check_act_as(self, resource: Resource, email: str) -> None:
        if not self._permissions.has(caller(), "iam.serviceAccounts.actAs", resource):
            raise may_not_act_as(email)

    def _check_agent(self, project: Project, account: Account) -> None:
        agent = f"service-{project.number}@serverless-robot-prod.iam.gserviceaccount.com"
        if not self._permissions.has(
            Caller(f"serviceAccount:{agent}"),
            "iam.serviceAccounts.getAccessToken",
            self._hierarchy.account(account),
        ):
            raise agent_has_no_token(agent, account.email)


def _repositories(images: Iterable[str]) -> Iterator[str]:
    """Yield the Artifact Registry repositories of images; other images need no permission."""
    for image in dict.fromkeys(images):
        if match := _DOCKER.fullmatch(image):
            yield f"projects/{match[2]}/locations/{match[1]}/repositories/{match[3]}"
        elif match := _GCR.fullmatch(image):
            location = {"eu": "europe"}.get(match[2], match[2]) or "us"
            yield f"projects/{match[3]}/locations/{location}/repositories/{match[1]}"
