"""A namespace and a project of one test's own, and the words in which tests speak about them."""

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
    """Objects go by `KIND/NAME`, manifests are YAML.

    `name` is the namespace, the Google Cloud project and the ManagedProject alike; in manifests it stands for
    `$scene`. What is said of every object need not be written: apiVersion, namespace, projectRef.
    """

    def __init__(self, stage: Stage, name: str) -> None:
        self.name = name
        self.stage = stage
        self.cluster: Cluster = stage.cluster
        self.cloud: Cloud = stage.cloud
        self._projects: set[str] = set()
        self._namespaces: set[str] = set()
        self.add_namespace(name)

    @property
    def project(self) -> str:
        """The project as a policy's resource."""
        return f"projects/{self.name}"

    def email(self, account_id: str) -> str:
        return f"{account_id}@{self.name}.iam.gserviceaccount.com"

    def account(self, account_id: str) -> str:
        """An account of the project as a policy's resource."""
        return f"{self.project}/serviceAccounts/{self.email(account_id)}"

    def member(self, account_id: str) -> str:
        """An account of the project as a policy's member."""
        return f"serviceAccount:{self.email(account_id)}"

    def service(self, name: str) -> str:
        return f"{self.project}/locations/{LOCATION}/services/{name}"

    def policy(self) -> Policy:
        """The project's own policy."""
        return self.cloud.policy(self.project)

    def add_namespace(self, name: str) -> str:
        self.cluster.create_namespace(name)
        self._namespaces.add(name)
        return name

    def apply(self, manifests: str, *, namespace: str = "") -> None:
        """Apply every document of `manifests`, in their order."""
        text = Template(manifests).substitute(scene=self.name)
        for obj in yaml.safe_load_all(text):
            self.cluster.apply(self._completed(obj, namespace or self.name))
            if obj["kind"] == "ManagedProject":
                self._projects.add(obj["metadata"]["name"])

    def follow(self, projects: Iterable[str]) -> None:
        """Take note of ManagedProjects that were applied by other means, for the scene's end."""
        self._projects.update(projects)

    def create(self, manifest: str) -> Object:
        """Create one object as it stands; raises ApiException where it is refused."""
        obj = yaml.safe_load(Template(manifest).substitute(scene=self.name))
        return self.cluster.create(self._completed(obj, self.name))

    def patch(self, name: str, change: str, *, namespace: str = "") -> None:
        """Merge the change, which is YAML too, into an object."""
        kind, _, name = name.partition("/")
        self.cluster.patch(kind, name, namespace or self.name, yaml.safe_load(change))

    def spoil(self, name: str, field: str) -> None:
        """Have a field of an object say what it could not, were its kind as the operator knows it."""
        kind, _, _ = name.partition("/")
        with self.cluster.admitting(kind, field, "Perhaps"):
            eventually(lambda: self._is_taken(name, f"spec: {{{field}: Perhaps}}"), bool)

    def get(self, name: str, *, namespace: str = "") -> Object | None:
        kind, _, name = name.partition("/")
        return self.cluster.get(kind, name, namespace or self.name)

    def status(self, name: str, *, namespace: str = "") -> Object:
        found = self.get(name, namespace=namespace)
        assert found is not None, f"{name} is gone"
        status: Object = found.get("status", {})
        return status

    def condition(self, name: str, condition: str, *, namespace: str = "") -> Object | None:
        """A condition, if there is one and it speaks of the object as it is now."""
        found = self.get(name, namespace=namespace)
        assert found is not None, f"{name} is gone"
        return next(
            (
                each
                for each in found.get("status", {}).get("conditions", ())
                if each["type"] == condition and each["observedGeneration"] == found["metadata"]["generation"]
            ),
            None,
        )

    def ready(self, *names: str, namespace: str = "") -> None:
        """Wait until all of them are Ready as they are declared now."""
        for name in names:
            self._until(name, namespace, lambda ready: ready["status"] == "True")

    def fails(self, name: str, reason: str, *, saying: str = "", namespace: str = "") -> str:
        """Wait until Ready is not true for this reason, with a message that has `saying` in it; the message.

        The same reason may be given with another message first, while watches still tell what has changed.
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
        """The state of each of an object's grants by its member, with the reason where there is one."""
        return {
            grant["member"]: " ".join(filter(None, (grant["state"], grant.get("reason"))))
            for grant in self.status(name).get("grants", ())
        }

    def delete(self, *names: str, namespace: str = "") -> None:
        """Ask for the end of objects."""
        for each in names:
            kind, _, name = each.partition("/")
            self.cluster.delete(kind, name, namespace or self.name)

    def gone(self, *names: str, namespace: str = "") -> None:
        """Wait until objects have ended."""
        for name in names:
            eventually(lambda name=name: self.get(name, namespace=namespace), lambda found: found is None)

    def removed(self, *names: str) -> None:
        """Delete objects and see them end."""
        self.delete(*names)
        self.gone(*names)

    def told(self, name: str, reason: str) -> str:
        """Wait for an Event about an object; its message."""
        kind, _, name = name.partition("/")
        events = eventually(
            lambda: dict(self.cluster.events(kind, name, self.name)), lambda events: reason in events
        )
        return events[reason]

    def ledger_targets(self) -> set[str]:
        """The full names of everything in the project whose policy a ledger speaks of."""
        return {
            ledger["spec"]["target"]["fullName"]
            for ledger in self.cluster.all("PolicyLedger", OPERATOR_NAMESPACE)
            if ledger["spec"]["target"]["projectID"] == self.name
        }

    def left_behind(self) -> list[Object]:
        """The accounts in the project that ledgers know to have been left; no ledger holds anything else."""
        ledgers = [
            ledger["spec"]
            for ledger in self.cluster.all("PolicyLedger", OPERATOR_NAMESPACE)
            if ledger["spec"]["target"]["projectID"] == self.name
        ]
        assert not any(ledger.get("bindings") for ledger in ledgers)
        return [ledger["account"] for ledger in ledgers if "abandoned" in ledger.get("account", {})]

    def ledger(self, full_name: str) -> Object:
        """The spec of the ledger of a policy; empty if there is none."""
        spec: Object = self.raw_ledger(full_name).get("spec", {})
        return spec

    def raw_ledger(self, full_name: str) -> Object:
        """The ledger of a policy; empty if there is none."""
        ledgers = self.cluster.all("PolicyLedger", OPERATOR_NAMESPACE)
        return next((each for each in ledgers if each["spec"]["target"]["fullName"] == full_name), {})

    def edit_ledger(self, ledger: Object, change: Object) -> None:
        """Merge a change into the spec of a ledger, as an admin might by hand."""
        name = ledger["metadata"]["name"]
        self.cluster.patch("PolicyLedger", name, OPERATOR_NAMESPACE, {"spec": change})

    def end(self) -> None:
        """Keep the operator from looking at anything of this scene any more."""
        for name in self._projects:
            if self.cluster.get("ManagedProject", name):
                self.cluster.patch("ManagedProject", name, "", {"spec": {"suspend": True}})

    def _is_taken(self, name: str, change: str) -> bool:
        """Merge the change into an object, if the server knows already that it takes it."""
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
