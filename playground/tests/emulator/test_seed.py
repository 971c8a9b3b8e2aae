from __future__ import annotations

import re
import textwrap
from datetime import timedelta
from pathlib import Path

import grpc.aio
import pytest
from google.api_core import exceptions
from google.cloud import iam_admin_v1 as iam

from cloudrun_identity_playground.emulator import Emulator, Latency, Seed, SeedError, load_seed, seed

from .clients import Clients, Clock, members

SHOP = """
strict: true
lag: 1m30s
latency: none
projects:
- projectID: shop
  projectNumber: "123456789012"
  quotas: {serviceAccounts: 1}
  policy:
  - {role: roles/viewer, members: ["serviceAccount:checkout@shop.iam.gserviceaccount.com"]}
  - role: roles/run.viewer
    members: ["user:ann@example.com"]
    condition: {title: nightly, expression: "request.time.getHours() < 6"}
  - {role: projects/shop/roles/deployer, members: ["user:bob@example.com"]}
  roles:
  - {roleID: deployer, title: Deployer, permissions: [run.services.update]}
  serviceAccounts:
  - accountID: checkout
    displayName: Checkout
    disabled: true
    policy:
    - {role: roles/iam.serviceAccountUser, members: ["user:ann@example.com"]}
  services:
  - location: europe-west1
    name: web
    image: shop/web:1
    serviceAccount: robots-1@tools.iam.gserviceaccount.com
    labels: {team: shop}
    revision: web-v1
    policy:
    - {role: roles/run.invoker, members: [allUsers]}
  jobs:
  - {location: europe-west1, name: nightly}
  workerPools:
  - {location: europe-west1, name: queue}
  orgPolicies:
  - {constraint: iam.disableCrossProjectServiceAccountUsage, enforce: false}
- projectID: tools
  serviceAccounts:
  - {accountID: robots-1}
"""


def write(directory: Path, text: str) -> Path:
    file = directory / "seed.yaml"
    file.write_text(textwrap.dedent(text))
    return file


async def test_seeded_resources_exist_at_the_start(tmp_path: Path, clock: Clock) -> None:
    planted = load_seed(write(tmp_path, SHOP))
    async with (
        Emulator(seed=planted, clock=clock) as emulator,
        grpc.aio.insecure_channel(emulator.grpc_address) as channel,
    ):
        clients = Clients(channel)
        assert not emulator.calls  # seeding does not count as a call
        location = "projects/shop/locations/europe-west1"
        account = await clients.iam.get_service_account(
            name="projects/shop/serviceAccounts/checkout@shop.iam.gserviceaccount.com"
        )
        policy = await clients.policy()
        service = await clients.services.get_service(name=f"{location}/services/web")
        job = await clients.jobs.get_job(name=f"{location}/jobs/nightly")
        pool = await clients.worker_pools.get_worker_pool(name=f"{location}/workerPools/queue")
        role = await clients.iam.get_role(iam.GetRoleRequest(name="projects/shop/roles/deployer"))
        effective = await clients.org_policy.get_effective_policy(
            name="projects/shop/policies/iam.disableCrossProjectServiceAccountUsage"
        )

        assert (await clients.projects.get_project(name="projects/123456789012")).project_id == "shop"
        assert (account.display_name, account.disabled) == ("Checkout", True)
        assert members(await clients.policy(account.name), "roles/iam.serviceAccountUser") == [
            "user:ann@example.com"
        ]
        assert members(policy, "roles/viewer") == [f"serviceAccount:{account.email}"]
        assert [each.condition.title for each in policy.bindings] == ["", "nightly", ""]
        assert service.template.service_account == "robots-1@tools.iam.gserviceaccount.com"
        assert service.template.containers[0].image == "shop/web:1"
        assert service.latest_ready_revision.endswith("/revisions/web-v1")
        assert members(await clients.policy(service.name), "roles/run.invoker") == ["allUsers"]
        default = "123456789012-compute@developer.gserviceaccount.com"
        assert job.template.template.service_account == default
        assert pool.template.service_account == default
        assert list(role.included_permissions) == ["run.services.update"]
        assert not any(rule.enforce for rule in effective.spec.rules)
        with pytest.raises(exceptions.ResourceExhausted):
            await clients.create_account("another")


async def test_seeded_accounts_have_no_lag_and_later_ones_have(tmp_path: Path, clock: Clock) -> None:
    planted = load_seed(write(tmp_path, SHOP))
    async with (
        Emulator(seed=planted, clock=clock) as emulator,
        grpc.aio.insecure_channel(emulator.grpc_address) as channel,
    ):
        clients = Clients(channel)
        name = "projects/shop/serviceAccounts/checkout@shop.iam.gserviceaccount.com"
        for _ in range(3):
            assert (await clients.iam.get_service_account(name=name)).disabled
        fresh = await clients.create_account("fresh-one", project="tools")
        with pytest.raises(exceptions.InvalidArgument):
            await clients.grant("roles/viewer", f"serviceAccount:{fresh.email}")
        clock.advance(90)
        await clients.grant("roles/viewer", f"serviceAccount:{fresh.email}")


def test_documentation_has_every_field_in_a_valid_seed(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "emulator.md").read_text(encoding="utf-8")
    example = page.split("```yaml")[1].split("```")[0]
    planted = load_seed(write(tmp_path, example))

    assert set(planted.model_fields_set) == set(Seed.model_fields)
    [project] = planted.projects
    assert set(seed.Project.model_fields) - project.model_fields_set == {"jobs", "worker_pools"}
    assert set(project.services[0].model_fields_set) == set(seed.Workload.model_fields)
    assert Emulator(seed=planted).cloud.registry.strict


def test_example_in_the_docstring_is_a_valid_seed(tmp_path: Path) -> None:
    assert seed.__doc__ is not None
    example = seed.__doc__.split("```yaml")[1].split("```")[0]
    planted = load_seed(write(tmp_path, example))

    assert planted.projects[0].quotas.service_accounts == 500
    assert planted.requests_per_minute["run.googleapis.com"].writes == 180
    assert planted.lag == timedelta(seconds=5)
    assert Emulator(seed=planted).cloud.registry.strict


def test_an_empty_file_is_an_empty_seed(tmp_path: Path) -> None:
    assert load_seed(write(tmp_path, "")) == Seed()
    assert Seed().latency is Latency.NONE


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("projects: [", "is no YAML"),
        ("- a", "the seed: "),
        ("strict: maybe", "strict: .*'maybe'"),
        ("nonsense: 1", "nonsense: "),
        ("lag: soon", "lag: .*'soon'"),
        ("latency: slow", "latency: .*'slow'"),
        ("projects: [{}]", r"projects\[0\]\.projectID: "),
        ("projects: [{projectID: shop, projectNumber: '12a'}]", r"projects\[0\]\.projectNumber: .*'12a'"),
        ("projects: [{projectID: shop, quotas: {serviceAccounts: -1}}]", r"quotas\.serviceAccounts: .*-1"),
        ("projects: [{projectID: shop, services: [{name: web}]}]", r"services\[0\]\.location: "),
        (
            "requestsPerMinute: {nonsense: {reads: 1}}",
            r"requestsPerMinute\.nonsense.*must be one of .*run\.google",
        ),
        ("requestsPerMinute: {run.googleapis.com: {reads: -1}}", r"reads: .*-1"),
        (
            "projects: [{projectID: shop, orgPolicies: [{constraint: a.b}]}]",
            "either enforce or allowedValues",
        ),
        (
            "projects: [{projectID: s, orgPolicies: [{constraint: a.b, enforce: true, allowedValues: []}]}]",
            "either enforce or allowedValues",
        ),
    ],
)
def test_invalid_seed_names_file_field_and_value_in_one_line(tmp_path: Path, text: str, named: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(SeedError, match=named) as error:
        load_seed(file)
    assert str(error.value).startswith(f"{file}:1: ")
    assert "\n" not in str(error.value)


def test_invalid_seed_names_the_line(tmp_path: Path) -> None:
    file = write(
        tmp_path, "lag: 5s\nprojects:\n- projectID: shop\n  services:\n  - name: web\n    locations: x\n"
    )
    with pytest.raises(SeedError, match=re.escape(f"{file}:5: projects[0].services[0].location: ")):
        load_seed(file)


def test_invalid_yaml_names_the_line(tmp_path: Path) -> None:
    file = write(tmp_path, "lag: 5s\nprojects: ]\n")
    with pytest.raises(SeedError, match=re.escape(f"{file}:2: is no YAML: ")):
        load_seed(file)


def test_a_missing_seed_is_named(tmp_path: Path) -> None:
    with pytest.raises(SeedError, match=r"none\.yaml: cannot be read: No such file"):
        load_seed(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("project", "named"),
    [
        ({"serviceAccounts": [{"accountID": "x"}]}, "project shop: service account x: Invalid"),
        (
            {"policy": [{"role": "roles/none", "members": ["user:a@b.c"]}]},
            "project shop: policy of projects/shop: Role roles/none",
        ),
        (
            {
                "services": [
                    {"location": "x", "name": "web", "serviceAccount": "no@shop.iam.gserviceaccount.com"}
                ]
            },
            "project shop: service web: Permission",
        ),
    ],
)
def test_a_seed_that_google_would_refuse_is_refused(project: dict[str, object], named: str) -> None:
    planted = Seed.model_validate({"projects": [{"projectID": "shop"} | project]})
    with pytest.raises(SeedError, match=named):
        Emulator(seed=planted)


async def test_unchecked_binding_makes_the_policy_unwritable(clock: Clock) -> None:
    ghost = "serviceAccount:ghost@shop.iam.gserviceaccount.com"
    bindings = [
        {"role": "roles/viewer", "members": [ghost], "unchecked": True},
        {"role": "roles/browser", "members": ["user:ann@example.com"]},
    ]
    planted = Seed.model_validate({"projects": [{"projectID": "shop", "policy": bindings}]})
    async with (
        Emulator(seed=planted, clock=clock) as emulator,
        grpc.aio.insecure_channel(emulator.grpc_address) as channel,
    ):
        clients = Clients(channel)
        policy = await clients.policy()
        assert members(policy, "roles/viewer") == [ghost]
        assert members(policy, "roles/browser") == ["user:ann@example.com"]
        with pytest.raises(exceptions.InvalidArgument, match="ghost@shop"):
            await clients.set_policy(policy)


def test_duplicate_projects_and_numbers_are_refused() -> None:
    with pytest.raises(SeedError, match="appears twice"):
        Emulator(seed=Seed.model_validate({"projects": [{"projectID": "shop"}, {"projectID": "shop"}]}))
    same_number = [{"projectID": "a", "projectNumber": "7"}, {"projectID": "b", "projectNumber": "7"}]
    with pytest.raises(SeedError, match="projectNumber 7 is that of a already"):
        Emulator(seed=Seed.model_validate({"projects": same_number}))
