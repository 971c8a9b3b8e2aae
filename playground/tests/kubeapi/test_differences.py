"""Differences of the embedded server to a real one, as listed in docs/reference/playground.md.

Each line of the list is tested on both servers.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from playground.tests.kubeapi.http import Object
from playground.tests.kubeapi.widgets import DEFINITIONS, Widgets, definition
from tests.servers.embedded_kubeapi import EmbeddedKubeApi
from tests.servers.kube_apis import KubeApi

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "playground.md"


@dataclass(frozen=True)
class Difference:
    """The results on the embedded and on a real server; `title` is the first cell in the list."""

    title: str
    seen: Callable[[Widgets], Awaitable[Any]]
    embedded: Any
    real: Any


def code_of(method: str, path: str, body: Any = None, **query: str) -> Callable[[Widgets], Awaitable[int]]:
    """Return a check of the status of a response."""

    async def seen(widgets: Widgets) -> int:
        return (await widgets.api.call(method, path, body, **query)).code

    return seen


def code_of_definition(**wanted: Any) -> Callable[[Widgets], Awaitable[int]]:
    """Return a check of the status of a definition that is not stored."""

    async def seen(widgets: Widgets) -> int:
        return (await widgets.api.post(DEFINITIONS, definition(**wanted), dryRun="All")).code

    return seen


def code_of_instance(path: str, spec: Object, **wanted: Any) -> Callable[[Widgets], Awaitable[int]]:
    """Return a check of the status of an instance, or of a path below it."""

    async def seen(widgets: Widgets) -> int:
        made = definition(**wanted)
        names = made["spec"]["names"]
        collection = f"/apis/contract.test/v1/namespaces/{widgets.namespace}/{names['plural']}"
        body = {"apiVersion": "contract.test/v1", "kind": names["kind"], "metadata": {"name": "a"}}
        await widgets.api.post(DEFINITIONS, made)
        try:
            await widgets.api.eventually(collection, 200)
            created = await widgets.api.post(collection, body | {"spec": spec})
            return (await widgets.api.get(collection + path)).code if path else created.code
        finally:
            await widgets.api.delete(f"{DEFINITIONS}/{made['metadata']['name']}")

    return seen


def code_of_form(accept: str) -> Callable[[Widgets], Awaitable[int]]:
    """Return a check of the status of a list in another form."""

    async def seen(widgets: Widgets) -> int:
        return (await widgets.api.call("GET", "/api/v1/namespaces", accept=accept)).code

    return seen


async def marks_of_a_map(widgets: Widgets) -> bool:
    """Return whether the owner of a label owns the map of labels too."""
    created = await widgets.create(metadata={"labels": {"app": "x"}})
    return "." in created["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"]["f:labels"]


async def streams_lists(widgets: Widgets) -> bool:
    """Return whether a watch may start with a list."""
    asked = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "timeoutSeconds": "1"}
    try:
        async with widgets.api.watch("/api/v1/namespaces", **asked):
            return True
    except AssertionError:
        return False


async def tells_not_found_as_status(widgets: Widgets) -> bool:
    """Return whether a 404 has a `Status` as other errors do."""
    refused = await widgets.api.get("/apis/contract.test/v1/nothing")
    assert refused.code == 404
    return isinstance(refused.body, dict) and refused.reason == "NotFound"


async def openapi_v2_definitions(widgets: Widgets) -> bool:
    """Return whether OpenAPI v2 has any definition."""
    return bool((await widgets.api.get("/openapi/v2")).body.get("definitions"))


WEBHOOK = {
    "strategy": "Webhook",
    "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": {"url": "https://127.0.0.1:1/convert"}},
}
SCALE = {"scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}}

DIFFERENCES = [
    Difference(
        "Roles and bindings", code_of("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles"), 404, 200
    ),
    Difference("Pods, Deployments, Jobs and other workloads", code_of("GET", "/api/v1/pods"), 404, 200),
    Difference(
        "Admission webhooks and policies",
        code_of("GET", "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"),
        404,
        200,
    ),
    Difference(
        "`kubectl auth whoami` and `auth can-i --list`",
        code_of("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}),
        404,
        201,
    ),
    Difference("Conversion webhooks", code_of_definition(spec={"conversion": WEBHOOK}), 422, 201),
    Difference(
        "Types and cost of rules",
        code_of_definition(**{"x-kubernetes-validations": [{"rule": "self.size == 'large'"}]}),
        201,
        422,
    ),
    Difference(
        "The `scale` subresource",
        code_of_instance("/a/scale", {"size": 1}, version={"subresources": SCALE}),
        404,
        200,
    ),
    Difference(
        "Seldom `format`s of strings, such as `cidr`",
        code_of_instance("", {"net": "x"}, properties={"net": {"type": "string", "format": "cidr"}}),
        201,
        422,
    ),
    Difference("Streaming lists (`sendInitialEvents`)", streams_lists, False, True),
    Difference("The body of a 404 for a path that is not served", tells_not_found_as_status, True, False),
    Difference("Answers in YAML and protobuf", code_of_form("application/yaml"), 406, 200),
    Difference("OpenAPI v2", openapi_v2_definitions, False, True),
    Difference("`managedFields` of whole maps (`.`)", marks_of_a_map, False, True),
    Difference("Faults on demand", code_of("GET", "/control/faults"), 200, 404),
]


@pytest.fixture
def api_name(kube_api: KubeApi) -> str:
    return "embedded" if isinstance(kube_api, EmbeddedKubeApi) else "real"


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda each: each.title)
async def test_documented_difference_exists_on_both_servers(
    widgets: Widgets, api_name: str, difference: Difference
) -> None:
    assert await difference.seen(widgets) == getattr(difference, api_name)


def test_every_tested_difference_is_documented() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("\n## Differences\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \|", section, flags=re.MULTILINE)[1:]

    assert rows == [difference.title for difference in DIFFERENCES]
