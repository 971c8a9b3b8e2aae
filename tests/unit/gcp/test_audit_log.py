"""Entries of the audit log in the forms that Google and others have published.

Project: https://cloud.google.com/logging/docs/audit/understanding-audit-logs. IAM names accounts by their
unique id: https://cloud.google.com/iam/docs/audit-logging/examples-service-accounts. Cloud Run:
https://cloud.google.com/run/docs/audit-logging; version 1 names `namespaces/P/services/S`.
"""

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.api import TARGET_KINDS, TargetKind
from cloudrun_identity.gcp.audit_log import Ignored, IgnoredReason, parse_entry
from cloudrun_identity.gcp.audit_methods import audited_methods
from cloudrun_identity.iam.audited_changes import (
    AccountChange,
    AuditedChange,
    BindingDelta,
    DeltaAction,
    PolicyChange,
    ProjectChange,
    RoleChange,
    WorkloadChange,
)
from cloudrun_identity.iam.grants import Target

PROJECT = "payments-prod-1234"
UID = "112233445566778899001"
EMAIL = f"checkout@{PROJECT}.iam.gserviceaccount.com"
GCLOUD = (
    "google-cloud-sdk gcloud/501.0.0 command/gcloud.projects.remove-iam-policy-binding "
    "invocation-id/e9e9e4b6 environment/None python/3.11.4,gzip(gfe)"
)
ENTRY: dict[str, Any] = {
    "insertId": "-30102re2sad8",
    "logName": f"projects/{PROJECT}/logs/cloudaudit.googleapis.com%2Factivity",
    "protoPayload": {
        "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
        "authenticationInfo": {
            "principalEmail": "Dana@example.com",
            "principalSubject": "user:dana@example.com",
        },
        "methodName": "SetIamPolicy",
        "requestMetadata": {
            "callerIp": "192.0.2.1",
            "callerSuppliedUserAgent": GCLOUD,
            "requestAttributes": {"reason": "ticket 7", "time": "2026-11-19T13:12:20.940Z"},
        },
        "resourceName": f"projects/{PROJECT}",
        "serviceData": {
            "@type": "type.googleapis.com/google.iam.v1.logging.AuditData",
            "policyDelta": {
                "bindingDeltas": [
                    {"action": "REMOVE", "member": "user:ann@example.com", "role": "roles/run.admin"},
                    {
                        "action": "ADD",
                        "member": "user:bob@example.com",
                        "role": "roles/viewer",
                        "condition": {"title": "for a day", "expression": "true"},
                    },
                ]
            },
        },
        "serviceName": "cloudresourcemanager.googleapis.com",
        "status": {},
    },
    "receiveTimestamp": "2026-11-19T13:12:21.785498724Z",
    "resource": {"labels": {"project_id": PROJECT}, "type": "project"},
    "severity": "NOTICE",
    "timestamp": "2026-11-19T13:12:20.942393724Z",
}


def log_of(parent: str) -> str:
    return f"{parent}/logs/cloudaudit.googleapis.com%2Factivity"


def entry(service: str, method: str, resource: str, **labels: str) -> bytes:
    made = copy.deepcopy(ENTRY)
    made["protoPayload"] |= {"serviceName": service, "methodName": method, "resourceName": resource}
    made["resource"] = {"type": "other", "labels": {"project_id": PROJECT, **labels}}
    if resource.startswith(("folders/", "organizations/")):
        made["logName"] = log_of("/".join(resource.split("/")[:2]))
    return json.dumps(made).encode()


def subject_of(service: str, method: str, resource: str, **labels: str) -> object:
    found = parse_entry(entry(service, method, resource, **labels))
    return found.subject if isinstance(found, AuditedChange) else found


def test_policy_write_has_its_target_its_cause_and_its_differences() -> None:
    change = parse_entry(json.dumps(ENTRY))
    assert isinstance(change, AuditedChange)
    assert change.subject == PolicyChange(Target.project(PROJECT))
    assert change.cause.time == datetime(2026, 11, 19, 13, 12, 20, 942393, UTC)
    assert (
        change.cause.described("removed")
        == "removed by user:dana@example.com (gcloud) at 2026-11-19T13:12:20Z"
    )
    assert change.caller == "dana@example.com"
    assert change.request_reason == "ticket 7"
    assert change.deltas == (
        BindingDelta(DeltaAction.REMOVE, "roles/run.admin", "user:ann@example.com"),
        BindingDelta(DeltaAction.ADD, "roles/viewer", "user:bob@example.com", "for a day"),
    )


RUN, IAM = "run.googleapis.com", "iam.googleapis.com"
IN_RUN = f"projects/{PROJECT}/locations/europe-west1"
WEB = Target(TargetKind.SERVICE, PROJECT, "europe-west1", "web")


@pytest.mark.parametrize(
    ("service", "method", "resource", "labels", "expected"),
    [
        (IAM, "google.iam.admin.v1.SetIAMPolicy", f"projects/-/serviceAccounts/{UID}", {"email_id": EMAIL},
         PolicyChange(Target.service_account(PROJECT, EMAIL))),
        (IAM, "google.iam.admin.v1.SetIAMPolicy", f"projects/-/serviceAccounts/{UID}", {},
         PolicyChange(Target.service_account(PROJECT, UID))),
        (IAM, "google.iam.admin.v1.DisableServiceAccount", f"projects/-/serviceAccounts/{UID}",
         {"email_id": EMAIL, "unique_id": UID}, AccountChange(PROJECT, EMAIL, UID)),
        (IAM, "google.iam.admin.v1.DeleteServiceAccount", f"projects/-/serviceAccounts/{UID}", {},
         AccountChange(PROJECT, "", UID)),
        (IAM, "google.iam.admin.v1.CreateServiceAccount", f"projects/{PROJECT}",
         {"email_id": EMAIL, "unique_id": ""}, AccountChange(PROJECT, EMAIL, "")),
        (IAM, "google.iam.admin.v1.PatchServiceAccount", f"projects/{PROJECT}/serviceAccounts/{EMAIL}", {},
         AccountChange(PROJECT, EMAIL, "")),
        (IAM, "google.iam.admin.v1.DisableServiceAccountKey", f"projects/-/serviceAccounts/{UID}/keys/0af",
         {"email_id": EMAIL}, AccountChange(PROJECT, EMAIL, UID, of_keys=True)),
        (IAM, "google.iam.admin.v1.UpdateRole", f"projects/{PROJECT}/roles/reader", {},
         RoleChange(PROJECT, f"projects/{PROJECT}/roles/reader")),
        (IAM, "google.iam.admin.v1.UndeleteRole", "organizations/7/roles/reader", {},
         RoleChange("", "organizations/7/roles/reader")),
        (RUN, "google.cloud.run.v1.Services.ReplaceService", f"namespaces/{PROJECT}/services/web",
         {"location": "europe-west1"}, WorkloadChange(WEB)),
        (RUN, "google.cloud.run.v2.Services.UpdateService", f"{IN_RUN}/services/web", {},
         WorkloadChange(WEB)),
        (RUN, "google.cloud.run.v1.Services.SetIamPolicy", f"{IN_RUN}/services/web", {}, PolicyChange(WEB)),
        (RUN, "google.cloud.run.v2.Services.SetIamPolicy", f"{IN_RUN}/services/web", {}, PolicyChange(WEB)),
        (RUN, "google.cloud.run.v1.Jobs.ReplaceJob", f"namespaces/{PROJECT}/jobs/nightly",
         {"location": "europe-west1"},
         WorkloadChange(Target(TargetKind.JOB, PROJECT, "europe-west1", "nightly"))),
        (RUN, "google.cloud.run.v2.WorkerPools.DeleteWorkerPool", f"{IN_RUN}/workerPools/pull", {},
         WorkloadChange(Target(TargetKind.WORKER_POOL, PROJECT, "europe-west1", "pull"))),
        ("storage.googleapis.com", "storage.setIamPermissions", "projects/_/buckets/exports",
         {"bucket_name": "exports"},
         PolicyChange(Target(TargetKind.STORAGE_BUCKET, PROJECT, name="exports"))),
        ("secretmanager.googleapis.com", "google.cloud.secretmanager.v1.SecretManagerService.SetIamPolicy",
         "projects/987654321/secrets/stripe", {}, PolicyChange(Target.secret(PROJECT, "stripe"))),
        ("cloudkms.googleapis.com", "SetIamPolicy",
         f"projects/{PROJECT}/locations/eur4/keyRings/main/cryptoKeys/card", {},
         PolicyChange(Target(TargetKind.KMS_CRYPTO_KEY, PROJECT, "eur4", "card", "main"))),
        ("cloudfunctions.googleapis.com", "google.cloud.functions.v2.FunctionService.SetIamPolicy",
         "projects/987654321/locations/europe-west1/functions/resize", {},
         PolicyChange(Target(TargetKind.RESOURCE, PROJECT, "europe-west1",
                             "locations/europe-west1/functions/resize",
                             service="cloudfunctions.googleapis.com"))),
        ("orgpolicy.googleapis.com", "google.cloud.orgpolicy.v2.OrgPolicy.UpdatePolicy",
         f"projects/{PROJECT}/policies/iam.disableServiceAccountKeyCreation", {}, ProjectChange(PROJECT)),
        ("cloudresourcemanager.googleapis.com", "SetOrgPolicy", f"projects/{PROJECT}", {},
         ProjectChange(PROJECT)),
        ("cloudresourcemanager.googleapis.com", "DeleteProject", f"projects/{PROJECT}", {},
         ProjectChange(PROJECT)),
    ],
)  # fmt: skip
def test_each_form_of_a_resource_is_found(
    service: str, method: str, resource: str, labels: dict[str, str], expected: object
) -> None:
    assert subject_of(service, method, resource, **labels) == expected


def test_policy_of_a_folder_has_no_project() -> None:
    made = copy.deepcopy(ENTRY)
    made["protoPayload"]["resourceName"] = "folders/556677889900"
    made["resource"]["labels"] = {"folder_id": "556677889900"}
    made["logName"] = "folders/556677889900/logs/cloudaudit.googleapis.com%2Factivity"
    change = parse_entry(json.dumps(made))
    assert isinstance(change, AuditedChange)
    assert change.subject == PolicyChange(Target(TargetKind.FOLDER, "", name="556677889900"))


def test_project_by_number_is_replaced_by_the_id_in_the_name_of_the_log() -> None:
    found = subject_of("pubsub.googleapis.com", "google.iam.v1.IAMPolicy.SetIamPolicy",
                       "projects/987654321/topics/orders", project_id="987654321")  # fmt: skip
    assert found == PolicyChange(Target(TargetKind.PUB_SUB_TOPIC, PROJECT, name="orders"))


@pytest.mark.parametrize("kind", [kind for kind in TARGET_KINDS if kind is not TargetKind.RESOURCE])
def test_audit_methods_of_every_target_kind_are_recognized(kind: TargetKind) -> None:
    descriptor = TARGET_KINDS[kind]
    resource = descriptor.resource_pattern.format(
        project_id=PROJECT, location="europe-west1", parent="main", name="12345678"
    )
    for method in descriptor.audit_methods:
        found = subject_of(descriptor.host, method, resource)
        assert isinstance(found, PolicyChange), (method, resource, found)
        assert (found.target.kind, found.target.name) == (
            kind,
            "" if kind is TargetKind.PROJECT else "12345678",
        )


def test_every_method_of_the_narrowest_filter_is_recognized() -> None:
    for service, methods in audited_methods(list(TARGET_KINDS)).items():
        for method in methods:
            found = parse_entry(entry(service, method, "unknown/form"))
            assert not (isinstance(found, Ignored) and found.reason is IgnoredReason.UNKNOWN_METHOD), method


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("protoPayload", "methodName"), "google.iam.admin.v1.GetRole", IgnoredReason.UNKNOWN_METHOD),
        (("protoPayload", "resourceName"), "odd", IgnoredReason.UNKNOWN_RESOURCE),
        (("protoPayload", "status"), {"code": 7, "message": "no"}, IgnoredReason.REFUSED),
        (("protoPayload", "resourceName"), "folders/7", IgnoredReason.UNKNOWN_RESOURCE),
        (("logName",), f"projects/{PROJECT}/logs/stdout", IgnoredReason.OTHER_LOG),
        (
            ("logName",),
            f"projects/{PROJECT}/logs/my-cloudaudit.googleapis.com%2Factivity",
            IgnoredReason.OTHER_LOG,
        ),
        (("logName",), log_of(f"projects/{PROJECT}") + "-2", IgnoredReason.OTHER_LOG),
        (("logName",), log_of(f"billingAccounts/{PROJECT}"), IgnoredReason.OTHER_LOG),
        (("logName",), f"x/{log_of(f'projects/{PROJECT}')}", IgnoredReason.OTHER_LOG),
        (("timestamp",), "yesterday", IgnoredReason.MALFORMED),
        (("timestamp",), "2026-11-19T13:12:20", IgnoredReason.MALFORMED),
        (("protoPayload",), ["no object"], IgnoredReason.MALFORMED),
    ],
)
def test_entry_without_a_change_is_ignored(
    path: tuple[str, ...], value: object, reason: IgnoredReason
) -> None:
    made = copy.deepcopy(ENTRY)
    inner = made
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    found = parse_entry(json.dumps(made))
    assert isinstance(found, Ignored)
    assert found.reason is reason


def test_project_comes_from_the_log_and_not_from_a_label_that_a_writer_chose() -> None:
    made = copy.deepcopy(ENTRY)
    made["logName"] = log_of("projects/attacker-1")
    made["protoPayload"] |= {"serviceName": "secretmanager.googleapis.com",
                             "resourceName": f"projects/{PROJECT}/secrets/stripe"}  # fmt: skip
    change = parse_entry(json.dumps(made))
    assert isinstance(change, AuditedChange)
    assert change.subject.project_id == "attacker-1"


def test_role_of_an_organization_is_in_the_log_of_this_organization() -> None:
    made = json.loads(entry(IAM, "google.iam.admin.v1.UpdateRole", "organizations/7/roles/reader"))
    assert isinstance(parse_entry(json.dumps(made)), AuditedChange)
    made["logName"] = log_of("organizations/8")
    assert isinstance(parse_entry(json.dumps(made)), Ignored)


@pytest.mark.parametrize("code", [[], {}, "7", None, True, 7.5])
def test_odd_status_code_does_not_raise(code: object) -> None:
    made = copy.deepcopy(ENTRY)
    made["protoPayload"]["status"] = {"code": code}
    assert isinstance(parse_entry(json.dumps(made)), AuditedChange)


def test_call_with_an_unknown_outcome_counts_as_a_change() -> None:
    made = copy.deepcopy(ENTRY)
    made["protoPayload"]["status"] = {"code": 4, "message": "deadline exceeded"}
    assert isinstance(parse_entry(json.dumps(made)), AuditedChange)


def test_caller_without_a_subject_is_named_by_its_email() -> None:
    made = copy.deepcopy(ENTRY)
    made["protoPayload"]["authenticationInfo"] = {"principalEmail": EMAIL}
    change = parse_entry(json.dumps(made))
    assert isinstance(change, AuditedChange)
    assert change.cause.principal == f"serviceAccount:{EMAIL}"


@given(st.binary(max_size=200))
def test_no_bytes_raise(data: bytes) -> None:
    assert isinstance(parse_entry(data), Ignored)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["logName", "protoPayload", "resource", "timestamp"]), JSON)
def test_no_value_of_a_field_raises(field: str, value: object) -> None:
    parse_entry(json.dumps({**ENTRY, field: value}))


@given(
    st.sampled_from(
        ["authenticationInfo", "requestMetadata", "serviceData", "status", "resourceName", "serviceName"]
    ),
    JSON,
)
def test_no_value_of_the_payload_raises(field: str, value: object) -> None:
    made = copy.deepcopy(ENTRY)
    made["protoPayload"][field] = value
    parse_entry(json.dumps(made))
