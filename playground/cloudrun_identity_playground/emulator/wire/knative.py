"""Services, jobs and worker pools of Cloud Run v1, in the form of Knative, as those of v2 and back.

https://cloud.google.com/run/docs/reference/rest/v1 is the API that `gcloud run` calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor

from cloudrun_identity_playground.emulator.apis.run_kinds import JOB, SERVICE, WORKER_POOL, RunKind
from cloudrun_identity_playground.emulator.errors import invalid

from .knative_annotations import TEMPLATE, WORKLOAD, annotations_of, fields_of
from .knative_template import template_to_v1, template_to_v2

Json = dict[str, Any]

_LOCATION = "cloud.googleapis.com/location"
_LATEST = "_ALLOCATION_TYPE_LATEST"
_STATUS = {"CONDITION_SUCCEEDED": "True", "CONDITION_FAILED": "False"}


DELETED: Json = {"apiVersion": "v1", "kind": "Status", "status": "Success"}
"""The answer to every deletion."""


@dataclass(frozen=True)
class KnativeKind:
    """A kind of workload in v1."""

    run: RunKind
    """The same kind in v2."""
    kind: str
    """Value of `kind`."""
    api: str
    """API group and version, as in `apiVersion` and in URLs."""
    plural: str
    """Collection in URLs."""


KINDS = (
    KnativeKind(SERVICE, "Service", "serving.knative.dev/v1", "services"),
    KnativeKind(JOB, "Job", "run.googleapis.com/v1", "jobs"),
    KnativeKind(WORKER_POOL, "WorkerPool", "run.googleapis.com/v1", "workerpools"),
)


def to_v2(kind: KnativeKind, sent: Mapping[str, Any]) -> Json:
    """Return the message of v2, as JSON, for an object of v1.

    Raises GoogleError: INVALID_ARGUMENT.
    """
    if sent.get("kind") != kind.kind or sent.get("apiVersion") != kind.api:
        raise invalid(
            f"Expected kind {kind.kind} of {kind.api}, not {sent.get('kind')} of {sent.get('apiVersion')}."
        )
    metadata, spec = sent.get("metadata", {}), sent.get("spec", {})
    job = kind.run is JOB
    message: Json = {}
    descriptor = kind.run.message.DESCRIPTOR
    left = fields_of(metadata.get("annotations", {}), WORKLOAD, message, descriptor)
    labels = {name: value for name, value in metadata.get("labels", {}).items() if name != _LOCATION}
    message |= {
        "labels": labels,
        "annotations": left,
        "template": _template_to_v2(
            spec.get("template", {}), descriptor.fields_by_name["template"].message_type, job=job
        ),
    }
    if "resourceVersion" in metadata:
        message["etag"] = f'"{metadata["resourceVersion"]}"'
    if kind.run is SERVICE and "traffic" in spec:
        message["traffic"] = [_share_to_v2(each, "TRAFFIC_TARGET") for each in spec["traffic"]]
    if kind.run is WORKER_POOL and "instanceSplits" in spec:
        message["instanceSplits"] = [_share_to_v2(each, "INSTANCE_SPLIT") for each in spec["instanceSplits"]]
    for token in ("startExecutionToken", "runExecutionToken"):
        if token in spec:
            message[token] = spec[token]
    return message


def to_v1(kind: KnativeKind, message: Mapping[str, Any], number: str) -> Json:
    """Return the object of v1 for a message of v2, as JSON; `number` is that of the project."""
    job = kind.run is JOB
    _, _, _, location, _, name = message["name"].split("/")
    annotations = {
        **message.get("annotations", {}),
        **annotations_of(dict(message), WORKLOAD),
        "serving.knative.dev/creator": message.get("creator", ""),
        "serving.knative.dev/lastModifier": message.get("lastModifier", ""),
    }
    if "run.googleapis.com/ingress" in annotations:
        annotations["run.googleapis.com/ingress-status"] = annotations["run.googleapis.com/ingress"]
    if annotations.get("run.googleapis.com/launch-stage") == "GA":
        del annotations["run.googleapis.com/launch-stage"]
    metadata = {
        "name": name,
        "namespace": number,
        "selfLink": f"/apis/{kind.api}/namespaces/{number}/{kind.plural}/{name}",
        "uid": message.get("uid", ""),
        "resourceVersion": message["etag"].strip('"'),
        "generation": int(message["generation"]),
        "creationTimestamp": message["createTime"],
        "labels": {**message.get("labels", {}), _LOCATION: location},
        "annotations": annotations,
    }
    spec: Json = {"template": _template_to_v1(message["template"], job=job)}
    if "traffic" in message:
        spec["traffic"] = [_share_to_v1(each) for each in message["traffic"]]
    if "instanceSplits" in message:
        spec["instanceSplits"] = [_share_to_v1(each) for each in message["instanceSplits"]]
    shown = {"metadata": metadata, "spec": spec, "status": _status(kind, message)}
    return {"apiVersion": kind.api, "kind": kind.kind, **shown}


def _template_to_v2(template: Mapping[str, Any], message: Descriptor, *, job: bool) -> Json:
    """Return the template of v2; `message` is that of the template."""
    metadata, spec = template.get("metadata", {}), template.get("spec", {})
    converted: Json = {}
    left = fields_of(metadata.get("annotations", {}), TEMPLATE, converted, message)
    if job:
        inner = template_to_v2(spec.get("template", {}).get("spec", {}), left)
        converted["template"] = converted.get("template", {}) | inner
        converted |= {name: spec[name] for name in ("parallelism", "taskCount") if name in spec}
    else:
        converted |= template_to_v2(spec, left)
    if "name" in metadata:
        converted["revision"] = metadata["name"]
    return converted | {"labels": metadata.get("labels", {}), "annotations": left}


def _template_to_v1(template: Mapping[str, Any], *, job: bool) -> Json:
    spec, more = template_to_v1(template["template"] if job else template)
    annotations = {
        **template.get("annotations", {}),
        **annotations_of(dict(template), TEMPLATE),
        **more,
    }
    metadata: Json = {"annotations": annotations, "labels": template.get("labels", {})}
    if template.get("revision"):
        metadata["name"] = template["revision"]
    if job:
        counts = {name: template[name] for name in ("parallelism", "taskCount") if name in template}
        spec = {**counts, "template": {"spec": spec}}
    return {"metadata": {name: value for name, value in metadata.items() if value}, "spec": spec}


def _share_to_v2(share: Mapping[str, Any], prefix: str) -> Json:
    """Return a share of the traffic, or of the instances."""
    latest = share.get("latestRevision", False) or not share.get("revisionName")
    converted: Json = {"type": f"{prefix}{_LATEST if latest else '_ALLOCATION_TYPE_REVISION'}"}
    if not latest:
        converted["revision"] = share["revisionName"]
    return converted | {name: share[name] for name in ("percent", "tag") if name in share}


def _share_to_v1(share: Mapping[str, Any]) -> Json:
    latest = share.get("type", _LATEST).endswith(_LATEST)
    converted: Json = {"latestRevision": True} if latest else {"revisionName": share.get("revision", "")}
    return converted | {name: share[name] for name in ("percent", "tag") if name in share}


def _status(kind: KnativeKind, message: Mapping[str, Any]) -> Json:
    """Return the status; a change that is not done yet has unknown conditions."""
    terminal = message.get("terminalCondition", {})
    at = terminal.get("lastTransitionTime", message["updateTime"])
    state = _STATUS.get(terminal.get("state", ""), "Unknown") if not message.get("reconciling") else "Unknown"
    ready = condition("Ready", state, at, terminal.get("message", ""))
    others = [{**ready, "type": name} for name in kind.run.conditions]
    status: Json = {"observedGeneration": int(message["generation"]), "conditions": [ready, *others]}
    for field in ("latestReadyRevision", "latestCreatedRevision"):
        if field in message:
            status[f"{field}Name"] = message[field].rpartition("/")[2]
    if "uri" in message:
        status |= {"url": message["uri"], "address": {"url": message["uri"]}}
    if "trafficStatuses" in message:
        status["traffic"] = [_observed(each, message) for each in message["trafficStatuses"]]
    if "instanceSplitStatuses" in message:
        status["instanceSplits"] = [_observed(each, message) for each in message["instanceSplitStatuses"]]
    if kind.run is JOB:
        status["executionCount"] = int(message.get("executionCount", 0))
        if latest := message.get("latestCreatedExecution"):
            status["latestCreatedExecution"] = _execution(latest)
    return status


def condition(name: str, status: str, at: str, message: str = "") -> Json:
    """Return a condition of v1."""
    shown = {"type": name, "status": status, "lastTransitionTime": at}
    return {**shown, "message": message} if message else shown


def _observed(share: Mapping[str, Any], message: Mapping[str, Any]) -> Json:
    """Return a share with the revision that it means."""
    shown = _share_to_v1(share)
    if shown.get("latestRevision") and "latestReadyRevision" in message:
        shown["revisionName"] = message["latestReadyRevision"].rpartition("/")[2]
    return shown


def _execution(reference: Mapping[str, Any]) -> Json:
    names = {"name": "name", "createTime": "creationTimestamp", "completionTime": "completionTimestamp"}
    shown = {new: reference[old] for old, new in names.items() if old in reference}
    return shown | {"completionStatus": reference.get("completionStatus", "EXECUTION_RUNNING")}
