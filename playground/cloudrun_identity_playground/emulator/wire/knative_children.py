"""Revisions and executions of Cloud Run v1, which callers read, cancel and delete, but do not write."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from google.cloud import run_v2 as run
from google.protobuf import json_format

from cloudrun_identity_playground.emulator.errors import NotServedError, not_found

from .knative import DELETED, condition
from .knative_template import template_to_v1
from .methods import as_protobuf

Json = dict[str, Any]

_URL = re.compile(
    r"/apis/(?P<api>[a-z.]+/v1)/namespaces/(?P<project>[^/]+)/(?P<plural>revisions|executions)"
    r"(?:/(?P<name>[^/:]+))?(?P<cancel>:cancel)?"
)
_RUN = re.compile(r"/apis/run\.googleapis\.com/v1/namespaces/(?P<project>[^/]+)/jobs/(?P<job>[^/:]+):run")
_PARENTS = (
    ("serving.knative.dev/service", "services", "revisions"),
    ("run.googleapis.com/workerPool", "workerPools", "revisions"),
    ("run.googleapis.com/job", "jobs", "executions"),
)
"""Labels that name the parent, its collection, and the collection of the children."""
_COUNTS = ("runningCount", "succeededCount", "failedCount", "cancelledCount", "retriedCount")


class KnativeChildren:
    """Answers calls about revisions and executions. `call` calls a method of v2."""

    def __init__(self, call: Callable[[str, Any], Any], number_of: Callable[[str], str], region: str) -> None:
        self._call = call
        self._number_of = number_of
        self._region = region

    async def answer(self, verb: str, path: str, selector: str) -> Json | None:
        """Return the response; None if the URL is one of another API.

        `selector` is the label selector of a list, such as `serving.knative.dev/service=web`.

        Raises GoogleError: as the methods of v2.
        """
        if (match := _RUN.fullmatch(path)) is not None and verb == "POST":
            name = f"{self._parent(match['project'])}/jobs/{match['job']}"
            operation = await self._call("google.cloud.run.v2.Jobs/RunJob", run.RunJobRequest(name=name))
            execution = run.Execution.pb()()
            operation.metadata.Unpack(execution)
            return _execution(json_format.MessageToDict(execution), self._number_of(match["project"]))
        if (match := _URL.fullmatch(path)) is None:
            return None
        project, name = match["project"], match["name"]
        found: list[Json] = [
            each async for each in self._of(match["plural"], project, self._number_of(project))
        ]
        if name is None and verb == "GET":
            kind = "RevisionList" if match["plural"] == "revisions" else "ExecutionList"
            items = [each for each in found if _matches(each["metadata"]["labels"], selector)]
            return {"apiVersion": match["api"], "kind": kind, "metadata": {}, "items": items}
        named = next((each for each in found if each["metadata"]["name"] == name), None)
        if named is None:
            raise not_found(f"Resource '{name}' of kind '{match['plural'][:-1].upper()}' does not exist.")
        match verb, match["cancel"]:
            case "GET", None:
                return named
            case "POST", str() if match["plural"] == "executions":
                return await self._cancel(project, named)
            case "DELETE", None:
                noun = "Execution" if match["plural"] == "executions" else "Revision"
                delete = getattr(run, f"Delete{noun}Request")(name=self._full_name(project, named))
                await self._call(f"google.cloud.run.v2.{noun}s/Delete{noun}", delete)
                return DELETED
        raise NotServedError(f"{verb} {path}")

    async def _cancel(self, project: str, execution: Json) -> Json:
        request = run.CancelExecutionRequest(name=self._full_name(project, execution))
        operation = await self._call("google.cloud.run.v2.Executions/CancelExecution", request)
        cancelled = run.Execution.pb()()
        operation.metadata.Unpack(cancelled)
        return _execution(json_format.MessageToDict(cancelled), self._number_of(project))

    def _full_name(self, project: str, shown: Json) -> str:
        """Return the name in v2 of a revision or an execution."""
        labels, name = shown["metadata"]["labels"], shown["metadata"]["name"]
        for label, collection, children in _PARENTS:
            if label in labels:
                return f"{self._parent(project)}/{collection}/{labels[label]}/{children}/{name}"
        raise not_found(f"Resource '{name}' does not exist.")

    async def _of(self, plural: str, project: str, number: str) -> Any:
        """Yield the revisions, or the executions, of a project in the region."""
        parent = self._parent(project)
        if plural == "executions":
            executions = run.ListExecutionsRequest(parent=f"{parent}/jobs/-", page_size=1000)
            listed = await self._call("google.cloud.run.v2.Executions/ListExecutions", executions)
            for each in listed.executions:
                yield _execution(json_format.MessageToDict(as_protobuf(each)), number)
            return
        for collection in ("services", "workerPools"):
            revisions = run.ListRevisionsRequest(parent=f"{parent}/{collection}/-", page_size=1000)
            listed = await self._call("google.cloud.run.v2.Revisions/ListRevisions", revisions)
            for each in listed.revisions:
                yield _revision(json_format.MessageToDict(as_protobuf(each)), collection, number)

    def _parent(self, project: str) -> str:
        return f"projects/{project}/locations/{self._region}"


def _revision(message: Mapping[str, Any], collection: str, number: str) -> Json:
    owner = message["service"]
    group = "serving.knative.dev" if collection == "services" else "run.googleapis.com"
    parent = "service" if collection == "services" else "workerPool"
    spec, annotations = template_to_v1(message)
    metadata = _metadata(message, number, {f"{group}/{parent}": owner, f"{group}/configuration": owner})
    metadata["annotations"] |= annotations
    status = {
        "observedGeneration": 1,
        "conditions": [condition("Ready", "True", message["createTime"])],
        "imageDigest": spec["containers"][0]["image"] if spec["containers"] else "",
    }
    shown = {"metadata": metadata, "spec": spec, "status": status}
    return {"apiVersion": f"{group}/v1", "kind": "Revision", **shown}


def _execution(message: Mapping[str, Any], number: str) -> Json:
    spec, _ = template_to_v1(message["template"])
    counts = {name: message[name] for name in ("parallelism", "taskCount") if name in message}
    states = {"CONDITION_SUCCEEDED": "True", "CONDITION_FAILED": "False"}
    conditions = [
        condition(each["type"], states.get(each.get("state", ""), "Unknown"), each["lastTransitionTime"])
        | _reason(each)
        for each in message.get("conditions", ())
    ]
    started = message.get("startTime", message["createTime"])
    conditions += [condition(name, "True", started) for name in ("ResourcesAvailable", "Started")]
    times = {name: message[name] for name in ("startTime", "completionTime") if name in message}
    status = {"observedGeneration": 1, "conditions": conditions, **times}
    status |= {name: message[name] for name in _COUNTS if name in message}
    metadata = _metadata(message, number, {"run.googleapis.com/job": message["job"]})
    spec = {**counts, "template": {"spec": spec}}
    return {
        "apiVersion": "run.googleapis.com/v1",
        "kind": "Execution",
        "metadata": metadata,
        "spec": spec,
        "status": status,
    }


def _reason(state: Mapping[str, Any]) -> Json:
    """Return the reason of a condition of v2 in v1: `Cancelled` for `CANCELLED`, which gcloud waits for."""
    reason = state.get("executionReason", "")
    return {"reason": "".join(part.capitalize() for part in reason.split("_"))} if reason else {}


def _metadata(message: Mapping[str, Any], number: str, labels: Mapping[str, str]) -> Json:
    return {
        "name": message["name"].rpartition("/")[2],
        "namespace": number,
        "uid": message.get("uid", ""),
        "generation": 1,
        "creationTimestamp": message["createTime"],
        "labels": {**message.get("labels", {}), **labels},
        "annotations": {
            **message.get("annotations", {}),
            "serving.knative.dev/creator": message.get("creator", ""),
        },
    }


def _matches(labels: Mapping[str, str], selector: str) -> bool:
    """Return whether labels meet a selector of equalities."""
    return all(labels.get(name) == value for name, value in _equalities(selector))


def _equalities(selector: str) -> Iterator[tuple[str, str]]:
    for part in filter(None, selector.split(",")):
        name, _, value = part.replace("==", "=").partition("=")
        yield name.strip(), value.strip()
