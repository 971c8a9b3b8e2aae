"""Resources of a Terraform state as declarations of the operator."""

import json
from typing import Any

import pytest

from cloudrun_identity.api import TargetKind, WorkloadKind
from cloudrun_identity.converting.convert import declarations_in
from cloudrun_identity.converting.declarations import Declarations
from cloudrun_identity.exporting.survey import DeclaredKey
from cloudrun_identity.gcp.custom_roles import CustomRoleState
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.gcp.workloads import Workload, WorkloadState
from cloudrun_identity.iam.grants import Grant, IAMCondition, Target

EMAIL = "checkout@acme-shop.iam.gserviceaccount.com"
OPS = "group:ops@example.com"


def resource(type_: str, values: dict[str, Any], address: str = "") -> dict[str, Any]:
    return {"mode": "managed", "type": type_, "address": address or f"{type_}.x", "values": values}


def state(*resources: dict[str, Any], **modules: Any) -> dict[str, Any]:
    root = {"resources": list(resources), **modules}
    return {"format_version": "1.0", "terraform_version": "1.9.5", "values": {"root_module": root}}


def read(*resources: dict[str, Any], project_id: str = "") -> Declarations:
    return declarations_in([state(*resources)], project_id)


def only(*resources: dict[str, Any], project_id: str = "") -> Any:
    declarations = read(*resources, project_id=project_id)
    assert declarations.left_out == []
    (found,) = declarations.found
    return found


def test_account() -> None:
    values = {
        "project": "acme-shop",
        "account_id": "checkout",
        "email": EMAIL,
        "unique_id": "1",
        "display_name": "Checkout",
        "description": "",
        "disabled": False,
    }
    assert only(resource("google_service_account", values)) == ServiceAccount(
        "acme-shop", EMAIL, "1", "Checkout"
    )


def test_resources_of_modules_are_read_and_data_sources_are_not() -> None:
    values = {"project": "acme-shop", "email": EMAIL}
    data = {**resource("google_service_account", values), "mode": "data"}
    address = 'module.run["shop"].google_service_account.this[0]'
    child = {"resources": [resource("google_service_account", values, address)]}
    declarations = declarations_in([state(data, child_modules=[{"child_modules": [child]}])], "")
    ((sources),) = declarations.found.values()
    assert [source.address for source in sources] == [address]


@pytest.mark.parametrize(
    ("of", "values", "target"),
    [
        ("project", {"project": "acme-data"}, Target.project("acme-data")),
        (
            "service_account",
            {"service_account_id": f"projects/acme-shop/serviceAccounts/{EMAIL}"},
            Target.service_account("acme-shop", EMAIL),
        ),
        (
            "cloud_run_v2_service",
            {"name": "projects/acme-shop/locations/us-east1/services/web", "location": "us-east1"},
            Target(TargetKind.SERVICE, "acme-shop", "us-east1", "web"),
        ),
        (
            "cloud_run_service",
            {"service": "v1/projects/acme-shop/locations/us-east1/services/web", "location": "us-east1"},
            Target(TargetKind.SERVICE, "acme-shop", "us-east1", "web"),
        ),
        (
            "cloud_run_v2_job",
            {"name": "nightly", "location": "us-east1", "project": "acme-shop"},
            Target(TargetKind.JOB, "acme-shop", "us-east1", "nightly"),
        ),
        (
            "pubsub_subscription",
            {"subscription": "orders", "project": "acme-shop"},
            Target(TargetKind.PUB_SUB_SUBSCRIPTION, "acme-shop", "", "orders"),
        ),
        (
            "kms_crypto_key",
            {"crypto_key_id": "projects/acme-shop/locations/global/keyRings/tokens/cryptoKeys/signing"},
            Target(TargetKind.KMS_CRYPTO_KEY, "acme-shop", "global", "signing", "tokens"),
        ),
        (
            "spanner_database",
            {"project": "acme-shop", "instance": "ledger", "database": "bookings"},
            Target(TargetKind.SPANNER_DATABASE, "acme-shop", "", "bookings", "ledger"),
        ),
        (
            "storage_bucket",
            {"bucket": "b/exports"},
            Target(TargetKind.STORAGE_BUCKET, "acme-default", "", "exports"),
        ),
        ("folder", {"folder": "folders/12"}, Target(TargetKind.FOLDER, "acme-default", "", "12")),
        ("organization", {"org_id": "12"}, Target(TargetKind.ORGANIZATION, "acme-default", "", "12")),
    ],
)
def test_member_on_each_kind_of_target(of: str, values: dict[str, Any], target: Target) -> None:
    member = resource(f"google_{of}_iam_member", {**values, "role": "roles/x", "member": OPS})
    assert only(member, project_id="acme-default") == Grant(target, "roles/x", OPS)


def test_bucket_is_in_the_project_of_its_resource() -> None:
    bucket = resource("google_storage_bucket", {"name": "exports", "project": "acme-data"})
    member = resource(
        "google_storage_bucket_iam_member", {"bucket": "b/exports", "role": "roles/x", "member": OPS}
    )
    assert only(bucket, member, project_id="acme-shop").target.project_id == "acme-data"


def test_binding_and_policy_are_noted_as_authoritative() -> None:
    condition = [{"title": "soon", "description": "", "expression": "true"}]
    binding = resource(
        "google_project_iam_binding",
        {"project": "acme-shop", "role": "roles/x", "members": [OPS], "condition": condition},
    )
    policy = {"bindings": [{"role": "roles/y", "members": [OPS]}], "auditConfigs": [{}]}
    whole = resource("google_project_iam_policy", {"project": "acme-shop", "policy_data": json.dumps(policy)})
    declarations = read(binding, whole)
    project = Target.project("acme-shop")
    assert list(declarations.found) == [
        Grant(project, "roles/x", OPS, IAMCondition("soon", "", "true")),
        Grant(project, "roles/y", OPS),
    ]
    assert ["authority: Exclusive" in note.why for note in declarations.notes] == [True, False]
    assert [each.why for each in declarations.left_out] == ["the operator does not manage auditConfigs"]


@pytest.mark.parametrize(
    ("type_", "values", "kind"),
    [
        ("google_cloud_run_v2_service", {"template": [{"service_account": EMAIL}]}, WorkloadKind.SERVICE),
        (
            "google_cloud_run_v2_worker_pool",
            {"template": [{"service_account": EMAIL}]},
            WorkloadKind.WORKER_POOL,
        ),
        (
            "google_cloud_run_v2_job",
            {"template": [{"template": [{"service_account": EMAIL}]}]},
            WorkloadKind.JOB,
        ),
        (
            "google_cloud_run_service",
            {"template": [{"spec": [{"service_account_name": EMAIL}]}]},
            WorkloadKind.SERVICE,
        ),
    ],
)
def test_workload_of_each_type(type_: str, values: dict[str, Any], kind: WorkloadKind) -> None:
    found = only(resource(type_, {"project": "acme-shop", "location": "us-east1", "name": "web", **values}))
    assert isinstance(found, WorkloadState)
    assert (found.workload, found.service_account) == (Workload(kind, "acme-shop", "us-east1", "web"), EMAIL)


def test_custom_role_and_key() -> None:
    role = {"project": "acme-shop", "role_id": "runner", "title": "T", "permissions": ["run.jobs.run"]}
    assert only(resource("google_project_iam_custom_role", role)) == CustomRoleState(
        "projects/acme-shop/roles/runner", "T", "", "GA", frozenset({"run.jobs.run"}), b""
    )
    key = {"service_account_id": f"projects/acme-shop/serviceAccounts/{EMAIL}"}
    assert only(resource("google_service_account_key", key)) == DeclaredKey("checkout", EMAIL)


@pytest.mark.parametrize(
    ("type_", "values", "why"),
    [
        ("google_service_account", {"account_id": "web"}, "its project is unknown"),
        ("google_service_account", {"project": "acme-shop", "email": None}, "its e-mail is unknown"),
        ("google_project_iam_member", {"project": "acme-shop", "role": "roles/x"}, "its member is unknown"),
        ("google_project_iam_policy", {"project": "acme-shop", "policy_data": "x"}, "is not an IAM policy"),
        ("google_bigquery_dataset_iam_member", {"member": OPS}, "does not manage this type"),
    ],
)
def test_what_cannot_be_converted_is_named_with_the_reason(
    type_: str, values: dict[str, Any], why: str
) -> None:
    declarations = read(resource(type_, values))
    assert not declarations.found
    ((left_out),) = declarations.left_out
    assert left_out.what == f"{type_}.x"
    assert why in left_out.why


def test_resources_without_identities_are_ignored() -> None:
    declarations = read(resource("google_compute_network", {"name": "default"}))
    assert not declarations.found
    assert not declarations.left_out


def test_state_file_is_refused_with_the_command_to_use() -> None:
    raw = {"version": 4, "terraform_version": "1.9.5", "lineage": "x", "resources": []}
    with pytest.raises(ValueError, match="terraform show -json"):
        declarations_in([raw], "")


def test_resources_of_a_plan_are_those_that_it_leads_to() -> None:
    """A planned account has no e-mail yet, but its ID decides it."""
    account = resource("google_service_account", {"project": "acme-shop", "account_id": "checkout"})
    plan = state(account)
    plan["planned_values"] = plan.pop("values")
    assert list(declarations_in([plan], "").found) == [ServiceAccount("acme-shop", EMAIL, "", "")]


@pytest.mark.parametrize(
    ("type_", "values", "why"),
    [
        ("member", {"role": None, "member": OPS}, "its role is unknown"),
        ("binding", {"role": "roles/viewer", "members": None}, "its list of members is unknown"),
        ("binding", {"role": "roles/viewer", "members": [OPS, None]}, "its list of members is unknown"),
    ],
)
def test_values_that_are_not_known_are_left_out(type_: str, values: dict[str, Any], why: str) -> None:
    declarations = read(resource(f"google_project_iam_{type_}", {"project": "acme-shop", **values}))
    assert not declarations.found
    assert [each.why for each in declarations.left_out] == [f"{why} until it is applied; apply it first"]


@pytest.mark.parametrize("module", [{"resources": 1}, {"resources": [1]}, {"child_modules": [[]]}])
def test_other_json_with_the_marks_of_a_state_is_refused(module: dict[str, Any]) -> None:
    document = {**state(), "values": {"root_module": module}}
    with pytest.raises(ValueError, match="not the output of terraform show -json"):
        declarations_in([document], "")
