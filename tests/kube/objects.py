"""Manifests of the operator's kinds."""

from typing import Any

from cloudrun_identity.api.group import API_VERSION
from cloudrun_identity.kube.resources import Object


def binding(namespace: str, name: str = "web", **metadata: Any) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": "IAMBinding",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": {
            "projectRef": {"name": "payments-prod"},
            "target": {"kind": "Project"},
            "role": "roles/viewer",
            "members": [{"principal": "group:ops@example.com"}],
        },
    }


def managed_project(name: str) -> Object:
    spec = {"projectID": "payments-prod-1234"}
    return {"apiVersion": API_VERSION, "kind": "ManagedProject", "metadata": {"name": name}, "spec": spec}
