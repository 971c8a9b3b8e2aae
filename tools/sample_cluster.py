"""A cluster in memory, for pictures of the web page and for its tests: identities with all risks."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.objects import resource_of
from cloudrun_identity.kube.resources import EVENTS, Object, Objects, Resource, as_sent

NOW = datetime.now(UTC)

USER, TOKENS = "roles/iam.serviceAccountUser", "roles/iam.serviceAccountTokenCreator"
WORKLOAD_IDENTITY = "roles/iam.workloadIdentityUser"


def ago(**duration: float) -> str:
    """Return a time before now, as the API server writes it."""
    return (NOW - timedelta(**duration)).isoformat(timespec="seconds").replace("+00:00", "Z")


def condition(
    kind: str, status: str = "True", reason: str = "UpToDate", message: str = "", since: str = ""
) -> Object:
    """Return a condition of a status."""
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since or ago(days=6),
        "observedGeneration": 1,
    }


READY = (
    condition("Ready", message="The account, its grants and its users are as declared."),
    condition("InSync", message="Google Cloud is as declared."),
)


def custom_object(
    kind: str, namespace: str, name: str, spec: Object, status: Object, created: str = ""
) -> Object:
    """Return an object that the operator has reconciled."""
    metadata = {
        "name": name,
        "uid": f"{kind}-{namespace}-{name}",
        "resourceVersion": "1",
        "generation": 1,
        "creationTimestamp": created or ago(days=41),
    }
    if namespace:
        metadata["namespace"] = namespace
    return {
        "apiVersion": "cloudrun-identity.dev/v1alpha1",
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
        "status": {"observedGeneration": 1, "conditions": list(READY), **status},
    }


def project(name: str, number: int, **status: Any) -> Object:
    """Return a ManagedProject."""
    known = {"projectID": name, "projectNumber": str(number)}
    return custom_object("ManagedProject", "", name, {"namespaces": {"names": ["payments"]}}, known | status)


def email(account: str, project_id: str) -> str:
    """Return the e-mail of an account."""
    return f"{account}@{project_id}.iam.gserviceaccount.com"


def grant(role: str, member: str, target: str, state: str = "Granted", **more: str) -> Object:
    """Return a grant in a status."""
    return {"role": role, "member": member, "target": target, "state": state, **more}


def identity(
    namespace: str,
    name: str,
    project_id: str,
    *,
    users: Iterable[tuple[str, str]] = (),
    roles: Iterable[tuple[str, str]] = (),
    runs: Iterable[str] = (),
    **status: Any,
) -> Object:
    """Return a CloudRunIdentity. `users` are (role, member), `roles` are (role, target)."""
    account = email(name, project_id)
    member = f"serviceAccount:{account}"
    grants = [
        *(grant(role, user, f"ServiceAccount {account}") for role, user in users),
        *(grant(role, member, target) for role, target in roles),
    ]
    known = {
        "email": account,
        "member": member,
        "name": f"projects/{project_id}/serviceAccounts/{account}",
        "uniqueID": str(abs(hash(account)))[:21],
        "origin": "Created",
        "projectID": project_id,
        "grants": grants,
        "grantCounts": {"granted": len(grants)},
        "lastGrantedTime": ago(days=6, minutes=2),
        "attachedTo": [
            {"projectID": project_id, "kind": kind, "location": "europe-west1", "name": workload}
            for kind, _, workload in (run.partition(" ") for run in runs)
        ],
    }
    spec = {"projectRef": {"name": project_id}, "displayName": name.replace("-", " ").capitalize()}
    return custom_object("CloudRunIdentity", namespace, name, spec, known | status)


def binding(namespace: str, name: str, project_id: str, *grants: Object, **status: Any) -> Object:
    """Return an IAMBinding with these grants."""
    spec = {
        "projectRef": {"name": project_id},
        "target": {"kind": "Project"},
        "role": grants[0]["role"],
        "members": [{"principal": "allUsers"}],
    }
    known = {"grants": list(grants), "projectID": project_id, "role": grants[0]["role"]}
    return custom_object("IAMBinding", namespace, name, spec, known | status)


def attachment(namespace: str, name: str, project_id: str, account: str, **status: Any) -> Object:
    """Return an IdentityAttachment of a service with the name of the object."""
    spec = {
        "projectRef": {"name": project_id},
        "workload": {"kind": "Service", "location": "europe-west1", "name": name},
        "identityRef": {"name": account},
    }
    known = {"projectID": project_id, "identity": account, "workload": f"Service europe-west1/{name}"}
    return custom_object("IdentityAttachment", namespace, name, spec, known | status)


def key(namespace: str, name: str, project_id: str, account: str) -> Object:
    """Return an IdentityKey that was rotated two days ago."""
    keys = [
        {"id": "9f2c41d07be84a11", "state": "Active", "createdTime": ago(days=2)},
        {"id": "5e1180cc93d24f70", "state": "Overlap", "createdTime": ago(days=32)}
        | {"disableAfter": ago(days=-1), "deleteAfter": ago(days=-8)},
    ]
    return custom_object(
        "IdentityKey",
        namespace,
        name,
        {
            "projectRef": {"name": project_id},
            "identityRef": {"name": account},
            "secretName": f"{name}-key",
        },
        {"projectID": project_id, "keys": keys, "activeKeyID": keys[0]["id"]}
        | {"nextRotationTime": ago(days=-28)},
    )


def drift(count: int, *changes: str, detected: str, repaired: str = "") -> Object:
    """Return the drift of a status."""
    known: Object = {"count": count, "lastDetectedTime": detected, "changes": list(changes)}
    return known | ({"lastRepairedTime": repaired} if repaired else {})


def refused(reason: str, message: str, since: str) -> list[Object]:
    """Return the conditions of an object that needs a person."""
    return [
        condition("Ready", "False", reason, message, since),
        condition("Stalled", "True", reason, message, since),
        condition("InSync", "Unknown", reason, message, since),
    ]


def event(obj: Object, reason: str, message: str, at: str, *, warning: bool = False) -> Object:
    """Return an Event about an object."""
    metadata = obj["metadata"]
    name = f"{metadata['name']}.{reason.lower()}"
    return {
        "metadata": {"name": name, "uid": f"event-{metadata['uid']}-{name}", "resourceVersion": "1"},
        "involvedObject": {"kind": obj["kind"], "name": metadata["name"], "uid": metadata["uid"]},
        "reason": reason,
        "message": message,
        "type": "Warning" if warning else "Normal",
        "lastTimestamp": at,
        "count": 1,
    }


def story() -> tuple[Objects, Objects]:
    """Return the objects of a small company and their Events."""
    shop, data, flows = "acme-payments", "acme-data", "acme-flows"
    runner = f"serviceAccount:{email('flow-runner', flows)}"
    checkout = identity(
        "payments",
        "checkout",
        shop,
        users=[
            (USER, "group:payments-deployers@acme.example"),
            (USER, "user:ann@acme.example"),
            (TOKENS, "group:payments-oncall@acme.example"),
            (TOKENS, runner),
            (
                WORKLOAD_IDENTITY,
                "principal://iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/github/"
                "subject/repo:acme/checkout",
            ),
        ],
        roles=[
            ("roles/cloudsql.client", f"Project {shop}"),
            ("roles/secretmanager.secretAccessor", "Secret stripe-api-key"),
            ("roles/pubsub.publisher", "PubSubTopic orders"),
            ("roles/run.invoker", "Service europe-west1/fraud-check"),
        ],
        runs=["Service checkout", "Job settle-payments"],
        lastUsed=(NOW - timedelta(days=1)).date().isoformat(),
        recommendations=[
            {
                "kind": "ExcessPermissions",
                "text": f"roles/cloudsql.client on project {shop}: 1 of 3 permissions used in 90 days; "
                "instead: roles/cloudsql.viewer",
                "source": "Recommender",
                "role": "roles/cloudsql.client",
                "replaceBy": ["roles/cloudsql.viewer"],
                "since": ago(days=12),
            }
        ],
    )
    loader_account = email("warehouse-loader", data)
    loader = identity(
        "data",
        "warehouse-loader",
        data,
        users=[(USER, "group:data-platform@acme.example"), (TOKENS, runner)],
        roles=[
            ("roles/bigquery.dataEditor", f"Project {data}"),
            ("roles/storage.objectUser", "StorageBucket lake"),
        ],
        runs=["Job load-warehouse"],
    )
    flow_runner = identity(
        "flows",
        "flow-runner",
        flows,
        users=[
            (USER, "group:flow-authors@acme.example"),
            (
                WORKLOAD_IDENTITY,
                "serviceAccount:acme-flows.svc.id.goog[flows/prefect-worker]",
            ),
        ],
        roles=[
            (TOKENS, f"ServiceAccount {loader_account}"),
            (TOKENS, f"ServiceAccount {email('checkout', shop)}"),
            ("roles/run.developer", f"Project {flows}"),
        ],
        runs=["WorkerPool prefect-workers"],
    )
    export = identity(
        "payments",
        "ledger-export",
        shop,
        users=[(USER, "group:finance-it@acme.example")],
        roles=[("roles/storage.objectCreator", "StorageBucket acme-ledgers")],
        unmanagedKeys=[
            {
                "id": "c07b6a1de2f94835",
                "createdTime": ago(days=412),
                "lastUsed": (NOW - timedelta(days=97)).date().isoformat(),
            }
        ],
    )
    reports = identity(
        "data",
        "reports",
        data,
        users=[(USER, "group:analysts@acme.example")],
        conditions=refused(
            "DeniedByGuardrail",
            "roles/editor on Project acme-data is denied for identity:data/reports: no entry of "
            "guardrails.grants admits it. Use roles/bigquery.dataViewer, or add the role to the "
            "guardrails of ManagedProject acme-data.",
            ago(hours=3),
        ),
        grants=[
            grant(
                "roles/editor",
                "identity:data/reports",
                f"Project {data}",
                "Rejected",
                reason="DeniedByGuardrail",
            ),
            grant(USER, "group:analysts@acme.example", f"ServiceAccount {email('reports', data)}"),
        ],
    )
    terraform = identity(
        "platform",
        "project-factory",
        flows,
        users=[
            (TOKENS, "group:platform@acme.example"),
            ("roles/iam.serviceAccountAdmin", "user:root@acme.example"),
        ],
        roles=[("roles/resourcemanager.projectIamAdmin", f"Project {flows}")],
        runs=["Job apply-terraform"],
    )
    storefront = identity(
        "web",
        "storefront",
        shop,
        users=[(USER, "group:web@acme.example")],
        roles=[("roles/run.invoker", "Service europe-west1/checkout")],
        runs=["Service storefront"],
    )
    moved = attachment(
        "payments",
        "checkout",
        shop,
        "checkout",
        currentServiceAccount=email("checkout", shop),
        lastReassignment={
            "serviceAccount": email("checkout", shop),
            "generation": 7,
            "time": ago(minutes=4, seconds=9),
        },
        drift=drift(
            3,
            f"Service europe-west1/checkout: serviceAccount: {email('checkout', shop)} → "
            "31415926535-compute@developer.gserviceaccount.com",
            detected=ago(minutes=4, seconds=12),
            repaired=ago(minutes=4, seconds=9),
        )
        | {
            "causes": [
                {
                    "method": "google.cloud.run.v2.Services.UpdateService",
                    "time": ago(minutes=4, seconds=15),
                    "principal": "user:dana@acme.example",
                    "userAgent": "google-cloud-sdk gcloud/548.0.0",
                }
            ]
        },
    )
    old_revision = attachment(
        "web",
        "storefront",
        shop,
        "storefront",
        conditions=refused(
            "RevisionFailed",
            "Service europe-west1/storefront: revision storefront-00042 did not start as "
            f"{email('storefront', shop)}: secret “session-key” is not accessible. Grant "
            "roles/secretmanager.secretAccessor on Secret session-key.",
            ago(minutes=26),
        ),
    )
    public = binding(
        "web",
        "storefront-visitors",
        shop,
        grant("roles/run.invoker", "allUsers", "Service europe-west1/storefront"),
    )
    viewers = binding(
        "data",
        "warehouse-viewers",
        data,
        grant("roles/bigquery.dataViewer", "group:analysts@acme.example", f"Project {data}"),
        drift=drift(
            1,
            "roles/bigquery.dataViewer on Project acme-data: group:analysts@acme.example: granted → removed",
            detected=ago(hours=2, minutes=11),
            repaired=ago(hours=2, minutes=10, seconds=58),
        ),
    )
    objects = [
        project(
            shop,
            31415926535,
            conditions=[
                *READY,
                condition(
                    "ChangeFeedReady",
                    reason="Receiving",
                    message="Entries of the audit log arrive 2 s after the change",
                ),
            ],
        ),
        project(
            data,
            27182818284,
            conditions=[
                *READY,
                condition(
                    "Degraded",
                    "True",
                    "MissingPermissions",
                    "The operator lacks iam.roles.update in acme-data: custom roles are not repaired.",
                    ago(hours=9),
                ),
            ],
            orphans=[
                {"resource": f"//iam.googleapis.com/projects/{data}/serviceAccounts/old", "reason": "in use"}
                | {"since": ago(days=1)}
            ],
        ),
        project(
            flows,
            16180339887,
            workloadsOnDefaultIdentity=[
                {"kind": "Job", "location": "europe-west1", "name": "nightly-cleanup"}
            ],
        ),
        *(checkout, loader, flow_runner, export, reports, terraform, storefront),
        *(moved, old_revision, public, viewers),
        key("payments", "ledger-export", shop, "ledger-export"),
    ]
    events = [
        event(
            moved,
            "DriftDetected",
            "serviceAccount: Service europe-west1/checkout runs as the default account",
            ago(minutes=4, seconds=12),
            warning=True,
        ),
        event(
            moved,
            "DriftRepaired",
            "Service europe-west1/checkout runs as checkout again",
            ago(minutes=4, seconds=9),
        ),
        event(
            old_revision,
            "RevisionFailed",
            "revision storefront-00042 did not start",
            ago(minutes=26),
            warning=True,
        ),
    ]
    return objects, events


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
