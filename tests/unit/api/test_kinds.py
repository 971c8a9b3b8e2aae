from typing import Any

import pytest
from pydantic import ValidationError

from cloudrun_identity.api import (
    FINALIZER,
    FORCE_DELETE,
    KINDS,
    RECONCILE_REQUESTED_AT,
    CloudRunIdentity,
    Condition,
    ConditionStatus,
    ConditionType,
    GrantCounts,
    GrantState,
    IdentityAttachment,
    ManagedProject,
    PolicyLedger,
    Reason,
    TargetKind,
    target_text,
)

IDENTITY: dict[str, Any] = {
    "apiVersion": "cloudrun-identity.dev/v1alpha1",
    "kind": "CloudRunIdentity",
    "metadata": {
        "name": "checkout",
        "namespace": "payments",
        "uid": "0b5e",
        "generation": 2,
        "resourceVersion": "41",
        "creationTimestamp": "2026-01-02T03:04:05Z",
        "finalizers": [FINALIZER],
        "annotations": {RECONCILE_REQUESTED_AT: "now", FORCE_DELETE: "true"},
        "managedFields": [{"manager": "kubectl"}],
    },
    "spec": {
        "projectRef": {"name": "payments-prod"},
        "openIDTokenCreators": [{"identityRef": {"name": "ci"}}],
        "fieldOfALaterVersion": 1,
    },
    "status": {
        "observedGeneration": 1,
        "uniqueID": "111",
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "UpToDate",
                "message": "",
                "lastTransitionTime": "2026-01-02T03:04:06Z",
            }
        ],
    },
}


def identity(metadata: dict[str, Any] | None = None, spec: dict[str, Any] | None = None) -> CloudRunIdentity:
    raw = {
        "metadata": IDENTITY["metadata"] | (metadata or {}),
        "spec": IDENTITY["spec"] | (spec or {}),
    }
    return CloudRunIdentity.model_validate(raw)


def test_kinds_have_the_names_of_their_models() -> None:
    assert {name: kind.model_fields["kind"].default for name, kind in KINDS.items()} == {n: n for n in KINDS}


def test_object_is_read_with_defaults() -> None:
    obj = CloudRunIdentity.model_validate(IDENTITY)

    assert obj.metadata.resource_version == "41"
    assert obj.metadata.finalizers == (FINALIZER,)
    assert obj.spec.project_ref.name == "payments-prod"
    assert obj.spec.deletion_policy == "DeleteIfCreated"
    assert obj.spec.open_id_token_creators[0].identity_ref is not None
    assert obj.status.unique_id == "111"
    assert obj.reconcile_requested_at == "now"
    assert not obj.is_deleting


def test_object_survives_a_round_trip() -> None:
    obj = CloudRunIdentity.model_validate(IDENTITY)

    assert CloudRunIdentity.model_validate(obj.to_dict()) == obj


def test_metadata_omits_empty_fields() -> None:
    obj = ManagedProject.model_validate({"metadata": {"name": "p"}, "spec": {}})

    assert obj.to_dict()["metadata"] == {"name": "p"}


def test_list_item_without_kind_is_read() -> None:
    raw = {key: value for key, value in IDENTITY.items() if key not in ("apiVersion", "kind")}

    assert CloudRunIdentity.model_validate(raw).kind == "CloudRunIdentity"


def test_object_of_another_kind_is_refused() -> None:
    with pytest.raises(ValidationError, match="kind"):
        ManagedProject.model_validate(IDENTITY)


def test_objects_are_immutable() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(identity().spec, "disabled", True)  # noqa: B010 (mypy knows that it cannot be assigned)


def test_deletion_timestamp_marks_a_deleted_object() -> None:
    assert identity({"deletionTimestamp": "2026-01-02T03:04:05Z"}).is_deleting


@pytest.mark.parametrize(("spec", "account"), [({}, "checkout"), ({"accountID": "pay-out"}, "pay-out")])
def test_account_id_defaults_to_the_name(spec: dict[str, Any], account: str) -> None:
    assert identity(spec=spec).account_id == account


@pytest.mark.parametrize(("spec", "project"), [({}, "prod-1234"), ({"projectID": "other-1"}, "other-1")])
def test_project_id_defaults_to_the_name(spec: dict[str, Any], project: str) -> None:
    obj = ManagedProject.model_validate({"metadata": {"name": "prod-1234"}, "spec": spec})

    assert obj.project_id == project


@pytest.mark.parametrize(
    ("annotations", "forced"),
    [({FORCE_DELETE: "true"}, True), ({FORCE_DELETE: "no"}, False), ({}, False)],
)
def test_force_delete_requires_the_value_true(annotations: dict[str, str], forced: bool) -> None:
    assert identity({"annotations": annotations}).is_force_deleted is forced


def test_condition_is_found_by_its_type() -> None:
    status = CloudRunIdentity.model_validate(IDENTITY).status
    ready = status.condition(ConditionType.READY)

    assert isinstance(ready, Condition)
    assert (ready.status, ready.reason) == (ConditionStatus.TRUE, Reason.UP_TO_DATE)
    assert status.condition(ConditionType.STALLED) is None


def test_grants_are_counted_by_state() -> None:
    states = [GrantState.GRANTED, GrantState.GRANTED, GrantState.REJECTED]

    assert GrantCounts.of(states) == GrantCounts(granted=2, rejected=1)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (TargetKind.PROJECT, "Project p-1234"),
        (TargetKind.SERVICE_ACCOUNT, "ServiceAccount n"),
        (TargetKind.SERVICE, "Service l/n"),
        (TargetKind.JOB, "Job l/n"),
        (TargetKind.WORKER_POOL, "WorkerPool l/n"),
        (TargetKind.SECRET, "Secret n"),
        (TargetKind.STORAGE_BUCKET, "StorageBucket n"),
        (TargetKind.KMS_CRYPTO_KEY, "KMSCryptoKey l/p/n"),
        (TargetKind.SPANNER_DATABASE, "SpannerDatabase p/n"),
    ],
)
def test_target_text_has_the_kind_and_name(kind: TargetKind, text: str) -> None:
    assert target_text(kind, project_id="p-1234", location="l", parent="p", name="n") == text


def test_workload_text_has_the_kind_location_and_name() -> None:
    raw = {
        "metadata": {"name": "a"},
        "spec": {
            "projectRef": {"name": "p"},
            "workload": {"kind": "Service", "location": "europe-west1", "name": "checkout"},
        },
    }

    assert str(IdentityAttachment.model_validate(raw).spec.workload) == "Service europe-west1/checkout"


def test_ledger_target_has_its_text() -> None:
    target = {"kind": "Service", "projectID": "p", "location": "l", "name": "n", "fullName": "//run/x"}
    ledger = PolicyLedger.model_validate({"metadata": {"name": "x"}, "spec": {"target": target}})

    assert ledger.to_dict()["spec"]["target"]["text"] == "Service l/n"


def test_ledger_fields_of_an_earlier_version_are_renamed() -> None:
    owner = "IAMBinding/payments/web/0b5e"
    earlier = {
        "member": "user:a@example.com",
        "claimants": [owner],
        "foreignBefore": True,
        "state": "Granted",
    }
    spec = {
        "target": {"kind": "Project", "projectID": "p", "fullName": "//x/projects/p"},
        "bindings": [{"role": "roles/viewer", "members": [earlier]}],
        "foreignMembers": 3,
        "unmanagedMembers": 0,
    }
    written = PolicyLedger.model_validate({"metadata": {"name": "x"}, "spec": spec}).to_dict()["spec"]

    (member,) = written["bindings"][0]["members"]
    assert (member["owners"], member["presentBefore"]) == ([owner], True)
    assert written["unmanagedMembers"] == 3
    assert not {"claimants", "foreignBefore"} & member.keys()
    assert "foreignMembers" not in written


def test_observed_generation_is_minus_one_before_first_reconcile() -> None:
    raw = {"metadata": {"name": "p"}, "spec": {}}
    assert ManagedProject.model_validate(raw).status.observed_generation is None
    defaulted = ManagedProject.model_validate(raw | {"status": {"observedGeneration": -1}})
    assert defaulted.status.observed_generation == -1
    assert defaulted.status.condition(ConditionType.READY) is None
