"""Labels of PolicyLedger objects."""

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.api import LedgerAccount, TargetKind
from cloudrun_identity.api.status import GrantState
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.labels import labelled, labels
from cloudrun_identity.ledger.model import Ledger, entry_of
from cloudrun_identity.ledger.objects import to_object

ACCOUNT = Target(TargetKind.SERVICE_ACCOUNT, "payments", name="checkout@payments.iam.gserviceaccount.com")
QUALIFIED_NAME = re.compile(r"([-a-z0-9.]{1,253}/)?[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?")
VALUE = re.compile(r"([A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?)?")


def ledger(*owners: str, target: Target = ACCOUNT) -> Ledger:
    grant = Grant(target, "roles/iam.serviceAccountUser", "group:ops@example.com")
    return Ledger.of(target, {grant: entry_of(grant, owners, GrantState.GRANTED)} if owners else {})


def test_ledger_has_labels_for_project_kind_and_namespaces_of_owners() -> None:
    record = LedgerAccount(email=ACCOUNT.name, owner="payments/checkout", owner_uid="uid-1")
    stored = ledger("IAMBinding/ops/web/uid-2").with_account(record)
    assert to_object(stored, {"name": "x", "namespace": "n"})["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "cloudrun-identity",
        "cloudrun-identity.dev/project": "payments",
        "cloudrun-identity.dev/target-kind": "ServiceAccount",
        "owners.cloudrun-identity.dev/ops": "",
        "owners.cloudrun-identity.dev/payments": "",
    }


def test_labels_of_other_clients_remain_and_former_owners_are_removed() -> None:
    metadata = {"name": "x", "labels": {"team": "ops", "owners.cloudrun-identity.dev/former": ""}}
    found = labelled(metadata, ledger("IAMBinding/ops/web/uid-2"))["labels"]
    assert found == {"team": "ops"} | labels(ledger("IAMBinding/ops/web/uid-2"))


def test_domain_scoped_project_is_labelled_without_its_colon() -> None:
    target = replace(ACCOUNT, project_id="example.com:payments")
    assert labels(ledger(target=target))["cloudrun-identity.dev/project"] == "example.com_payments"


def test_labels_never_include_those_by_which_argo_cd_tracks_resources() -> None:
    assert "app.kubernetes.io/instance" not in labels(ledger("IAMBinding/ops/web/uid-2"))


@given(project=st.text(max_size=80), namespace=st.from_regex(r"[^/\s]{1,70}", fullmatch=True))
def test_api_server_accepts_the_labels_of_any_ledger(project: str, namespace: str) -> None:
    found = labels(
        ledger(f"IAMBinding/{namespace}/web/uid", target=Target(TargetKind.PROJECT, project or "p"))
    )
    assert all(QUALIFIED_NAME.fullmatch(key) and VALUE.fullmatch(value) for key, value in found.items())
