"""Creation of the initial state, with the same handlers that callers use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from google.cloud import iam_admin_v1 as iam
from google.cloud import iam_v2
from google.cloud import orgpolicy_v2 as orgpolicy
from google.cloud import run_v2 as run
from google.iam.v1 import iam_policy_pb2, policy_pb2
from google.type import expr_pb2

from cloudrun_identity.api import TARGET_KINDS, TargetKind
from cloudrun_identity.iam.role_catalog import PredefinedRole

from . import seed
from .apis.actor import OTHER_USER, acting_as
from .apis.containers import Container
from .apis.projects import Project, number_for
from .apis.target_messages import SERVED
from .apis.target_names import TargetName, target_name
from .apis.workloads import Workloads
from .cloud import Cloud
from .errors import GoogleError, invalid

_IAM = "google.iam.admin.v1.IAM"
_Item = TypeVar("_Item")


def apply_seed(cloud: Cloud, wanted: seed.Seed) -> None:
    """Apply a seed to `cloud`, without lag and with all operations done.

    Accounts of all projects, and roles of organizations, come first: policies and workloads of other projects
    can name them.

    Raises SeedError: Google would refuse something in the seed.
    """
    for group in wanted.groups:
        cloud.directory.add_group(group.email, group.members)
    if wanted.users is not None:
        groups = (f"group:{group.email}" for group in wanted.groups)
        cloud.workspace.close([*groups, *(f"user:{email}" for email in wanted.users)])
    _add_predefined_roles(cloud, wanted.predefined_roles)
    with acting_as(OTHER_USER), _settled(cloud), cloud.deployments.unchecked():
        containers = list(_containers(wanted))
        for container, _, place in containers:
            _add_container(cloud, container, place)
        for number, project in enumerate(wanted.projects):
            _add_project(cloud, project, ("projects", number))
        projects = [
            _ProjectSeeder(cloud, project, ("projects", number))
            for number, project in enumerate(wanted.projects)
        ]
        for container, holder, place in containers:
            if isinstance(holder, seed.Organization):
                _Seeder(cloud, container.name, place).apply_roles(holder.roles)
        for seeder in projects:
            seeder.apply_accounts()
        for seeder in projects:
            seeder.apply_contents()
        for container, holder, place in containers:
            _Seeder(cloud, container.name, place).apply_policies(holder)


@contextmanager
def _settled(cloud: Cloud) -> Iterator[None]:
    wanted = cloud.switches.model_copy()
    cloud.switches.assign(wanted.changed({"lag": "0s", "operationTime": "0s"}))
    try:
        yield
    finally:
        cloud.switches.assign(wanted)


def _containers(
    wanted: seed.Seed,
) -> Iterator[tuple[Container, seed.Organization | seed.Folder, seed.Place]]:
    for number, organization in enumerate(wanted.organizations):
        name = f"organizations/{organization.organization_id}"
        yield Container(name, organization.display_name), organization, ("organizations", number)
    for number, folder in enumerate(wanted.folders):
        name = f"folders/{folder.folder_id}"
        yield Container(name, folder.display_name, folder.parent), folder, ("folders", number)


def _add_container(cloud: Cloud, container: Container, place: seed.Place) -> None:
    containers = cloud.registry.containers
    if containers.find(container.name) is not None:
        raise seed.SeedError(f"{container.name}: appears twice", place)
    if container.name in containers.above(container.parent):
        raise seed.SeedError(f"{container.name}: lies in itself, by its parent {container.parent}", place)
    containers.add(replace(container, created_at=cloud.clock()))


def _add_predefined_roles(cloud: Cloud, roles: Iterable[seed.PredefinedRole]) -> None:
    for role in roles:
        permissions = tuple(sorted(role.permissions))
        cloud.role_table.add_predefined(PredefinedRole(role.role, role.title, "GA", permissions))


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
            display_name=wanted.display_name,
            labels=wanted.labels,
            service_agents=None if wanted.service_agents is None else frozenset(wanted.service_agents),
            created_at=cloud.clock(),
        )
    )


class _Seeder:
    """Applies the parts of a project, a folder or an organization.

    An error names `name` and its place in the seed.
    """

    def __init__(self, cloud: Cloud, name: str, place: seed.Place) -> None:
        self._cloud = cloud
        self._name = name
        self._place = self._here = place

    def apply_roles(self, roles: Sequence[seed.CustomRole]) -> None:
        for role in self._each("roles", roles):
            self._apply_role(role)

    def apply_policies(self, holder: seed.Project | seed.Folder | seed.Organization) -> None:
        """Write the IAM policy, then the organization policies, which apply to later writes only."""
        self._here = (*self._place, "policy")
        service = f"google.cloud.resourcemanager.v3.{self._name.partition('/')[0].capitalize()}"
        self._apply_policy(f"{service}/SetIamPolicy", self._name, holder.policy)
        for org_policy in self._each("orgPolicies", holder.org_policies):
            self._apply_org_policy(org_policy)
        for deny_policy in self._each("denyPolicies", holder.deny_policies):
            rules = [_deny_rule(each) for each in deny_policy.rules]
            self._cloud.deny_policies.add(self._name, deny_policy.policy_id, rules)
        for boundary in self._each("accessBoundaries", holder.access_boundaries):
            self._cloud.boundaries.add(self._name, boundary.policy, boundary.principal_set)

    def _each(self, field: str, items: Sequence[_Item]) -> Iterator[_Item]:
        """Yield the items of a field; an error in one names its place."""
        for number, item in enumerate(items):
            self._here = (*self._place, field, number)
            yield item
        self._here = self._place

    def _apply_role(self, role: seed.CustomRole) -> None:
        self._call(
            f"role {role.role_id}",
            f"{_IAM}/CreateRole",
            iam.CreateRoleRequest(
                parent=self._name,
                role_id=role.role_id,
                role=iam.Role(title=role.title, included_permissions=role.permissions),
            ),
        )

    def _apply_org_policy(self, org_policy: seed.OrgPolicy) -> None:
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

    def _apply_policy(self, rpc: str, resource: str, bindings: Iterable[seed.Binding]) -> None:
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
            raise seed.SeedError(f"{_label(self._name)}: {what}: {error.message}", self._here) from error


class _ProjectSeeder(_Seeder):
    """Applies one project."""

    def __init__(self, cloud: Cloud, project: seed.Project, place: seed.Place) -> None:
        super().__init__(cloud, f"projects/{project.project_id}", place)
        self._project = project

    def apply_accounts(self) -> None:
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

    def apply_contents(self) -> None:
        project = self._project
        self.apply_roles(project.roles)
        for account in self._each("serviceAccounts", project.service_accounts):
            email = f"{account.account_id}@{self._cloud.registry.resolve(project.project_id).account_domain}"
            self._apply_policy(
                f"{_IAM}/SetIamPolicy", f"{self._name}/serviceAccounts/{email}", account.policy
            )
        for collection, workloads in (
            ("services", project.services),
            ("jobs", project.jobs),
            ("workerPools", project.worker_pools),
        ):
            for workload in self._each(collection, workloads):
                self._apply_workload(self._cloud.workloads[collection], workload)
        for secret in self._each("secrets", project.secrets):
            self._apply_resource(
                seed.TargetResource(kind=TargetKind.SECRET, name=secret.name, policy=secret.policy)
            )
        for resource in self._each("resources", project.resources):
            self._apply_resource(resource)
        self.apply_policies(project)

    def _apply_workload(self, workloads: Workloads, wanted: seed.Workload) -> None:
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
        self._apply_policy(
            f"{service}/SetIamPolicy", f"{parent}/{kind.collection}/{wanted.name}", wanted.policy
        )

    def _apply_resource(self, wanted: seed.TargetResource) -> None:
        with self._saying(wanted.resource or f"{TARGET_KINDS[wanted.kind].display_name} {wanted.name}"):
            project = self._cloud.registry.resolve(self._project.project_id)
            found = _name_of(wanted)
            resource = self._cloud.resources.add(
                project, found.descriptor, found.name, found.location, found.parent
            )
            if not wanted.uniform_bucket_level_access and (
                added := target_name(resource, host=found.descriptor.host)
            ):
                self._cloud.resources.use_object_acls(added, used=True)
        self._apply_policy(f"{found.descriptor.policy_service}/SetIamPolicy", resource, wanted.policy)


def _name_of(wanted: seed.TargetResource) -> TargetName:
    """Return the name of a resource. Raises GoogleError: INVALID_ARGUMENT: it is not served."""
    if wanted.kind in SERVED:
        return TargetName(SERVED[wanted.kind], wanted.name, location=wanted.location, parent=wanted.parent)
    host, _, relative = wanted.resource.removeprefix("//").partition("/")
    found = target_name(relative, host=host)
    if found is None:
        raise invalid(f"Invalid resource '{wanted.resource}'.")
    return found


def _binding(wanted: seed.Binding) -> policy_pb2.Binding:
    binding = policy_pb2.Binding(role=wanted.role, members=wanted.members)
    if wanted.condition is not None:
        binding.condition.CopyFrom(expr_pb2.Expr(**wanted.condition.model_dump()))
    return binding


def _deny_rule(wanted: seed.DenyRule) -> iam_v2.DenyRule:
    return iam_v2.DenyRule(
        **wanted.model_dump(exclude={"condition"}), denial_condition={"expression": wanted.condition}
    )


def _label(name: str) -> str:
    """Convert `projects/shop` to `project shop`."""
    collection, _, identifier = name.partition("/")
    return f"{collection.removesuffix('s')} {identifier}"
