"""Requests and responses of Cloud Run v1 in its entries, in the form of Knative.

Published entries: https://github.com/nakamasato/cloud-run-slack-bot/blob/main/docs/auditing.md (replace), and
rules/gcp_audit_rules/gcp_cloud_run_service_created.yml of https://github.com/panther-labs/panther-analysis.
"""

from __future__ import annotations

from typing import Any

from google.longrunning import operations_pb2
from google.protobuf import json_format

from cloudrun_identity_playground.emulator.wire.knative import KINDS, to_v1

from .record import Record
from .subjects import Subject

Json = dict[str, Any]

_TYPE = "type.googleapis.com/google.cloud.run.v1."


def is_of_v1(record: Record) -> bool:
    """Return whether a call creates, replaces or deletes a workload over v1."""
    return (
        record.sender.is_version_1
        and record.service.startswith("google.cloud.run.v2.")
        and record.method != "SetIamPolicy"
    )


def request_in_v1(record: Record, subject: Subject) -> Json:
    """Return the request of such a call."""
    kind = next(each for each in KINDS if each.run.noun in record.method)
    method = subject.method.rpartition(".")[2]
    shown: Json = {"@type": f"{_TYPE}{method}Request"}
    if record.method.startswith("Delete"):
        return {**shown, "name": subject.resource}
    field, workload = kind.run.field, dict(record.sender.body)
    if record.method.startswith("Create"):
        return {**shown, "parent": subject.resource.rsplit("/", 2)[0], field: workload}
    return {**shown, "name": subject.name, "region": subject.location, field: workload}


def response_in_v1(record: Record, subject: Subject) -> Json:
    """Return the response of such a call; empty for a deletion."""
    if not isinstance(record.response, operations_pb2.Operation) or record.method.startswith("Delete"):
        return {}
    kind = next(each for each in KINDS if each.run.noun in record.method)
    message = kind.run.message()
    record.response.metadata.Unpack(message)
    shown = json_format.MessageToDict(message)
    return {"@type": f"{_TYPE}{kind.kind}", **to_v1(kind, shown, subject.project_number)}
