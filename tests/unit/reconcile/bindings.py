"""A binding and its status after a reconcile."""

from datetime import UTC, datetime, timedelta
from typing import Any

from cloudrun_identity.api import IAMBinding, IAMBindingStatus, TargetKind
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.reconcile.outcomes import Outcome
from cloudrun_identity.reconcile.status import Report, status_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=5)
PROJECT = Target(TargetKind.PROJECT, "acme")
SERVICE = Target(TargetKind.SERVICE, "acme", "europe-west1", "web")
ANN = Grant(PROJECT, "roles/run.invoker", "user:ann@example.com")
BOB = Grant(SERVICE, "roles/run.invoker", "user:bob@example.com")


def binding(generation: int = 3, **status: Any) -> IAMBinding:
    return IAMBinding.model_validate(
        {
            "metadata": {"name": "web", "namespace": "payments", "generation": generation},
            "spec": {
                "projectRef": {"name": "acme"},
                "target": {"kind": "Project"},
                "role": "roles/run.invoker",
                "members": [{"principal": "user:ann@example.com"}],
            },
            "status": status,
        }
    )


def with_status(obj: IAMBinding, status: Any) -> IAMBinding:
    return obj.model_copy(update={"status": status})


def after(obj: IAMBinding, outcome: Outcome, now: datetime = NOON, **report: Any) -> IAMBindingStatus:
    status = status_of(obj, Report(outcome, **report), now)
    assert isinstance(status, IAMBindingStatus)
    return status
