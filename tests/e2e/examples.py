"""Apply, delete and read the examples of the repository."""

from collections.abc import Container
from pathlib import Path

import yaml
from kubernetes.client import ApiException

from tests.e2e.cluster import EVENT_TYPES, NOT_FOUND, Object
from tests.e2e.eventually import becomes, eventually
from tests.e2e.stage import Stage

EXAMPLES = Path(__file__).parents[2] / "examples"
ROLE = "projects/acme-flows/roles/prefectRunner"
"""Custom role of the example with least privilege."""


class Example:
    """Apply the manifests of one example in the order of their files."""

    def __init__(self, stage: Stage, name: str) -> None:
        self._stage = stage
        self._cluster = stage.cluster
        files = sorted((EXAMPLES / name).glob("*.yaml"))
        self._objects: list[Object] = [obj for file in files for obj in yaml.safe_load_all(file.read_text())]

    def apply(self) -> None:
        for obj in self._objects:
            if obj["kind"] == "Namespace":
                self._stage.ensure_namespace(obj["metadata"]["name"])
            else:
                self._cluster.apply(obj)

    def delete(self, *kinds: str) -> None:
        """Delete all objects in the order of their files, as `kubectl delete -f` does; or those of kinds."""
        for obj in self._objects:
            kind, metadata = obj["kind"], obj["metadata"]
            if kinds and kind not in kinds:
                continue
            try:
                if kind == "Namespace":
                    self._cluster.delete_namespace(metadata["name"])
                else:
                    self._cluster.delete(kind, metadata["name"], metadata.get("namespace", ""))
            except ApiException as error:
                if error.status != NOT_FOUND:
                    raise

    def deleted(self, *kinds: str) -> None:
        """Wait until all objects are deleted, or those of kinds."""
        becomes(
            lambda: [name for name in self._present() if not kinds or name.partition("/")[0] in kinds], []
        )

    def ready(self) -> None:
        """Wait until every object is Ready at its current generation."""
        eventually(self._unready, lambda unready: not unready)

    def events(self, types: Container[str] = EVENT_TYPES) -> set[str]:
        """Return the reasons of the Events about the objects, without those of earlier objects."""
        found: set[str] = set()
        for obj in self._objects:
            kind, name = obj["kind"], obj["metadata"]["name"]
            if kind != "Namespace":
                namespace = obj["metadata"].get("namespace", "")
                stored = self._cluster.get(kind, name, namespace)
                uid = stored["metadata"]["uid"] if stored else "none"
                events = self._cluster.events(kind, name, namespace or "default", uid, types=types)
                found |= {reason for reason, _ in events}
        return found

    def status(self, kind: str, name: str, namespace: str) -> Object:
        found = self._cluster.get(kind, name, namespace)
        assert found
        status: Object = found["status"]
        return status

    def message(self, kind: str, name: str, namespace: str) -> str:
        """Return the message of Ready; empty if there is none."""
        found = self._cluster.get(kind, name, namespace) or {}
        conditions = found.get("status", {}).get("conditions", ())
        return next((str(each["message"]) for each in conditions if each["type"] == "Ready"), "")

    def patch_all(self, kind: str, change: Object) -> None:
        """Merge a change into the objects of a kind that still exist."""
        for obj in self._objects:
            metadata = obj["metadata"]
            if obj["kind"] == kind and self._cluster.get(kind, metadata["name"], metadata["namespace"]):
                self._cluster.patch(kind, metadata["name"], metadata["namespace"], change)

    def _present(self) -> list[str]:
        found = []
        for obj in self._objects:
            kind, metadata = obj["kind"], obj["metadata"]
            exists = (
                self._cluster.has_namespace(metadata["name"])
                if kind == "Namespace"
                else self._cluster.get(kind, metadata["name"], metadata.get("namespace", ""))
            )
            if exists:
                found.append(f"{kind}/{metadata['name']}")
        return found

    def _unready(self) -> dict[str, str]:
        states = {}
        for obj in self._objects:
            kind, metadata = obj["kind"], obj["metadata"]
            if kind == "Namespace":
                continue
            found = self._cluster.get(kind, metadata["name"], metadata.get("namespace", ""))
            assert found
            conditions = {each["type"]: each for each in found.get("status", {}).get("conditions", ())}
            ready = conditions.get("Ready")
            if not ready or ready["observedGeneration"] != found["metadata"]["generation"]:
                states[f"{kind}/{metadata['name']}"] = "not observed"
            elif ready["status"] != "True":
                states[f"{kind}/{metadata['name']}"] = ready["message"]
        return states
