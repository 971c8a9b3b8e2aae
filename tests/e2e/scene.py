"""Environment of one test (`Scene`): its namespace, its project, and helpers to apply and inspect objects."""

import json
import shlex
from collections.abc import Callable, Iterable
from string import Template
from typing import Any

import yaml
from kubernetes.client import ApiException

from tests.e2e.cloud import LOCATION, Cloud, Policy
from tests.e2e.cluster import GROUP, VERSION, Cluster, Object
from tests.e2e.eventually import eventually
from tests.e2e.stage import OPERATOR_NAMESPACE, Stage

FINALIZER = f"{GROUP}/finalizer"


class Scene:
    """Namespace and project of one test. Objects are named `KIND/NAME`, manifests are YAML.

    `name` is the name of the namespace, the Google Cloud project and the ManagedProject. It replaces `$scene`
    in manifests. The scene adds apiVersion, namespace and projectRef to manifests without them.
    """

    def __init__(self, stage: Stage, name: str) -> None:
        self.name = name
        self.stage = stage
        self.cluster: Cluster = stage.cluster
        self.cloud: Cloud = stage.cloud
        self._projects: set[str] = set()
        self._ledger_edits: dict[str, tuple[Object, Object]] = {}
        self._namespaces: set[str] = set()
        self.add_namespace(name)

    @property
    def project(self) -> str:
        """Resource name of the project."""
        return f"projects/{self.name}"

    def email(self, account_id: str) -> str:
        return f"{account_id}@{self.name}.iam.gserviceaccount.com"

    def account(self, account_id: str) -> str:
        """Return the resource name of an account of the project."""
        return f"{self.project}/serviceAccounts/{self.email(account_id)}"

    def member(self, account_id: str) -> str:
        """Return an account of the project as a member."""
        return f"serviceAccount:{self.email(account_id)}"

    def service(self, name: str) -> str:
        return f"{self.project}/locations/{LOCATION}/services/{name}"

    def policy(self) -> Policy:
        """Return the project's policy."""
        return self.cloud.policy(self.project)

    def add_namespace(self, name: str) -> str:
        self.cluster.create_namespace(name)
        self._namespaces.add(name)
        return name

    def apply(self, manifests: str, *, namespace: str = "") -> None:
        """Apply every document of `manifests` in order."""
        text = Template(manifests).substitute(scene=self.name)
        for obj in yaml.safe_load_all(text):
            self.cluster.apply(self._completed(obj, namespace or self.name))
            if obj["kind"] == "ManagedProject":
                self._projects.add(obj["metadata"]["name"])

    def register_projects(self, projects: Iterable[str]) -> None:
        """Register ManagedProjects that were applied by other means, to suspend them at the end."""
        self._projects.update(projects)

    def create(self, manifest: str) -> Object:
        """Create one object; raises ApiException if it is refused."""
        obj = yaml.safe_load(Template(manifest).substitute(scene=self.name))
        return self.cluster.create(self._completed(obj, self.name))

    def patch(self, name: str, change: str, *, namespace: str = "") -> None:
        """Merge a change, written as YAML, into an object."""
        kind, _, name = name.partition("/")
        self.cluster.patch(kind, name, namespace or self.name, yaml.safe_load(change))

    def run_proposed(self, message: str) -> None:
        """Run the kubectl command that a refusal proposes, as a shell would pass its words to kubectl."""
        command = message[message.rindex("kubectl patch managedproject ") :]
        _, _, _, name, kind, _, patch = shlex.split(command)
        assert kind == "--type=json"
        self.cluster.patch_operations("ManagedProject", name, json.loads(patch))

    def make_invalid(self, name: str, field: str) -> None:
        """Set a field of an object to a value that the current CRD refuses."""
        kind, _, _ = name.partition("/")
        with self.cluster.admitting(kind, field, "Perhaps"):
            eventually(lambda: self._is_taken(name, f"spec: {{{field}: Perhaps}}"), bool)

    def get(self, name: str, *, namespace: str = "") -> Object | None:
        kind, _, name = name.partition("/")
        return self.cluster.get(kind, name, namespace or self.name)

    def status(self, name: str, *, namespace: str = "") -> Object:
        found = self.get(name, namespace=namespace)
        assert found is not None, f"{name} does not exist"
        status: Object = found.get("status", {})
        return status

    def condition(self, name: str, condition: str, *, namespace: str = "") -> Object | None:
        """Return a condition, if it exists at the current generation."""
        found = self.get(name, namespace=namespace)
        assert found is not None, f"{name} does not exist"
        return next(
            (
                each
                for each in found.get("status", {}).get("conditions", ())
                if each["type"] == condition and each["observedGeneration"] == found["metadata"]["generation"]
            ),
            None,
        )

    def ready(self, *names: str, namespace: str = "") -> None:
        """Wait until all objects are Ready at their current generation."""
        for name in names:
            self._until(name, namespace, lambda ready: ready["status"] == "True")

    def fails(self, name: str, reason: str, *, saying: str = "", namespace: str = "") -> str:
        """Wait until Ready is not True, with this reason and `saying` in the message; return the message.

        Until all watches have delivered the change, the same reason may have another message.
        """
        ready = self._until(
            name,
            namespace,
            lambda ready: (
                ready["status"] != "True" and ready["reason"] == reason and saying in ready["message"]
            ),
        )
        message: str = ready["message"]
        return message

    def is_stalled(self, name: str, *, namespace: str = "") -> bool:
        stalled = self.condition(name, "Stalled", namespace=namespace)
        return stalled is not None and stalled["status"] == "True"

    def grants(self, name: str) -> dict[str, str]:
        """Return the state and reason of each grant of an object, by member."""
        return {
            grant["member"]: " ".join(filter(None, (grant["state"], grant.get("reason"))))
            for grant in self.status(name).get("grants", ())
        }

    def delete(self, *names: str, namespace: str = "") -> None:
        """Delete objects, without waiting."""
        for each in names:
            kind, _, name = each.partition("/")
            self.cluster.delete(kind, name, namespace or self.name)

    def wait_until_deleted(self, *names: str, namespace: str = "") -> None:
        """Wait until objects are deleted."""
        for name in names:
            eventually(lambda name=name: self.get(name, namespace=namespace), lambda found: found is None)

    def delete_and_wait(self, *names: str) -> None:
        """Delete objects and wait until they are deleted."""
        self.delete(*names)
        self.wait_until_deleted(*names)

    def wait_for_event(self, name: str, reason: str, *, saying: str = "") -> str:
        """Wait for an Event about an object with a text in its message; return the message."""
        kind, _, name = name.partition("/")
        namespace = "default" if kind == "ManagedProject" else self.name
        messages = eventually(
            lambda: [
                message
                for each, message in self.cluster.events(kind, name, namespace)
                if each == reason and saying in message
            ],
            bool,
        )
        return messages[-1]

    def ledger_targets(self) -> set[str]:
        """Return the full names of all targets in the project that have a ledger."""
        return {
            ledger["spec"]["target"]["fullName"]
            for ledger in self.cluster.all("PolicyLedger", OPERATOR_NAMESPACE)
            if ledger["spec"]["target"]["projectID"] == self.name
        }

    def left_behind(self) -> list[Object]:
        """Return the abandoned accounts in the project's ledgers; fail if a ledger has entries."""
        ledgers = [
            ledger["spec"]
            for ledger in self.cluster.all("PolicyLedger", OPERATOR_NAMESPACE)
            if ledger["spec"]["target"]["projectID"] == self.name
        ]
        assert not any(ledger.get("bindings") for ledger in ledgers)
        return [ledger["account"] for ledger in ledgers if "abandoned" in ledger.get("account", {})]

    def ledger(self, full_name: str) -> Object:
        """Return the spec of the ledger of a policy; empty if there is none."""
        spec: Object = self.raw_ledger(full_name).get("spec", {})
        return spec

    def raw_ledger(self, full_name: str) -> Object:
        """Return the ledger of a policy; empty if there is none."""
        ledgers = self.cluster.all("PolicyLedger", OPERATOR_NAMESPACE)
        return next((each for each in ledgers if each["spec"]["target"]["fullName"] == full_name), {})

    def edit_ledger(self, ledger: Object, change: Object) -> None:
        """Merge a change into the spec of a ledger, as an administrator could, until the scene ends."""
        name = ledger["metadata"]["name"]
        self._ledger_edits[name] = ({field: ledger["spec"].get(field) for field in change}, change)
        self.cluster.patch("PolicyLedger", name, OPERATOR_NAMESPACE, {"spec": change})

    def end(self) -> None:
        """Suspend the projects of the scene, so that the operator ignores it, and repair edited ledgers.

        An invalid ledger would hold up the deletions of every later scene on the same API server.
        """
        for name in self._projects:
            if self.cluster.get("ManagedProject", name):
                self.cluster.patch("ManagedProject", name, "", {"spec": {"suspend": True}})
        for name, (before, change) in self._ledger_edits.items():
            stored = self.cluster.get("PolicyLedger", name, OPERATOR_NAMESPACE)
            if stored and change.items() <= stored["spec"].items():
                self.cluster.patch("PolicyLedger", name, OPERATOR_NAMESPACE, {"spec": before})

    def _is_taken(self, name: str, change: str) -> bool:
        """Merge the change into an object; return whether the server accepted it."""
        try:
            self.patch(name, change)
        except ApiException:
            return False
        return True

    def _until(self, name: str, namespace: str, retains: Callable[[Object], bool]) -> Object:
        seen = eventually(
            lambda: self.condition(name, "Ready", namespace=namespace),
            lambda ready: ready is not None and retains(ready),
        )
        assert seen is not None
        return seen

    def _completed(self, obj: dict[str, Any], namespace: str) -> Object:
        metadata, spec = obj["metadata"], obj.setdefault("spec", {})
        if obj["kind"] != "ManagedProject":
            metadata.setdefault("namespace", namespace)
            spec.setdefault("projectRef", {"name": self.name})
        return {"apiVersion": f"{GROUP}/{VERSION}", **obj}
