"""The commands of gcloud that people use around the identities of Cloud Run: each runs, or is refused.

A line is a command, and after ` => ` what its error has to say. Refusals are Google's, gcloud's own, or one
line that names a method that the emulator does not serve.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudrun_identity_playground.emulator import Emulator, Seed

from .gcloud import Gclouds, needs_gcloud_sources

pytestmark = [pytest.mark.slow, needs_gcloud_sources]

NUMBER, ORGANIZATION, FOLDER = "123456789012", "334455667788", "556677889900"
MISSING = "nobody@shop.iam.gserviceaccount.com"
EMAIL, OTHER = "checkout@shop.iam.gserviceaccount.com", "auditor@shop.iam.gserviceaccount.com"
ANN = "--member=user:ann@example.com"
REGION = "--location=europe-west1"
UNTIL = '--condition=expression=request.time<timestamp("2030-01-01T00:00:00Z"),title=until'
FULL_NAME = "//cloudresourcemanager.googleapis.com/projects/shop"
TROUBLED = "--principal-email=ann@example.com --permission=run.services.get"
RECOMMENDER = "--project=shop --recommender=google.iam.policy.Recommender"
OBJECTS = "roles/storage.objectUser"
IMAGES = "us-docker.pkg.dev/cloudrun/container"
RESOURCES = [
    {"kind": "RegionalSecret", "name": "eu-key", "location": "europe-west1"},
    {"kind": "StorageBucket", "name": "shop-receipts"},
    {"kind": "StorageBucket", "name": "shop-acls", "uniformBucketLevelAccess": False},
    {"kind": "PubSubTopic", "name": "orders"},
    {"kind": "PubSubSubscription", "name": "orders-mail"},
    {"kind": "ArtifactRegistryRepository", "name": "images", "location": "europe-west1"},
    {"kind": "CloudTasksQueue", "name": "mails", "location": "europe-west1"},
    {"kind": "KMSKeyRing", "name": "ring", "location": "europe-west1"},
    {"kind": "KMSCryptoKey", "name": "seal", "location": "europe-west1", "parent": "ring"},
    {"kind": "SpannerInstance", "name": "ledger-db"},
    {"kind": "SpannerDatabase", "name": "books", "parent": "ledger-db"},
    {"kind": "BigtableInstance", "name": "events-db"},
]
SHOP = {
    "projectID": "shop",
    "projectNumber": NUMBER,
    "parent": f"folders/{FOLDER}",
    "secrets": [{"name": "stripe-key"}],
    "serviceAccounts": [{"accountID": "checkout"}, {"accountID": "auditor"}],
    "resources": RESOURCES,
}
SEED = {
    "organizations": [{"organizationID": ORGANIZATION, "displayName": "example.com"}],
    "folders": [{"folderID": FOLDER, "displayName": "shops", "parent": f"organizations/{ORGANIZATION}"}],
    "projects": [SHOP],
}
FILES = {
    "claims.json": '{"sub": "checkout"}',
    "role.yaml": "title: Flows\nstage: GA\nincludedPermissions: [run.jobs.run]\n",
    "condition.yaml": "title: until\nexpression: request.time < timestamp('2030-01-01T00:00:00Z')\n",
    "constraint.yaml": (
        "name: projects/shop/policies/iam.disableServiceAccountCreation\nspec: {rules: [{enforce: true}]}\n"
    ),
}


def policy_commands(group: str, resource: str, role: str, flags: str = "") -> Iterator[str]:
    """Yield the commands of a resource with a policy."""
    grant = f"{group} {{}}-iam-policy-binding {resource} {flags} {ANN} --role={role}"
    yield grant.format("add")
    yield f"{group} get-iam-policy {resource} {flags} --format=json > policy.json"
    yield f"{group} set-iam-policy {resource} policy.json {flags}"
    yield grant.format("remove")


ACCOUNTS = f"""
iam service-accounts list
iam service-accounts create checkout => already exists
iam service-accounts create shopper --display-name=Shopper --description=Buys
iam service-accounts describe {EMAIL}
iam service-accounts describe {MISSING} => iam.serviceAccounts.get
iam service-accounts update {EMAIL} --description=Pays
iam service-accounts disable {OTHER}
iam service-accounts enable {OTHER}
iam service-accounts keys create key.json --iam-account={EMAIL}
iam service-accounts keys list --iam-account={EMAIL} --managed-by=user --format=value(name) > key
iam service-accounts keys disable @key --iam-account={EMAIL}
iam service-accounts keys enable @key --iam-account={EMAIL}
beta iam service-accounts keys get-public-key @key --iam-account={EMAIL} --output-file=public.pem
iam service-accounts keys upload public.pem --iam-account={EMAIL}
iam service-accounts keys delete @key --iam-account={EMAIL}
iam service-accounts sign-jwt claims.json signed.jwt --iam-account={EMAIL}
iam service-accounts sign-blob claims.json signed.bin --iam-account={EMAIL}
auth print-access-token --impersonate-service-account={EMAIL}
iam service-accounts list --impersonate-service-account={EMAIL} => iam.serviceAccounts.list
iam service-accounts describe {OTHER} --format=value(uniqueId) > uid
iam service-accounts delete {OTHER}
iam service-accounts undelete @uid
iam list-grantable-roles //iam.googleapis.com/projects/shop/serviceAccounts/{EMAIL}
iam list-testable-permissions //iam.googleapis.com/projects/shop/serviceAccounts/{EMAIL}
iam roles create flows --project=shop --file=role.yaml
iam roles describe flows --project=shop
iam roles describe roles/run.invoker
iam roles list --project=shop
iam roles update flows --project=shop --add-permissions=run.services.get
iam roles copy --source=roles/run.invoker --destination=callers --dest-project=shop
iam roles delete flows --project=shop
iam roles undelete flows --project=shop
iam roles create lookout --organization={ORGANIZATION} --permissions=resourcemanager.projects.get
iam roles list --organization={ORGANIZATION}
"""

PROJECTS = f"""
projects list
projects describe shop
projects get-ancestors shop
projects get-ancestors-iam-policy shop
projects add-iam-policy-binding shop {ANN} --role=roles/run.viewer {UNTIL}
projects add-iam-policy-binding shop {ANN} --role=roles/run.viewer --condition-from-file=condition.yaml
projects remove-iam-policy-binding shop {ANN} --role=roles/run.viewer --all
projects add-iam-policy-binding shop {ANN} --role=roles/viewer {UNTIL} => basic role is not allowed
projects get-iam-policy shop --flatten=bindings --filter=bindings.members:ann --format=value(bindings.role)
projects create newer-shop => does not serve POST /v1/projects
projects update shop --name=Shop => does not serve PUT /v1/projects/shop
projects delete shop => does not serve DELETE /v1/projects/shop
resource-manager folders list --organization={ORGANIZATION}
resource-manager folders describe {FOLDER}
organizations list
organizations describe {ORGANIZATION}
resource-manager org-policies list --project=shop
resource-manager org-policies describe iam.disableServiceAccountKeyCreation --project=shop --effective
resource-manager org-policies enable-enforce iam.disableServiceAccountKeyCreation --project=shop
iam service-accounts keys create key.json --iam-account={EMAIL} => disableServiceAccountKeyCreation
resource-manager org-policies disable-enforce iam.disableServiceAccountKeyCreation --project=shop
resource-manager org-policies allow iam.allowedPolicyMemberDomains C01abcdef --project=shop
resource-manager org-policies delete iam.allowedPolicyMemberDomains --project=shop
org-policies set-policy constraint.yaml
org-policies list --project=shop
org-policies describe iam.disableServiceAccountCreation --project=shop --effective
org-policies reset iam.disableServiceAccountCreation --project=shop
org-policies delete iam.disableServiceAccountCreation --project=shop
org-policies list-custom-constraints --organization={ORGANIZATION}
services enable run.googleapis.com iam.googleapis.com --project=shop
services disable run.googleapis.com => does not serve
policy-troubleshoot iam {FULL_NAME} {TROUBLED} => does not serve POST policytroubleshooter
asset search-all-iam-policies --scope=projects/shop => does not serve GET cloudasset
recommender recommendations list {RECOMMENDER} --location=global
iam workload-identity-pools list --location=global => does not serve GET
"""

RUN = f"""
run regions list
run deploy web --image={IMAGES}/hello --service-account={EMAIL} --no-allow-unauthenticated
run deploy web --image={IMAGES}/hello --service-account={MISSING} => iam.serviceaccounts.actAs
run services list
run services describe web --format=value(spec.template.spec.serviceAccountName)
run services describe web --format=export > service.yaml
run services replace service.yaml
run services update web --service-account={OTHER}
run services update-traffic web --to-latest
run revisions list --service=web
run services describe none => Cannot find service
run jobs deploy nightly --image={IMAGES}/job --service-account={EMAIL}
run jobs list
run jobs describe nightly --format=export > job.yaml
run jobs replace job.yaml
run jobs update nightly --service-account={OTHER}
run jobs execute nightly
run jobs executions list --job=nightly --format=value(metadata.name) > execution
run jobs executions describe @execution
run jobs executions cancel @execution
run jobs executions delete @execution
run jobs executions tasks list --execution=none => does not serve GET .*/tasks
beta run worker-pools deploy queue --image={IMAGES}/worker-pool --service-account={EMAIL}
beta run worker-pools list
beta run worker-pools describe queue --format=export > pool.yaml
beta run worker-pools replace pool.yaml
beta run worker-pools update queue --service-account={OTHER}
beta run worker-pools revisions list --worker-pool=queue
beta run worker-pools delete queue
scheduler jobs list {REGION} => does not serve GET cloudscheduler
"""

WORKLOAD_POLICIES = [
    *policy_commands("run services", "web", "roles/run.invoker"),
    *policy_commands("run jobs", "nightly", "roles/run.invoker"),
    "run jobs delete nightly",
    "run services delete web",
]

POLICIES = [
    *policy_commands("iam service-accounts", EMAIL, "roles/iam.serviceAccountUser"),
    *policy_commands("projects", "shop", "roles/run.developer"),
    *policy_commands("resource-manager folders", FOLDER, "roles/run.viewer"),
    *policy_commands("organizations", ORGANIZATION, "roles/browser"),
    *policy_commands("secrets", "stripe-key", "roles/secretmanager.secretAccessor"),
    *policy_commands("secrets", "eu-key", "roles/secretmanager.secretAccessor", REGION),
    *policy_commands("storage buckets", "gs://shop-receipts", "roles/storage.objectViewer"),
    *policy_commands("pubsub topics", "orders", "roles/pubsub.publisher"),
    *policy_commands("pubsub subscriptions", "orders-mail", "roles/pubsub.subscriber"),
    *policy_commands("artifacts repositories", "images", "roles/artifactregistry.reader", REGION),
    *policy_commands("tasks queues", "mails", "roles/cloudtasks.enqueuer", REGION),
    *policy_commands("kms keyrings", "ring", "roles/cloudkms.viewer", REGION),
    *policy_commands(
        "kms keys", "seal", "roles/cloudkms.cryptoKeyEncrypterDecrypter", f"--keyring=ring {REGION}"
    ),
    *policy_commands("spanner instances", "ledger-db", "roles/spanner.viewer"),
    *policy_commands("spanner databases", "books", "roles/spanner.databaseUser", "--instance=ledger-db"),
    *policy_commands("bigtable instances", "events-db", "roles/bigtable.reader"),
]

TARGETS = f"""
secrets describe stripe-key
secrets describe eu-key {REGION}
secrets describe none => NOT_FOUND
secrets list => does not serve GET /v1/projects/shop/secrets
secrets versions access latest --secret=stripe-key => does not serve
storage buckets describe gs://shop-receipts
storage buckets add-iam-policy-binding gs://shop-receipts {ANN} --role={OBJECTS} {UNTIL}
storage buckets add-iam-policy-binding gs://shop-acls {ANN} --role={OBJECTS} {UNTIL} => not supported
storage buckets add-iam-policy-binding gs://shop-acls {ANN} --role=roles/run.invoker => not supported
storage buckets get-iam-policy gs://none => not found
storage buckets create gs://newer => does not serve POST /storage/v1/b
pubsub topics describe orders
pubsub topics add-iam-policy-binding orders {ANN} --role=roles/storage.admin => not supported
pubsub topics get-iam-policy none => not found
pubsub subscriptions describe orders-mail
artifacts repositories describe images {REGION}
tasks queues describe mails {REGION}
kms keyrings describe ring {REGION}
kms keys describe seal --keyring=ring {REGION}
spanner instances describe ledger-db
spanner databases describe books --instance=ledger-db
bigtable instances describe events-db
"""


def lines(table: str) -> list[str]:
    return table.strip().splitlines()


@pytest.mark.parametrize(
    "commands",
    [
        pytest.param(lines(ACCOUNTS), id="accounts"),
        pytest.param(lines(PROJECTS), id="projects"),
        pytest.param([*lines(RUN)[:-1], *WORKLOAD_POLICIES, lines(RUN)[-1]], id="run"),
        pytest.param(POLICIES, id="policies"),
        pytest.param(lines(TARGETS), id="targets"),
    ],
)
async def test_commands_run_or_are_refused_as_google_refuses(commands: list[str], tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    wrong = []
    seed = Seed.model_validate(SEED | {"executionTime": "3600s"})
    async with Emulator(seed=seed, proxy_port=0) as emulator, Gclouds.started(emulator, tmp_path) as gcloud:
        for line in commands:
            command, _, refusal = line.partition(" => ")
            result = await gcloud(command)
            if bool(result.code) != bool(refusal) or not re.search(refusal, result.errors, re.DOTALL):
                wrong.append(f"{line}: {result.code} {result.errors}")
    assert wrong == []
