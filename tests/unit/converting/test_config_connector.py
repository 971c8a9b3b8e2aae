"""Manifests of Config Connector as declarations of the operator."""

from typing import Any

import pytest
import yaml

from cloudrun_identity.api import TargetKind, WorkloadKind
from cloudrun_identity.converting.convert import declarations_in
from cloudrun_identity.converting.declarations import Conversion, Declarations
from cloudrun_identity.exporting.survey import DeclaredKey
from cloudrun_identity.gcp.custom_roles import CustomRoleState
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.gcp.workloads import Workload, WorkloadState
from cloudrun_identity.iam.grants import Grant, IAMCondition, Target

PROJECT = Target.project("acme-shop")
EMAIL = "checkout@acme-shop.iam.gserviceaccount.com"
MEMBER = f"serviceAccount:{EMAIL}"
OPS = "group:ops@example.com"

SHOP = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {cnrm.cloud.google.com/project-id: acme-shop}}
---
apiVersion: iam.cnrm.cloud.google.com/v1beta1
kind: IAMServiceAccount
metadata: {name: checkout, namespace: shop}
spec: {displayName: Checkout, disabled: true}
"""


def read(text: str, project_id: str = "") -> Declarations:
    return declarations_in(yaml.safe_load_all(text), project_id)


def manifest(kind: str, spec: str, *, group: str = "iam", name: str = "x", annotations: str = "{}") -> str:
    return f"""
---
apiVersion: {group}.cnrm.cloud.google.com/v1beta1
kind: {kind}
metadata: {{name: {name}, namespace: shop, annotations: {annotations}}}
spec: {spec}
"""


def found(kind: str, spec: str, **others: str) -> list[Any]:
    """Return what an object declares in the shop, and check that all of it is converted."""
    declarations = read(SHOP + manifest(kind, spec, **others))
    assert declarations.left_out == []
    return [each for each in declarations.found if not isinstance(each, ServiceAccount)]


def left_out(kind: str, spec: str, **others: str) -> str:
    """Return why an object in the shop is left out."""
    (only,) = read(SHOP + manifest(kind, spec, **others)).left_out
    return only.why


def test_account_takes_its_project_from_the_namespace() -> None:
    (account,) = read(SHOP).found
    assert account == ServiceAccount("acme-shop", EMAIL, "", "Checkout", disabled=True)


def test_project_is_found_as_config_connector_finds_it() -> None:
    account = manifest("IAMServiceAccount", "{resourceID: web}")
    for text, project_id, expected in (
        (
            manifest("IAMServiceAccount", "{}", annotations="{cnrm.cloud.google.com/project-id: other}"),
            "",
            "other",
        ),
        (manifest("IAMServiceAccount", "{projectRef: {external: projects/named}}"), "", "named"),
        (account, "given", "given"),
        (account, "", "shop"),
    ):
        (found,) = read(text, project_id).found
        assert isinstance(found, ServiceAccount)
        assert found.project_id == expected


def test_member_by_reference_and_by_name() -> None:
    spec = "{role: roles/run.viewer, %s, resourceRef: {kind: Project, external: acme-shop}}"
    by_reference = found("IAMPolicyMember", spec % "memberFrom: {serviceAccountRef: {name: checkout}}")
    by_name = found("IAMPolicyMember", spec % f"member: '{MEMBER}'")
    assert by_reference == by_name == [Grant(PROJECT, "roles/run.viewer", MEMBER)]


def test_condition_belongs_to_the_grant() -> None:
    condition = "{title: soon, description: why, expression: 'true'}"
    spec = (
        f"{{role: roles/run.viewer, member: '{OPS}', condition: {condition}, resourceRef: {{kind: Project}}}}"
    )
    (grant,) = found("IAMPolicyMember", spec)
    assert grant.condition == IAMCondition("soon", "why", "true")


def test_partial_policy_and_policy_have_several_bindings() -> None:
    account = Target.service_account("acme-shop", EMAIL)
    where = "resourceRef: {kind: IAMServiceAccount, name: checkout}"
    partial = f"{{{where}, bindings: [{{role: roles/a, members: [{{member: '{OPS}'}}]}}]}}"
    whole = f"{{{where}, bindings: [{{role: roles/a, members: ['{OPS}', allUsers]}}]}}"
    assert found("IAMPartialPolicy", partial) == [Grant(account, "roles/a", OPS)]
    assert found("IAMPolicy", whole) == [
        Grant(account, "roles/a", OPS),
        Grant(account, "roles/a", "allUsers"),
    ]
    (note,) = read(SHOP + manifest("IAMPolicy", whole)).notes
    assert "replaces the whole policy" in note.why


def test_workload_keeps_its_manifest() -> None:
    template = "serviceAccountRef: {name: checkout}"
    for kind, workload_kind, spec in (
        ("RunService", WorkloadKind.SERVICE, f"{{location: us-east1, template: {{{template}}}}}"),
        ("RunJob", WorkloadKind.JOB, f"{{location: us-east1, template: {{template: {{{template}}}}}}}"),
    ):
        declarations = read(SHOP + manifest(kind, spec, group="run"))
        (state,) = declarations.of(WorkloadState)
        assert state.workload == Workload(workload_kind, "acme-shop", "us-east1", "x")
        assert state.service_account == EMAIL
        assert [each.conversion for each in declarations.found[state]] == [Conversion.SHARED]


def test_target_takes_location_and_parent_from_the_objects_it_names() -> None:
    ring = manifest("KMSKeyRing", "{location: global}", group="kms", name="tokens")
    key = manifest("KMSCryptoKey", "{keyRingRef: {name: tokens}}", group="kms", name="signing")
    grant = manifest(
        "IAMPolicyMember",
        f"{{role: roles/x, member: '{OPS}', resourceRef: {{kind: KMSCryptoKey, name: signing}}}}",
    )
    declarations = read(SHOP + ring + key + grant)
    (only,) = declarations.of(Grant)
    assert only.target == Target(TargetKind.KMS_CRYPTO_KEY, "acme-shop", "global", "signing", "tokens")
    assert declarations.left_out == []


def test_custom_role_and_key() -> None:
    (role,) = found("IAMCustomRole", "{title: T, permissions: [run.jobs.run], resourceID: runner}")
    assert role == CustomRoleState(
        "projects/acme-shop/roles/runner", "T", "", "GA", frozenset({"run.jobs.run"}), b""
    )
    (key,) = found("IAMServiceAccountKey", "{serviceAccountRef: {name: checkout}}")
    assert key == DeclaredKey("x", EMAIL)


def test_what_cannot_be_converted_is_named_with_the_reason() -> None:
    on_project = "resourceRef: {kind: Project}"
    assert "does not manage grants on the kind SQLInstance" in left_out(
        "IAMPolicyMember", f"{{role: r, member: '{OPS}', resourceRef: {{kind: SQLInstance, name: db}}}}"
    )
    assert "IAMServiceAccount shop/missing, which is in none of the files" in left_out(
        "IAMPolicyMember", f"{{role: r, memberFrom: {{serviceAccountRef: {{name: missing}}}}, {on_project}}}"
    )
    assert "memberFrom has logSinkRef" in left_out(
        "IAMPolicyMember", f"{{role: r, memberFrom: {{logSinkRef: {{name: s}}}}, {on_project}}}"
    )
    assert "a role of an organization" in left_out(
        "IAMCustomRole", "{}", annotations="{cnrm.cloud.google.com/organization-id: '1'}"
    )
    assert "does not manage this kind" in left_out("IAMWorkloadIdentityPool", "{}")
    assert "auditConfigs" in left_out("IAMPolicy", f"{{{on_project}, bindings: [], auditConfigs: [{{}}]}}")


@pytest.mark.parametrize(
    ("kind", "fields", "why"),
    [
        ("IAMPartialPolicy", "bindings: {a: 1}", "bindings is not a list of objects"),
        ("IAMPartialPolicy", "bindings: [{role: r, members: [m]}]", "members is not a list of objects"),
        ("IAMPartialPolicy", "bindings: [{members: []}]", "a binding has no role"),
        ("IAMPolicy", "bindings: [{role: r, members: [{}]}]", "members is not a list of strings"),
        ("IAMCustomRole", "permissions: 3", "permissions is not a list of strings"),
    ],
)
def test_fields_of_another_type_are_left_out(kind: str, fields: str, why: str) -> None:
    assert (
        left_out(kind, f"{{resourceRef: {{kind: Project, external: projects/acme-shop}}, {fields}}}") == why
    )
