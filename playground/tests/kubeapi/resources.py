"""The operator's custom resources on an API server over plain HTTPS."""

import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from cloudrun_identity.api import API_VERSION, GROUP, KINDS, VERSION
from cloudrun_identity.api.crd import generate
from cloudrun_identity.api.resource import Scope
from tests.servers.kube_apis import tls_context
from tests.time_budget import HUNG_AFTER, TimeBudget

NAMESPACE = "payments"
POLL_EVERY = 0.05
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class RefusedError(Exception):
    """A refused request: the server's message and the HTTP status `code`."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Resources:
    """The custom resources of one API server, with the user of a kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        self._url: str = cluster["server"]
        self._token: str = config["users"][0]["user"]["token"]
        self._tls = tls_context(cluster)

    def install(self) -> None:
        """Create every CRD, wait until it is established, and create the namespace of the objects."""
        for definition in generate().values():
            self._call("POST", _DEFINITIONS, definition)
        for kind in KINDS:
            self._wait_until_established(kind)
        self._call("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})

    def definition_conditions(self, kind: str) -> dict[str, str]:
        """Return the status of each condition of a kind's CRD by type."""
        definition = self._call("GET", f"{_DEFINITIONS}/{KINDS[kind].plural}.{GROUP}")
        conditions = definition.get("status", {}).get("conditions") or ()
        return {condition["type"]: condition["status"] for condition in conditions}

    def create(self, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        """Create an object under strict field validation. Raises RefusedError."""
        body = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
        return self._call("POST", f"{_path(kind)}?fieldValidation=Strict", body)

    def patch(self, kind: str, name: str, patch: dict[str, Any], subresource: str = "") -> dict[str, Any]:
        """Merge `patch` into an object, or into its subresource such as `/status`. Raises RefusedError."""
        return self._call("PATCH", f"{_path(kind)}/{name}{subresource}?fieldValidation=Strict", patch)

    def delete_all(self) -> None:
        """Delete every object of the operator's kinds."""
        for kind in KINDS:
            self._call("DELETE", _path(kind))

    def _wait_until_established(self, kind: str) -> None:
        budget = TimeBudget()
        while self.definition_conditions(kind).get("Established") != "True":
            if budget.is_spent():
                raise TimeoutError(f"the definition of {kind} is not established")
            time.sleep(POLL_EVERY)

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        content_type = "application/merge-patch+json" if method == "PATCH" else "application/json"
        request = urllib.request.Request(
            self._url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": content_type},
        )
        try:
            with urllib.request.urlopen(request, timeout=HUNG_AFTER, context=self._tls) as response:
                answer: dict[str, Any] = json.load(response)
        except urllib.error.HTTPError as error:
            raise RefusedError(error.code, json.load(error)["message"]) from error
        return answer


def sample_of(schema: dict[str, Any]) -> Any:
    """Return a value that has every field of a schema."""
    match schema:
        case {"properties": properties}:
            return {name: sample_of(child) for name, child in properties.items()}
        case {"items": items}:
            return [sample_of(items)]
        case {"enum": [*_, last]}:
            return last
        case {"format": "date-time"}:
            return "2026-01-02T03:04:05Z"
        case {"type": "integer"}:
            return 7
        case {"type": "boolean"}:
            return True
        case _:
            return "text"


def kinds_with_status() -> list[str]:
    """Return the kinds with a status subresource."""
    return [name for name, kind in KINDS.items() if "status" in kind.model_fields]


def _path(kind: str) -> str:
    space = "" if KINDS[kind].scope is Scope.CLUSTER else f"/namespaces/{NAMESPACE}"
    return f"/apis/{GROUP}/{VERSION}{space}/{KINDS[kind].plural}"
