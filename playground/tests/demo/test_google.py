import json

import pytest

from cloudrun_identity_playground.demo.google import (
    CloudState,
    MemberRemoval,
    WorkloadMove,
    parse_state,
    short_name,
)

PROJECT = "//cloudresourcemanager.googleapis.com/projects/acme-shop"
RUN = "//run.googleapis.com/projects/acme-shop/locations/europe-west1"


def state(**parts: object) -> CloudState:
    empty = {"projects": {"acme-shop": {"projectNumber": "42"}}, "policies": {}}
    return parse_state({**empty, "services": {}, "jobs": {}, "workerPools": {}, **parts})


def test_policies_have_full_resource_names() -> None:
    binding = {"role": "roles/viewer", "members": ["user:a@example.com"]}
    account = "projects/acme-shop/serviceAccounts/checkout@acme-shop.iam.gserviceaccount.com"

    read = state(policies={"projects/acme-shop": {"bindings": [binding]}, account: {}})

    assert read.policies == {
        PROJECT: {"roles/viewer": ("user:a@example.com",)},
        f"//iam.googleapis.com/{account}": {},
    }


def test_conditional_binding_is_separate_from_its_role() -> None:
    bindings = [
        {"role": "roles/viewer", "members": ["user:a@example.com"]},
        {"role": "roles/viewer", "members": ["user:b@example.com"], "condition": {"title": "until May"}},
    ]

    read = state(policies={"projects/acme-shop": {"bindings": bindings}})

    assert read.policies[PROJECT] == {
        "roles/viewer": ("user:a@example.com",),
        "roles/viewer if until May": ("user:b@example.com",),
    }


def test_account_of_a_job_is_read_from_its_inner_template() -> None:
    where = "projects/acme-shop/locations/europe-west1"

    read = state(
        services={f"{where}/services/web": {"template": {"serviceAccount": "web@x"}}},
        jobs={f"{where}/jobs/nightly": {"template": {"template": {"serviceAccount": "job@x"}}}},
    )

    assert read.accounts_of_workloads == {f"{RUN}/services/web": "web@x", f"{RUN}/jobs/nightly": "job@x"}


def test_workload_without_account_runs_as_the_default() -> None:
    read = state(services={"projects/acme-shop/locations/europe-west1/services/web": {"template": {}}})

    assert read.accounts_of_workloads[f"{RUN}/services/web"] == "42-compute@developer.gserviceaccount.com"


def test_removal_is_undone_when_the_member_has_the_role() -> None:
    removal = MemberRemoval(PROJECT, "roles/viewer", "user:a@example.com")
    held = {"bindings": [{"role": "roles/viewer", "members": ["user:a@example.com"]}]}

    assert state(policies={"projects/acme-shop": held}).has(removal)
    assert not state(policies={"projects/acme-shop": {}}).has(removal)
    assert not state().has(removal)


def test_changes_have_the_format_of_the_control_api() -> None:
    assert json.loads(MemberRemoval(PROJECT, "roles/viewer", "user:a@example.com").to_json()) == {
        "policy": PROJECT,
        "remove": [{"role": "roles/viewer", "member": "user:a@example.com"}],
    }
    assert json.loads(WorkloadMove(f"{RUN}/services/web", "a@x").to_json()) == {
        "workload": f"{RUN}/services/web",
        "serviceAccount": "a@x",
    }


@pytest.mark.parametrize(
    ("resource", "said"),
    [
        (PROJECT, "Project acme-shop"),
        (f"{RUN}/services/web", "Service acme-shop/europe-west1/web"),
        (f"{RUN}/workerPools/pool", "WorkerPool acme-shop/europe-west1/pool"),
        ("//iam.googleapis.com/projects/p/serviceAccounts/a@p.iam.gserviceaccount.com",
         "ServiceAccount a@p.iam.gserviceaccount.com"),
    ],
)  # fmt: skip
def test_short_names_have_kind_and_names(resource: str, said: str) -> None:
    assert short_name(resource) == said
