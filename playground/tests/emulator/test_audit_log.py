"""The Admin Activity audit log, compared with the form of entries that were published."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from cloudrun_identity.api import TARGET_KINDS, NamedBy
from cloudrun_identity_playground.emulator import Emulator, Seed
from cloudrun_identity_playground.emulator.audit_log.record import is_logged
from cloudrun_identity_playground.emulator.wire.methods import methods

from .clients import Clock
from .feeds import GCLOUD, Feed, feeding

EMAIL = "checkout@shop.iam.gserviceaccount.com"
ACCOUNT = f"projects/shop/serviceAccounts/{EMAIL}"
LOCATION = "projects/shop/locations/europe-west1"
DANA = "admin:user:dana@example.com"
IMAGE = "us-docker.pkg.dev/cloudrun/container/hello"
SERVICE = {"template": {"containers": [{"image": IMAGE}], "serviceAccount": EMAIL}}
SEED = Seed.model_validate(
    {
        "projects": [
            {
                "projectID": "shop",
                "projectNumber": "123456789012",
                "serviceAccounts": [{"accountID": "checkout"}],
                "secrets": [{"name": "stripe-key"}],
                "resources": [
                    {"kind": "StorageBucket", "name": "receipts"},
                    {"kind": "PubSubTopic", "name": "orders"},
                    {"kind": "PubSubSubscription", "name": "orders-mail"},
                    {"kind": "ArtifactRegistryRepository", "name": "images", "location": "europe-west1"},
                    {"kind": "CloudTasksQueue", "name": "mails", "location": "europe-west1"},
                    {"kind": "KMSKeyRing", "name": "ring", "location": "europe-west1"},
                    {"kind": "KMSCryptoKey", "name": "seal", "location": "europe-west1", "parent": "ring"},
                    {"kind": "SpannerInstance", "name": "ledger-db"},
                    {"kind": "SpannerDatabase", "name": "books", "parent": "ledger-db"},
                    {"kind": "BigtableInstance", "name": "events-db"},
                ],
                "services": [{"name": "web", "location": "europe-west1", "serviceAccount": EMAIL}],
                "jobs": [{"name": "nightly", "location": "europe-west1"}],
                "workerPools": [{"name": "queue", "location": "europe-west1"}],
            }
        ]
    }
)

COMMON = {
    "insertId",
    "logName",
    "receiveTimestamp",
    "resource.type",
    "severity",
    "timestamp",
    "protoPayload.@type",
    "protoPayload.authenticationInfo.principalEmail",
    "protoPayload.authorizationInfo.granted",
    "protoPayload.authorizationInfo.permission",
    "protoPayload.authorizationInfo.resource",
    "protoPayload.methodName",
    "protoPayload.request.@type",
    "protoPayload.requestMetadata.callerIp",
    "protoPayload.requestMetadata.callerSuppliedUserAgent",
    "protoPayload.requestMetadata.destinationAttributes",
    "protoPayload.requestMetadata.requestAttributes.auth",
    "protoPayload.requestMetadata.requestAttributes.time",
    "protoPayload.resourceName",
    "protoPayload.response.@type",
    "protoPayload.serviceName",
}
"""Fields of every published entry of a successful call."""
POLICY = {
    "protoPayload.request.resource",
    "protoPayload.request.policy.bindings.members",
    "protoPayload.request.policy.bindings.role",
    "protoPayload.response.bindings.members",
    "protoPayload.response.bindings.role",
    "protoPayload.response.etag",
}
DELTA = {
    "protoPayload.serviceData.@type",
    "protoPayload.serviceData.policyDelta.bindingDeltas.action",
    "protoPayload.serviceData.policyDelta.bindingDeltas.member",
    "protoPayload.serviceData.policyDelta.bindingDeltas.role",
}
OF_ACCOUNT = {
    "protoPayload.authenticationInfo.principalSubject",
    "protoPayload.authorizationInfo.resourceAttributes.name",
    "protoPayload.status",
    "resource.labels.email_id",
    "resource.labels.project_id",
    "resource.labels.unique_id",
}
OF_SERVICE = {
    "protoPayload.resourceLocation.currentLocations",
    "resource.labels.configuration_name",
    "resource.labels.location",
    "resource.labels.project_id",
    "resource.labels.revision_name",
    "resource.labels.service_name",
}


@pytest.fixture
async def feed(clock: Clock) -> AsyncIterator[Feed]:
    async with Emulator(clock=clock, rest_port=0, seed=SEED) as emulator, feeding(emulator) as running:
        yield running


def fields(value: Any, path: str = "") -> Iterator[str]:
    """Yield the paths of all values, through lists."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from fields(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for inner in value:
            yield from fields(inner, path)
    else:
        yield path


async def change(feed: Feed, verb: str, path: str, body: Any = None, **headers: str) -> Any:
    """Make a call as Dana with gcloud; return its answer."""
    return await feed.request(verb, path, body, token=DANA, **{"User-Agent": GCLOUD, **headers})


async def entry_of(feed: Feed, verb: str, path: str, body: Any = None, **headers: str) -> Any:
    """Return the only entry of a call."""
    await change(feed, verb, path, body, **headers)
    return await feed.entry()


def policy(role: str, *members: str) -> dict[str, Any]:
    return {"policy": {"bindings": [{"role": role, "members": list(members)}]}}


async def test_policy_of_an_account_has_published_form(feed: Feed) -> None:
    """See gcp_permissions_granted_to_create_or_manage_service_account_key.yml of panther-analysis."""
    unique_id = feed.emulator.cloud.accounts.live(EMAIL).unique_id
    body = policy("roles/iam.serviceAccountUser", "user:eve@example.com")
    entry = await entry_of(feed, "POST", f"/v1/{ACCOUNT}:setIamPolicy", body)
    assert set(fields(entry)) >= COMMON | POLICY | DELTA | OF_ACCOUNT
    payload = entry["protoPayload"]
    assert payload["serviceName"] == "iam.googleapis.com"
    assert payload["methodName"] == "google.iam.admin.v1.SetIAMPolicy"
    assert payload["resourceName"] == f"projects/-/serviceAccounts/{unique_id}"
    assert payload["authenticationInfo"]["principalEmail"] == "dana@example.com"
    assert payload["requestMetadata"]["callerSuppliedUserAgent"] == GCLOUD
    assert entry["resource"] == {
        "type": "service_account",
        "labels": {"project_id": "shop", "unique_id": unique_id, "email_id": EMAIL},
    }
    assert entry["logName"] == "projects/shop/logs/cloudaudit.googleapis.com%2Factivity"
    assert entry["severity"] == "NOTICE"


async def test_creation_of_an_account_has_published_form(feed: Feed) -> None:
    """See gcp_service_account_or_keys_created.yml of panther-analysis."""
    body = {"accountId": "pricing", "serviceAccount": {"displayName": "Pricing"}}
    entry = await entry_of(feed, "POST", "/v1/projects/shop/serviceAccounts", body)
    account = OF_ACCOUNT - {"protoPayload.authorizationInfo.resourceAttributes.name"}
    named = {"account_id", "name", "service_account.display_name"}
    answered = {"display_name", "email", "etag", "name", "oauth2_client_id", "project_id", "unique_id"}
    assert set(fields(entry)) >= COMMON | account | {
        *(f"protoPayload.request.{each}" for each in named),
        *(f"protoPayload.response.{each}" for each in answered),
    }
    assert entry["protoPayload"]["resourceName"] == "projects/shop"
    assert entry["resource"]["labels"]["email_id"] == "pricing@shop.iam.gserviceaccount.com"


@pytest.mark.parametrize("verb", ["disable", "enable"])
async def test_switched_account_has_published_form(feed: Feed, verb: str) -> None:
    """See collectors/googlestackdriver/test/mock.js of alertlogic/paws-collector."""
    entry = await entry_of(feed, "POST", f"/v1/{ACCOUNT}:{verb}", {})
    assert set(fields(entry)) >= COMMON | OF_ACCOUNT | {"protoPayload.request.name"}
    payload = entry["protoPayload"]
    assert payload["methodName"] == f"google.iam.admin.v1.{verb.capitalize()}ServiceAccount"
    assert payload["response"] == {"@type": "type.googleapis.com/google.protobuf.Empty"}


async def test_deleted_and_undeleted_account_is_named_by_unique_id(feed: Feed) -> None:
    unique_id = feed.emulator.cloud.accounts.live(EMAIL).unique_id
    deleted = await entry_of(feed, "DELETE", f"/v1/{ACCOUNT}")
    restored = await entry_of(feed, "POST", f"/v1/projects/shop/serviceAccounts/{unique_id}:undelete", {})
    for entry in (deleted, restored):
        assert entry["protoPayload"]["resourceName"] == f"projects/-/serviceAccounts/{unique_id}"
        assert entry["resource"]["labels"]["email_id"] == EMAIL


async def test_key_entries_have_no_private_key(feed: Feed) -> None:
    """See gcp_service_account_or_keys_created.yml of panther-analysis."""
    created = await entry_of(feed, "POST", f"/v1/{ACCOUNT}/keys", {})
    payload = created["protoPayload"]
    assert payload["methodName"] == "google.iam.admin.v1.CreateServiceAccountKey"
    assert "private_key_data" not in payload["response"]
    unique_id = created["resource"]["labels"]["unique_id"]
    assert payload["resourceName"] == f"projects/-/serviceAccounts/{unique_id}"
    key = payload["response"]["name"].rpartition("/")[2]
    disabled = await entry_of(feed, "POST", f"/v1/{ACCOUNT}/keys/{key}:disable", {})
    deleted = await entry_of(feed, "DELETE", f"/v1/{ACCOUNT}/keys/{key}")
    for entry in (disabled, deleted):
        assert entry["protoPayload"]["resourceName"] == f"{payload['resourceName']}/keys/{key}"


async def test_custom_roles_have_published_form(feed: Feed) -> None:
    """See gcp_iam_custom_role_changes.yml of panther-analysis."""
    role = {"title": "Deployer", "includedPermissions": ["run.services.get", "run.services.list"]}
    body = {"roleId": "deployer", "role": role}
    created = await entry_of(feed, "POST", "/v1/projects/shop/roles", body)
    assert set(fields(created)) >= COMMON | {
        "protoPayload.request.parent",
        "protoPayload.request.role.included_permissions",
        "protoPayload.request.role.title",
        "protoPayload.request.role_id",
        "protoPayload.response.included_permissions",
        "protoPayload.response.name",
        "protoPayload.serviceData.@type",
        "protoPayload.serviceData.permissionDelta.addedPermissions",
        "resource.labels.project_id",
        "resource.labels.role_name",
    }
    name = "projects/shop/roles/deployer"
    assert created["protoPayload"]["resourceName"] == name
    assert created["resource"] == {
        "type": "iam_role",
        "labels": {"project_id": "shop", "role_name": name},
    }
    narrowed = {"includedPermissions": ["run.services.get", "run.jobs.get"]}
    updated = await entry_of(feed, "PATCH", f"/v1/{name}?updateMask=includedPermissions", narrowed)
    assert updated["protoPayload"]["serviceData"]["permissionDelta"] == {
        "addedPermissions": ["run.jobs.get"],
        "removedPermissions": ["run.services.list"],
    }
    assert (await entry_of(feed, "DELETE", f"/v1/{name}"))["protoPayload"]["resourceName"] == name


async def test_policy_of_a_project_has_delta_of_both_directions(feed: Feed) -> None:
    """See packages/gcp/data_stream/audit/_dev/test of elastic/integrations for the method and the type."""
    url = "/v1/projects/shop:setIamPolicy"
    await entry_of(feed, "POST", url, policy("roles/viewer", "user:ann@example.com"))
    entry = await entry_of(feed, "POST", url, policy("roles/viewer", "user:eve@example.com"))
    payload = entry["protoPayload"]
    assert (payload["serviceName"], payload["methodName"], payload["resourceName"]) == (
        "cloudresourcemanager.googleapis.com",
        "SetIamPolicy",
        "projects/shop",
    )
    assert entry["resource"] == {"type": "project", "labels": {"project_id": "shop"}}
    assert payload["serviceData"]["policyDelta"]["bindingDeltas"] == [
        {"action": "REMOVE", "role": "roles/viewer", "member": "user:ann@example.com"},
        {"action": "ADD", "role": "roles/viewer", "member": "user:eve@example.com"},
    ]


async def test_replaced_service_has_published_form_of_version_1(feed: Feed) -> None:
    """See docs/auditing.md of nakamasato/cloud-run-slack-bot."""
    url = "/apis/serving.knative.dev/v1/namespaces/shop/services/web"
    host = {"Host": "europe-west1-run.googleapis.com"}
    service = await change(feed, "GET", url, **host)
    entry = await entry_of(feed, "PUT", url, service, **host)
    assert set(fields(entry)) >= COMMON | OF_SERVICE | {
        "protoPayload.request.name",
        "protoPayload.request.region",
        "protoPayload.request.service.apiVersion",
        "protoPayload.request.service.kind",
        "protoPayload.request.service.metadata.name",
        "protoPayload.request.service.spec.template.spec.serviceAccountName",
        "protoPayload.response.apiVersion",
        "protoPayload.response.kind",
        "protoPayload.response.metadata.generation",
        "protoPayload.response.metadata.uid",
        "protoPayload.response.spec.template.spec.serviceAccountName",
        "protoPayload.response.status.latestCreatedRevisionName",
    }
    payload = entry["protoPayload"]
    assert payload["methodName"] == "google.cloud.run.v1.Services.ReplaceService"
    assert payload["resourceName"] == "namespaces/shop/services/web"
    assert payload["request"]["@type"] == "type.googleapis.com/google.cloud.run.v1.ReplaceServiceRequest"
    assert payload["response"]["@type"] == "type.googleapis.com/google.cloud.run.v1.Service"
    assert "operation" not in entry


async def test_policy_of_a_service_has_published_form_of_version_1(feed: Feed) -> None:
    """See gcp_cloud_run_set_iam_policy.yml of panther-analysis."""
    url = f"/v1/{LOCATION}/services/web:setIamPolicy"
    entry = await entry_of(feed, "POST", url, policy("roles/run.invoker", "allUsers"))
    assert set(fields(entry)) >= COMMON | POLICY | OF_SERVICE
    payload = entry["protoPayload"]
    assert payload["methodName"] == "google.cloud.run.v1.Services.SetIamPolicy"
    assert payload["resourceName"] == f"{LOCATION}/services/web"
    assert "serviceData" not in payload
    assert entry["resource"]["labels"]["service_name"] == ""


async def test_operation_of_version_2_has_entries_at_start_and_end(feed: Feed, clock: Clock) -> None:
    """“These methods usually generate two audit log entries: one when the operation starts and another when
    it ends.” (https://cloud.google.com/run/docs/audit-logging)
    """
    feed.emulator.switches.update({"operationTime": "20s"})
    started = await entry_of(feed, "POST", f"/v2/{LOCATION}/services?serviceId=api", SERVICE)
    assert started["protoPayload"]["methodName"] == "google.cloud.run.v2.Services.CreateService"
    assert started["protoPayload"]["resourceName"] == f"{LOCATION}/services/api"
    assert started["operation"]["first"] is True
    assert started["operation"]["producer"] == "run.googleapis.com"
    assert await feed.entries() == []
    clock.advance(21)
    ended = await feed.entry()
    assert ended["operation"] == {
        "id": started["operation"]["id"],
        "producer": "run.googleapis.com",
        "last": True,
    }
    assert ended["protoPayload"]["response"]["latestReadyRevision"]


async def test_readiness_of_a_service_is_in_the_system_event_log(feed: Feed) -> None:
    """See tests/unit/extraction_rules/test_audit_system_event.py of dynatrace-oss/dynatrace-gcp-monitor."""
    await change(feed, "PATCH", f"/v2/{LOCATION}/services/web", {**SERVICE, "labels": {"a": "b"}})
    entry = [*feed.emulator.cloud.audit_log.entries()][-1]
    payload = entry["protoPayload"]
    assert payload["methodName"] == "/Services.UpdateService"
    assert payload["resourceName"] == "namespaces/shop/services/web"
    assert payload["status"] == {"message": "Ready condition status changed to True for Service web."}
    assert payload["response"]["@type"] == "type.googleapis.com/google.cloud.run.v1.Service"
    assert "authenticationInfo" not in payload
    assert entry["logName"].endswith("%2Fsystem_event")
    assert entry["severity"] == "INFO"
    assert len(await feed.entries()) == 2  # those of the operation


async def test_failed_revision_is_the_status_at_the_end(feed: Feed) -> None:
    name = f"//run.googleapis.com/{LOCATION}/services/web"
    feed.edit({"workload": name, "failsToStart": "The container failed to start."})
    await change(feed, "PATCH", f"/v2/{LOCATION}/services/web", {**SERVICE, "labels": {"a": "b"}})
    feed.edit({"workload": name, "serviceAccount": ""})
    *_, ended = await feed.entries()
    assert ended["severity"] == "ERROR"
    assert ended["operation"]["last"] is True
    assert "failed to start" in ended["protoPayload"]["status"]["message"]


async def test_refused_write_is_logged_with_its_status(feed: Feed) -> None:
    """See gcp_cloud_run_service_created.yml of panther-analysis for the status of a failed call."""
    body = policy("roles/viewer", "user:eve@example.com")
    await feed.request("POST", "/v1/projects/shop:setIamPolicy", body, token="user:eve@example.com")
    entry = await feed.entry()
    payload = entry["protoPayload"]
    assert payload["status"]["code"] == 7
    assert "resourcemanager.projects.setIamPolicy" in payload["status"]["message"]
    assert "granted" not in payload["authorizationInfo"][0]
    assert "response" not in payload
    assert "serviceData" not in payload
    assert payload["authenticationInfo"]["principalEmail"] == "eve@example.com"
    assert entry["severity"] == "ERROR"


async def test_conflict_is_logged_as_aborted(feed: Feed) -> None:
    body = policy("roles/viewer", "user:eve@example.com")
    body["policy"]["etag"] = "BwYQYvUoBxs="
    await change(feed, "POST", "/v1/projects/shop:setIamPolicy", body)
    assert (await feed.entry())["protoPayload"]["status"]["code"] == 10


async def test_reads_and_data_access_are_not_logged(feed: Feed) -> None:
    await change(feed, "GET", f"/v1/{ACCOUNT}")
    await change(feed, "POST", "/v1/projects/shop:getIamPolicy", {})
    await change(feed, "POST", f"/v1/{ACCOUNT}:signBlob", {"bytesToSign": "aGVsbG8="})
    await change(feed, "POST", f"/v2/{LOCATION}/jobs/nightly:run", {})
    await change(feed, "POST", "/v1/projects/ops/topics/changes:publish", {"messages": [{"data": "aGk="}]})
    received = await feed.pull()
    assert [each.message.data for each in received] == [b"hi"]


def test_no_read_is_logged() -> None:
    reads = ("Get", "List", "Search", "Test", "Query", "Pull", "Acknowledge", "Wait", "Sign", "Generate")
    logged = {rpc for rpc in methods() if is_logged(rpc)}
    assert not [rpc for rpc in logged if rpc.partition("/")[2].startswith(reads)]
    assert "google.cloud.run.v2.WorkerPools/UpdateWorkerPool" in logged
    assert "google.cloud.orgpolicy.v2.OrgPolicy/UpdatePolicy" in logged


async def test_reason_of_a_request_is_logged(feed: Feed) -> None:
    reason = "IAMBinding/shop/viewers@3"
    entry = await entry_of(feed, "POST", f"/v1/{ACCOUNT}:disable", {}, **{"X-Goog-Request-Reason": reason})
    assert entry["protoPayload"]["requestMetadata"]["requestAttributes"]["reason"] == reason


async def test_edit_is_logged_under_its_author(feed: Feed) -> None:
    feed.grant(
        "user:eve@example.com",
        caller="user:dana@example.com",
        userAgent=GCLOUD,
        callerIp="203.0.113.9",
    )
    payload = (await feed.entry())["protoPayload"]
    assert payload["authenticationInfo"]["principalEmail"] == "dana@example.com"
    assert payload["requestMetadata"]["callerSuppliedUserAgent"] == GCLOUD
    assert payload["requestMetadata"]["callerIp"] == "203.0.113.9"


async def test_federated_principal_has_no_email(feed: Feed) -> None:
    subject = "principal://iam.googleapis.com/locations/global/workforcePools/staff/subject/dana"
    feed.grant("user:eve@example.com", caller=subject)
    authentication = (await feed.entry())["protoPayload"]["authenticationInfo"]
    assert authentication == {"principalSubject": subject}


SERVED = [kind for kind in TARGET_KINDS.values() if kind.named_by is NamedBy.NAME and kind.get_method]
NAMES = {
    "Secret": "stripe-key",
    "StorageBucket": "receipts",
    "PubSubTopic": "orders",
    "PubSubSubscription": "orders-mail",
    "ArtifactRegistryRepository": "images",
    "CloudTasksQueue": "mails",
    "KMSKeyRing": "ring",
    "KMSCryptoKey": "seal",
    "SpannerInstance": "ledger-db",
    "SpannerDatabase": "books",
    "BigtableInstance": "events-db",
    "Service": "web",
    "Job": "nightly",
    "WorkerPool": "queue",
    "Folder": "556677889900",
    "Organization": "334455667788",
}
PARENTS = {"KMSCryptoKey": "ring", "SpannerDatabase": "ledger-db"}


@pytest.mark.parametrize(
    "kind", [kind for kind in SERVED if kind.kind.value in NAMES], ids=lambda kind: kind.kind
)
async def test_policy_of_each_kind_has_a_method_of_its_descriptor(feed: Feed, kind: Any) -> None:
    name = kind.resource_pattern.format(
        project_id="shop",
        location="europe-west1",
        parent=PARENTS.get(kind.kind.value, ""),
        name=NAMES[kind.kind.value],
    )
    role = "roles/viewer" if kind.contains_projects else "roles/run.invoker"
    roles = {
        "secretmanager": "roles/secretmanager.viewer",
        "storage": "roles/storage.objectViewer",
        "pubsub": "roles/pubsub.viewer",
        "artifactregistry": "roles/artifactregistry.reader",
        "cloudtasks": "roles/cloudtasks.viewer",
        "cloudkms": "roles/cloudkms.viewer",
        "spanner": "roles/spanner.viewer",
        "bigtableadmin": "roles/bigtable.viewer",
    }
    role = roles.get(kind.host.partition(".")[0], role)
    added = {"role": role, "member": "user:eve@example.com"}
    feed.edit({"policy": f"//{kind.host}/{name}", "add": [added]})
    entry = [*feed.emulator.cloud.audit_log.entries()][-1]
    assert entry["protoPayload"]["methodName"] in kind.audit_methods
    assert entry["protoPayload"]["serviceName"] == kind.host
    assert entry["protoPayload"]["resourceName"].endswith(NAMES[kind.kind.value])
    assert entry["resource"]["type"] != ""
