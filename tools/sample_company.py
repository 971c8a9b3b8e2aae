"""The objects of a small company: identities with all risks, and what happened to them."""

from datetime import timedelta

from cloudrun_identity.kube.resources import Objects
from tools.sample_objects import (
    NOW,
    READY,
    TOKENS,
    USER,
    WORKLOAD_IDENTITY,
    ago,
    attachment,
    binding,
    condition,
    drift,
    email,
    event,
    grant,
    identity,
    key,
    project,
    refused,
)


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
