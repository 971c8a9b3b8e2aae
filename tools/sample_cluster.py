"""A cluster in memory, for pictures of the web page and for its tests: identities with all risks."""

from collections.abc import Callable, Iterable, Iterator

from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.objects import resource_of
from cloudrun_identity.kube.resources import EVENTS, Object, Objects, Resource, as_sent
from tools.sample_company import story
from tools.sample_objects import TOKENS, USER, identity


def further(count: int) -> Iterator[Object]:
    """Yield as many further identities, spread over namespaces and projects."""
    projects = ("acme-payments", "acme-data", "acme-flows")
    teams = (
        "billing",
        "catalog",
        "fulfillment",
        "loyalty",
        "media",
        "pricing",
        "search",
        "shipping",
        "support",
    )
    services = ("api", "worker", "importer", "notifier", "scheduler", "gateway", "indexer", "archiver")
    for number in range(count):
        team = teams[number % len(teams)]
        name = f"{services[number // len(teams) % len(services)]}-{number // 72 + 1:02}"
        project_id = projects[number % 3]
        yield identity(
            team,
            f"{team}-{name}",
            project_id,
            users=[(USER, f"group:{team}@acme.example")]
            + ([(TOKENS, f"group:{team}-oncall@acme.example")] if number % 7 == 0 else []),
            roles=[("roles/pubsub.subscriber", f"PubSubSubscription {name}")],
            runs=[f"Service {name}"],
        )


class SampleCluster:
    """Implements `overview.cluster_objects.Lister` over objects in memory."""

    server = "https://kubernetes.acme.example:6443"

    def __init__(self, objects: Iterable[Object] = (), events: Iterable[Object] = ()) -> None:
        self._objects = {self._key(obj): obj for obj in objects}
        self.events = list(events)
        self.error: KubeError | None = None
        """Raised by each read if it is set."""

    @classmethod
    def acme(cls, identities: int = 0) -> "SampleCluster":
        """Return the sample with as many further identities."""
        objects, events = story()
        return cls([*objects, *further(identities)], events)

    def put(self, obj: Object) -> None:
        """Store a new version of an object."""
        known = self._objects.get(self._key(obj), obj)
        version = int(known["metadata"]["resourceVersion"]) + 1
        self._objects[self._key(obj)] = obj | {
            "metadata": obj["metadata"] | {"resourceVersion": str(version)}
        }

    def find(self, kind: str, namespace: str, name: str) -> Object:
        """Return the stored version of an object."""
        return self._objects[kind, namespace, name]

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        form: Callable[[Object], Object] = as_sent,
    ) -> Objects:
        """Read all objects of a namespace, or of all namespaces if it is empty."""
        if self.error:
            raise self.error
        if resource == EVENTS:
            return [form(each) for each in self.events]
        return [
            form(obj)
            for (kind, where, _), obj in self._objects.items()
            if resource_of({"kind": kind}) == resource and namespace in ("", where) and not label_selector
        ]

    @staticmethod
    def _key(obj: Object) -> tuple[str, str, str]:
        return obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
