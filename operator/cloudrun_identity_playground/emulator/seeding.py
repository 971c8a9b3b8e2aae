"""Putting a seed into the cloud, through the same handlers that callers use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from google.cloud import iam_admin_v1 as iam
from google.cloud import orgpolicy_v2 as orgpolicy
from google.cloud import run_v2 as run
from google.iam.v1 import iam_policy_pb2, policy_pb2
from google.type import expr_pb2

from . import seed
from .apis.actor import FOREIGNER, acting_as
from .apis.projects import Project, number_for
from .apis.workloads import Workloads
from .cloud import Cloud
from .errors import GoogleError

_IAM = "google.iam.admin.v1.IAM"
_Item = TypeVar("_Item")


def plant(cloud: Cloud, wanted: seed.Seed) -> None:
    """Put what the seed holds into `cloud`: settled, and known everywhere.

    Accounts of all projects come first, so that policies and workloads may name each other's.

    Raises SeedError: Google would refuse something in it.
    """
    for group in wanted.groups:
        cloud.directory.add_group(group.email, group.members)
    with acting_as(FOREIGNER), _settled(cloud), cloud.deployments.unchecked():
        for number, project in enumerate(wanted.projects):
            _add_project(cloud, project, ("projects", number))
        planters = [
            _Planter(cloud, project, ("projects", number)) for number, project in enumerate(wanted.projects)
        ]
        for planter in planters:
            planter.plant_accounts()
        for planter in planters:
            planter.plant_the_rest()


@contextmanager
def _settled(cloud: Cloud) -> Iterator[None]:
    wanted = cloud.switches.model_copy()
    cloud.switches.assign(wanted.turned({"lag": "0s", "operationTime": "0s"}))
    try:
        yield
    finally:
        cloud.switches.assign(wanted)


def _add_project(cloud: Cloud, wanted: seed.Project, place: seed.Place) -> None:
    if cloud.registry.find(wanted.project_id) is not None:
        raise seed.SeedError(f"project {wanted.project_id}: appears twice", place)
    number = wanted.project_number or number_for(wanted.project_id)
    if (other := cloud.registry.find(number)) is not None:
        raise seed.SeedError(
            f"project {wanted.project_id}: projectNumber {number} is that of {other.id} already", place
        )
    cloud.registry.add(
        Project(
            wanted.project_id,
            number,
            parent=wanted.parent,
            service_account_quota=wanted.quotas.service_accounts,
        )
    )


class _Planter:
    """Plants one project."""

    def __init__(self, cloud: Cloud, project: seed.Project, place: seed.Place) -> None:
        self._cloud = cloud
        self._place = self._here = place
        self._project = project
        self._name = f"projects/{project.project_id}"

    def plant_accounts(self) -> None:
        for account in self._each("serviceAccounts", self._project.service_accounts):
            created = self._call(
                f"service account {account.account_id}",
                f"{_IAM}/CreateServiceAccount",
                iam.CreateServiceAccountRequest(
                    name=self._name,
                    account_id=account.account_id,
                    service_account=iam.ServiceAccount(
                        display_name=account.display_name, description=account.description
                    ),
                ),
            )
            if account.disabled:
                self._call(
                    f"service account {account.account_id}",
                    f"{_IAM}/DisableServiceAccount",
                    iam.DisableServiceAccountRequest(name=created.name),
                )

    def plant_the_rest(self) -> None:
        project = self._project
        for role in self._each("roles", project.roles):
            self._plant_role(role)
        for account in self._each("serviceAccounts", project.service_accounts):
            email = f"{account.account_id}@{self._cloud.registry.resolve(project.project_id).account_domain}"
            self._plant_policy(
                f"{_IAM}/SetIamPolicy", f"{self._name}/serviceAccounts/{email}", account.policy
            )
        for collection, workloads in (
            ("services", project.services),
            ("jobs", project.jobs),
            ("workerPools", project.worker_pools),
        ):
            for workload in self._each(collection, workloads):
                self._plant_workload(self._cloud.workloads[collection], workload)
        for secret in self._each("secrets", project.secrets):
            self._plant_secret(secret)
        self._here = (*self._place, "policy")
        self._plant_policy(
            "google.cloud.resourcemanager.v3.Projects/SetIamPolicy", self._name, project.policy
        )
        for org_policy in self._each("orgPolicies", project.org_policies):
            self._plant_org_policy(org_policy)

    def _each(self, field: str, items: Sequence[_Item]) -> Iterator[_Item]:
        """The items of a field of the project; what goes wrong with one is blamed on its place."""
        for number, item in enumerate(items):
            self._here = (*self._place, field, number)
            yield item
        self._here = self._place

    def _plant_role(self, role: seed.CustomRole) -> None:
        self._call(
            f"role {role.role_id}",
            f"{_IAM}/CreateRole",
            iam.CreateRoleRequest(
                parent=self._name,
                role_id=role.role_id,
                role=iam.Role(title=role.title, included_permissions=role.permissions),
            ),
        )

    def _plant_org_policy(self, org_policy: seed.OrgPolicy) -> None:
        rule = orgpolicy.PolicySpec.PolicyRule(enforce=org_policy.enforce)
        if org_policy.allowed_values is not None:
            values = orgpolicy.PolicySpec.PolicyRule.StringValues(allowed_values=org_policy.allowed_values)
            rule = orgpolicy.PolicySpec.PolicyRule(values=values)
        policy = orgpolicy.Policy(
            name=f"{self._name}/policies/{org_policy.constraint}", spec=orgpolicy.PolicySpec(rules=[rule])
        )
        self._call(
            f"org policy {org_policy.constraint}",
            "google.cloud.orgpolicy.v2.OrgPolicy/CreatePolicy",
            orgpolicy.CreatePolicyRequest(parent=self._name, policy=policy),
        )

    def _plant_workload(self, workloads: Workloads, wanted: seed.Workload) -> None:
        kind = workloads.kind
        message = kind.message(labels=wanted.labels)
        template = kind.identity_template(message)
        template.service_account = wanted.service_account
        template.containers.add(image=wanted.image)
        if wanted.revision and kind.has_revisions:
            template.revision = wanted.revision
        parent = f"{self._name}/locations/{wanted.location}"
        request = getattr(run, f"Create{kind.noun}Request")(
            {"parent": parent, f"{kind.field}_id": wanted.name, kind.field: kind.wrap(message)}
        )
        service = f"google.cloud.run.v2.{kind.noun}s"
        self._call(f"{kind.field} {wanted.name}", f"{service}/Create{kind.noun}", request)
        self._plant_policy(
            f"{service}/SetIamPolicy", f"{parent}/{kind.collection}/{wanted.name}", wanted.policy
        )

    def _plant_secret(self, secret: seed.Secret) -> None:
        with self._saying(f"secret {secret.name}"):
            self._cloud.secrets.add(self._cloud.registry.resolve(self._project.project_id), secret.name)
        self._plant_policy(
            "google.cloud.secretmanager.v1.SecretManagerService/SetIamPolicy",
            f"{self._name}/secrets/{secret.name}",
            secret.policy,
        )

    def _plant_policy(self, rpc: str, resource: str, bindings: Iterable[seed.Binding]) -> None:
        bindings = tuple(bindings)
        checked = [each for each in bindings if not each.unchecked]
        if checked:
            self._set_policy(rpc, resource, checked)
        if len(checked) < len(bindings):
            with self._cloud.policies.unchecked():
                self._set_policy(rpc, resource, bindings)

    def _set_policy(self, rpc: str, resource: str, bindings: Iterable[seed.Binding]) -> None:
        policy = policy_pb2.Policy(version=3, bindings=[_binding(each) for each in bindings])
        request = iam_policy_pb2.SetIamPolicyRequest(resource=resource, policy=policy)
        self._call(f"policy of {resource}", rpc, request)

    def _call(self, what: str, rpc: str, request: Any) -> Any:
        with self._saying(what):
            return self._cloud.handlers[rpc](request)

    @contextmanager
    def _saying(self, what: str) -> Iterator[None]:
        try:
            yield
        except GoogleError as error:
            raise seed.SeedError(
                f"project {self._project.project_id}: {what}: {error.message}", self._here
            ) from error


def _binding(wanted: seed.Binding) -> policy_pb2.Binding:
    binding = policy_pb2.Binding(role=wanted.role, members=wanted.members)
    if wanted.condition is not None:
        binding.condition.CopyFrom(expr_pb2.Expr(**wanted.condition.model_dump()))
    return binding
