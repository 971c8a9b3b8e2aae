"""Conversion to manifests, and the steps of the hand-over."""

import asyncio
from typing import Any

import pytest
import yaml

from cloudrun_identity.api import KINDS
from cloudrun_identity.api.validation import complaints
from cloudrun_identity.converting.convert import Converted, convert, declarations_in
from cloudrun_identity.exporting.namespaces import Namespaces
from cloudrun_identity.linting.lint import lint
from tests.unit.converting.test_terraform import EMAIL, OPS, resource, state

ACCOUNT = resource(
    "google_service_account",
    {"project": "acme-shop", "email": EMAIL},
    'google_service_account.app["checkout"]',
)
DEFAULT = "serviceAccount:1-compute@developer.gserviceaccount.com"


def converted(*resources: dict[str, Any], namespace: str = "") -> Converted:
    return convert(declarations_in([state(*resources)], ""), Namespaces(namespace))


def member(
    role: str, member: str = f"serviceAccount:{EMAIL}", name: str = "x", project: str = "acme-shop"
) -> Any:
    values = {"project": project, "role": role, "member": member}
    return resource("google_project_iam_member", values, f"google_project_iam_member.{name}")


def objects(result: Converted) -> dict[str, Any]:
    found = [obj for text in result.files.values() for obj in yaml.safe_load_all(text)]
    for obj in found:
        assert complaints(KINDS[obj["kind"]].model_validate(obj)) == []
    return {f"{obj['kind']}/{obj['metadata']['name']}": obj for obj in found}


def test_grants_of_an_account_become_roles_of_its_identity() -> None:
    found = objects(converted(ACCOUNT, member("roles/cloudsql.client")))
    identity = found["CloudRunIdentity/checkout"]
    assert identity["spec"]["roles"] == [{"role": "roles/cloudsql.client"}]
    assert identity["spec"]["adoption"] == "Adopt"
    assert identity["metadata"]["namespace"] == "acme-shop"
    (entry,) = found["ManagedProject/acme-shop"]["spec"]["guardrails"]["grants"]
    assert entry["roles"] == ["roles/cloudsql.client"]
    assert "allowEscalation" not in entry


def test_escalating_and_unknown_roles_are_admitted_as_such() -> None:
    for role in ("roles/iam.securityAdmin", "roles/notInTheCatalog.admin"):
        found = objects(converted(ACCOUNT, member(role)))
        (entry,) = found["ManagedProject/acme-shop"]["spec"]["guardrails"]["grants"]
        assert entry["allowEscalation"] is True


def test_key_needs_another_secret_and_keys_in_the_guardrails() -> None:
    key = resource(
        "google_service_account_key", {"service_account_id": f"projects/acme-shop/serviceAccounts/{EMAIL}"}
    )
    result = converted(ACCOUNT, key)
    found = objects(result)
    assert found["IdentityKey/checkout"]["spec"]["secretName"] == "checkout-rotated"
    assert found["ManagedProject/acme-shop"]["spec"]["guardrails"]["keys"] == "Allowed"
    steps = result.handover.text("d")
    assert "Point the clients of these keys" in steps
    assert "state rm google_service_account_key" not in steps


def test_each_project_has_its_files_and_namespace() -> None:
    result = converted(ACCOUNT, member("roles/viewer", OPS, project="acme-data"))
    assert set(result.files) == {
        "acme-data-project.yaml",
        "acme-data-bindings.yaml",
        "acme-shop-project.yaml",
        "acme-shop-identities.yaml",
    }
    assert result.handover.namespaces == ("acme-data", "acme-shop")


def test_equal_names_in_one_namespace_are_refused() -> None:
    other = resource(
        "google_service_account", {"project": "acme-data", "email": EMAIL.replace("shop", "data")}
    )
    with pytest.raises(ValueError, match="acme-data and acme-shop both have CloudRunIdentity checkout"):
        converted(ACCOUNT, other, namespace="apps")
    assert len(converted(ACCOUNT, other).files) == 4


def test_handed_over_resources_are_removed_from_the_state() -> None:
    steps = converted(ACCOUNT, member("roles/cloudsql.client")).handover.text("my files")
    assert "terraform state rm 'google_service_account.app[\"checkout\"]'" in steps
    assert "terraform state rm google_project_iam_member.x" in steps
    assert "kubectl apply -f 'my files'" in steps
    assert "kubectl create namespace acme-shop" in steps


def test_resources_with_parts_that_are_left_out_are_kept() -> None:
    result = converted(
        ACCOUNT, member("roles/viewer", DEFAULT, "default"), member("roles/viewer", OPS, "ops")
    )
    assert [str(each) for each in result.left_out] == [
        f"roles/viewer for {DEFAULT} on Project acme-shop: a default account"
    ]
    steps = result.handover.text("d")
    assert "state rm google_project_iam_member.ops" in steps
    assert "state rm google_project_iam_member.default" not in steps
    assert "`google_project_iam_member.default`: roles/viewer for" in steps


def test_workload_is_still_deployed_by_its_tool() -> None:
    values = {
        "project": "acme-shop",
        "location": "us-east1",
        "name": "web",
        "template": [{"service_account": EMAIL}],
    }
    result = converted(ACCOUNT, resource("google_cloud_run_v2_service", values))
    assert objects(result)["IdentityAttachment/service-us-east1-web"]["spec"]["identityRef"] == {
        "name": "checkout"
    }
    steps = result.handover.text("d")
    assert "state rm google_cloud_run_v2_service" not in steps
    assert "ignore_changes" in steps


def service(project: str, account: str = EMAIL, name: str = "web") -> Any:
    values = {
        "project": project,
        "location": "us-east1",
        "name": name,
        "template": [{"service_account": account}],
    }
    return resource("google_cloud_run_v2_service", values, f"google_cloud_run_v2_service.{project}_{name}")


def test_workload_of_another_project_is_attached_to_the_identity() -> None:
    """The namespace of the attachment needs both projects, and the consent of the identity."""
    result = converted(ACCOUNT, service("acme-data"))
    found = objects(result)
    assert result.left_out == ()
    attachment = found["IdentityAttachment/service-us-east1-web"]
    assert attachment["metadata"]["namespace"] == "acme-data"
    assert attachment["spec"]["identityRef"] == {"name": "checkout", "namespace": "acme-shop"}
    assert found["CloudRunIdentity/checkout"]["spec"]["allowedNamespaces"] == ["acme-data"]
    home, away = (found[f"ManagedProject/acme-{name}"]["spec"] for name in ("shop", "data"))
    assert home["namespaces"]["names"] == ["acme-data", "acme-shop"]
    assert away["namespaces"]["names"] == ["acme-data"]
    assert "accounts" not in away["guardrails"]
    assert set(result.files) == {
        "acme-data-attachments.yaml",
        "acme-data-project.yaml",
        "acme-shop-identities.yaml",
        "acme-shop-project.yaml",
    }
    assert asyncio.run(lint(found.values())) == ()


def test_workload_of_another_project_in_the_same_namespace_is_attached() -> None:
    found = objects(converted(ACCOUNT, service("acme-data"), namespace="apps"))
    assert found["IdentityAttachment/service-us-east1-web"]["spec"]["identityRef"] == {"name": "checkout"}
    assert "allowedNamespaces" not in found["CloudRunIdentity/checkout"]["spec"]
    assert asyncio.run(lint(found.values())) == ()


def test_account_that_no_file_declares_is_attached_by_email() -> None:
    found = objects(converted(service("acme-data")))
    assert found["IdentityAttachment/service-us-east1-web"]["spec"]["email"] == EMAIL
    (entry,) = found["ManagedProject/acme-data"]["spec"]["guardrails"]["accounts"]
    assert entry == {"email": EMAIL, "namespaces": ["acme-data"]}


def test_binding_on_a_key_is_named_by_the_words_of_its_kind() -> None:
    key = resource(
        "google_kms_crypto_key_iam_member",
        {
            "crypto_key_id": "projects/acme-shop/locations/europe/keyRings/tokens/cryptoKeys/signing",
            "role": "roles/cloudkms.viewer",
            "member": OPS,
        },
    )
    (binding,) = [name for name in objects(converted(key)) if name.startswith("IAMBinding/")]
    assert binding == "IAMBinding/kms-crypto-key-europe-tokens-signing-cloudkms-viewer"


def test_identity_may_be_a_member_in_another_project() -> None:
    """Each ManagedProject admits the identity by its name, and the identity allows the other namespace."""
    found = objects(converted(ACCOUNT, member("roles/viewer", project="acme-data")))
    assert found["CloudRunIdentity/checkout"]["spec"]["allowedNamespaces"] == ["acme-data"]
    (entry,) = found["ManagedProject/acme-data"]["spec"]["guardrails"]["grants"]
    assert entry["members"] == ["identity:acme-shop/checkout"]


def test_manifests_of_several_projects_have_no_findings() -> None:
    found = objects(converted(ACCOUNT, member("roles/viewer", project="acme-data")))
    assert asyncio.run(lint(found.values())) == ()


def test_attachments_beyond_the_limit_of_allowed_namespaces_are_left_out() -> None:
    projects = [f"acme-{number:02}" for number in range(70)]
    result = converted(ACCOUNT, *(service(each) for each in projects))
    found = [obj for text in result.files.values() for obj in yaml.safe_load_all(text)]
    (identity,) = [obj for obj in found if obj["kind"] == "CloudRunIdentity"]
    assert identity["spec"]["allowedNamespaces"] == projects[:64]
    attached = [obj["metadata"]["namespace"] for obj in found if obj["kind"] == "IdentityAttachment"]
    assert sorted(attached) == projects[:64]
    (home,) = [
        obj for obj in found if obj["metadata"]["name"] == "acme-shop" and obj["kind"] == "ManagedProject"
    ]
    assert home["spec"]["namespaces"]["names"] == [*projects[:64], "acme-shop"]
    assert {each.why for each in result.left_out} == {
        "an identity allows at most 64 other namespaces to refer to it"
    }
    assert len(result.left_out) == 6


def test_grants_in_other_projects_count_toward_the_allowed_namespaces() -> None:
    projects = [f"acme-{number:02}" for number in range(70)]
    result = converted(ACCOUNT, *(member("roles/viewer", project=each) for each in projects))
    found = [obj for text in result.files.values() for obj in yaml.safe_load_all(text)]
    (identity,) = [obj for obj in found if obj["kind"] == "CloudRunIdentity"]
    assert identity["spec"]["allowedNamespaces"] == projects[:64]
    assert len([obj for obj in found if obj["kind"] == "IAMBinding"]) == 64
    assert len(result.left_out) == 6
