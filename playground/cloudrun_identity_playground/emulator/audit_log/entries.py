"""Log entries as JSON, in the form of `google.logging.v2.LogEntry` with a `google.cloud.audit.AuditLog`.

https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry and
https://cloud.google.com/logging/docs/reference/audit/auditlog/rest/Shared.Types/AuditLog. IAM logs requests
and responses with the names of fields and the numbers of enums as in its protos, other services in the JSON
form of their APIs, as published entries show (see `subjects`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from google.longrunning import operations_pb2
from google.protobuf import json_format

from cloudrun_identity_playground.emulator.access.rules import (
    RULES,
    RequiresPermission,
    RequiresPolicyPermission,
)
from cloudrun_identity_playground.emulator.apis.members import Member
from cloudrun_identity_playground.emulator.apis.target_names import target_name
from cloudrun_identity_playground.emulator.log_router.messages import PACKAGE
from cloudrun_identity_playground.emulator.wire.methods import as_protobuf

from .record import Record, timestamp
from .run_v1 import is_of_v1, request_in_v1, response_in_v1
from .service_data import service_data
from .subjects import Subject
from .system_events import system_event

Json = dict[str, Any]

_LOG = "cloudaudit.googleapis.com%2Factivity"
_AUDIT_LOG = "type.googleapis.com/google.cloud.audit.AuditLog"
_SECRETS = ("private_key_data", "public_key_data", "privateKeyData", "publicKeyData")


def entry_of(record: Record, subject: Subject, shown: Callable[[Member], str], received_at: float) -> Json:
    """Return the log entry of a call. `shown` returns the text of a member of a policy."""
    if record.is_system_event:
        return system_event(record, subject, received_at)
    entry: Json = {
        "protoPayload": _payload(record, subject, shown),
        "insertId": record.insert_id,
        "resource": {"type": subject.type, "labels": dict(subject.labels)},
        "timestamp": timestamp(record.time),
        "severity": "NOTICE" if record.error is None else "ERROR",
        "logName": f"{subject.container}/logs/{_LOG}",
        "receiveTimestamp": timestamp(received_at),
    }
    if record.operation and not record.sender.is_version_1:
        entry["operation"] = {"id": record.operation, "producer": subject.service}
        entry["operation"]["last" if record.ends_operation else "first"] = True
    return entry


def _payload(record: Record, subject: Subject, shown: Callable[[Member], str]) -> Json:
    payload: Json = {
        "@type": _AUDIT_LOG,
        "authenticationInfo": _authentication(record),
        "requestMetadata": _metadata(record),
        "serviceName": subject.service,
        "methodName": subject.method,
        "authorizationInfo": _authorization(record, subject),
        "resourceName": subject.resource,
    }
    if record.error is not None:
        status = record.error.status()
        payload["status"] = {"code": status.code, "message": status.message}
    elif subject.service != "run.googleapis.com":
        payload["status"] = {}
    if subject.service == "storage.googleapis.com":  # logs neither requests nor responses
        payload["resourceLocation"] = {"currentLocations": [subject.labels.get("location", "")]}
    else:
        if subject.location:
            payload["resourceLocation"] = {"currentLocations": [subject.location]}
        payload |= _bodies(record, subject)
    if data := service_data(record, subject, shown):
        payload["serviceData"] = data
    return payload


def _authentication(record: Record) -> Json:
    """Return who called. A federated principal has no e-mail."""
    principal = record.caller.principal
    if principal.startswith(("principal://", "principalSet://")):
        return {"principalSubject": principal}
    return {"principalEmail": record.caller.email, "principalSubject": principal}


def _metadata(record: Record) -> Json:
    sender = record.sender
    attributes: Json = {"time": timestamp(record.time), "auth": {}}
    if sender.reason:
        attributes["reason"] = sender.reason
    metadata: Json = {"callerIp": sender.address or "private"}
    if sender.user_agent:
        metadata["callerSuppliedUserAgent"] = sender.user_agent
    return {**metadata, "requestAttributes": attributes, "destinationAttributes": {}}


def _authorization(record: Record, subject: Subject) -> list[Json]:
    match RULES.get(record.rpc):
        case RequiresPermission(permission):
            pass
        case RequiresPolicyPermission(verb) if target := target_name(record.request.resource, record.rpc):
            permission = f"{target.descriptor.permission_prefix}.{verb}"
        case _:
            return []
    granted = record.error is None or record.error.code is not grpc.StatusCode.PERMISSION_DENIED
    named = subject.type == "service_account" and "/serviceAccounts/" in subject.resource
    attributes = {"name": subject.resource} if named else {}
    authorization: Json = {
        "permission": permission,
        "resource": subject.resource,
        "resourceAttributes": attributes,
    }
    # JSON leaves out fields with default values: no `granted` means that it is false.
    return [{**authorization, **({"granted": True} if granted else {}), "permissionType": "ADMIN_WRITE"}]


def _bodies(record: Record, subject: Subject) -> Json:
    """Return the request and the response. The entry at the end of an operation has no request."""
    bodies: Json = {}
    if is_of_v1(record):
        bodies["request"] = request_in_v1(record, subject)
        if response := response_in_v1(record, subject):
            bodies["response"] = response
        return bodies
    if not record.ends_operation:
        bodies["request"] = _shown(record.request, subject)
    if record.response is not None:
        bodies["response"] = _shown(record.response, subject)
    return bodies


def _shown(message: Any, subject: Subject) -> Json:
    plain = as_protobuf(message)
    as_in_protos = subject.service == "iam.googleapis.com"
    shown: Json = json_format.MessageToDict(
        plain, preserving_proto_field_name=as_in_protos, use_integers_for_enums=as_in_protos
    )
    for secret in _SECRETS:
        shown.pop(secret, None)
    if isinstance(plain, operations_pb2.Operation):
        outcome: Json = shown.get("response") or shown.get("metadata") or {}
        return outcome
    full_name = plain.DESCRIPTOR.full_name.replace(PACKAGE, "google.logging.v2")
    return {"@type": f"type.googleapis.com/{full_name}", **shown}
