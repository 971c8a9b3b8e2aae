"""Entries of Cloud Run in the System Event log: a service became ready, or its new revision failed.

They name no caller. Published entries: tests/unit/extraction_rules/test_audit_system_event.py of
https://github.com/dynatrace-oss/dynatrace-gcp-monitor. Filters of https://github.com/DefangLabs/defang name
the methods.
"""

from __future__ import annotations

from typing import Any

from .record import Record, timestamp
from .run_v1 import response_in_v1
from .subjects import Subject

Json = dict[str, Any]

_SERVICES = "google.cloud.run.v2.Services"


def is_of_service(record: Record) -> bool:
    """Return whether a call deploys a service."""
    return record.service == _SERVICES and record.method in ("CreateService", "UpdateService")


def system_event(record: Record, subject: Subject, received_at: float) -> Json:
    """Return the entry at the end of a deployment."""
    project, service = subject.container.partition("/")[2], subject.name.rpartition("/")[2]
    status: Json = {"message": f"Ready condition status changed to True for Service {service}."}
    if record.error is not None:
        code = record.error.status().code
        message = f"Ready condition status changed to False for Service {service}. {record.error.message}"
        status = {"code": code, "message": message}
    response = response_in_v1(record, subject)
    return {
        "protoPayload": {
            "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
            "status": status,
            "serviceName": subject.service,
            "methodName": f"/Services.{subject.method.rpartition('.')[2]}",
            "resourceName": f"namespaces/{project}/services/{service}",
            **({"response": response} if response else {}),
        },
        "insertId": record.insert_id,
        "resource": {"type": subject.type, "labels": dict(subject.labels)},
        "timestamp": timestamp(record.time),
        "severity": "INFO" if record.error is None else "ERROR",
        "logName": f"{subject.container}/logs/cloudaudit.googleapis.com%2Fsystem_event",
        "receiveTimestamp": timestamp(received_at),
    }
