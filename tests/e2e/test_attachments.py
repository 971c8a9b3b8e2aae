"""Test attachments: deployed workloads run as their identities."""

from collections import Counter
from typing import Any

import pytest
from kubernetes.client import ApiException

from tests.e2e.cloud import LOCATION
from tests.e2e.cluster import GROUP
from tests.e2e.eventually import becomes, eventually
from tests.e2e.scene import Scene
from tests.servers.kube_apis import EMBEDDED

SHOP = "IdentityAttachment/shop"
IDENTITIES = """
kind: CloudRunIdentity
metadata: {name: checkout}
---
kind: CloudRunIdentity
metadata: {name: pricing}
"""
KINDS = {"Service": "services", "Job": "jobs", "WorkerPool": "workerPools"}
REVISIONED = ("Service", "WorkerPool")
google_alone = pytest.mark.parametrize("kube_api_name", [EMBEDDED], indirect=True, scope="package")
"""Mark for tests that do not depend on the API server."""

FAILURE = "The user-provided container failed to start and listen on the port."


def attachment(identity: str = "checkout", *, kind: str = "Service", **spec: Any) -> str:
    fields = "".join(f"\n  {name}: {value}" for name, value in spec.items())
    return f"""
kind: IdentityAttachment
metadata: {{name: shop}}
spec:
  workload: {{kind: {kind}, location: {LOCATION}, name: shop}}
  identityRef: {{name: {identity}}}{fields}
"""


def updates(scene: Scene) -> int:
    """Return the number of workload updates that were requested so far."""
    return sum(count for method, count in scene.cloud.calls().items() if "/Update" in method)


@pytest.fixture
def service(scene: Scene) -> str:
    """Deploy a service, in a project with two identities."""
    scene.apply(IDENTITIES)
    return scene.cloud.deploy("services", scene.name, "shop")


@pytest.fixture
def attached(scene: Scene, service: str) -> str:
    """Attach the service to the identity `checkout`."""
    scene.apply(attachment())
    scene.ready(SHOP)
    return service


@pytest.mark.parametrize("kind", KINDS)
def test_attaching_takes_one_read_and_one_write_for_each_workload_kind(scene: Scene, kind: str) -> None:
    scene.patch(f"ManagedProject/{scene.name}", "spec: {driftInterval: 5m}")  # no resync in the meantime
    scene.apply(IDENTITIES)
    workload = scene.cloud.deploy(KINDS[kind], scene.name, "shop")
    before = scene.cloud.workload(workload)
    scene.ready("CloudRunIdentity/checkout")

    scene.apply(attachment(kind=kind))
    scene.ready(SHOP)

    made = Counter(call["rpc"].rpartition("/")[2] for call in scene.cloud.log(f"{scene.name}/shop@"))
    assert made[f"Get{kind}"] == made[f"Update{kind}"] == 1, made
    after = scene.cloud.workload(workload)
    template = before["template"].get("template", before["template"])
    template["serviceAccount"] = scene.email("checkout")
    for field in ("template", "labels", "traffic", "instanceSplits", "ingress", "scaling"):
        assert after.get(field) == before.get(field)
    status = scene.status(SHOP)
    assert status["workload"] == f"{kind} {LOCATION}/shop"
    assert status["currentServiceAccount"] == scene.email("checkout")
    assert status["workloadUID"] == after["uid"]
    assert "operation" not in status
    assert {check["check"]: check["state"] for check in status["preflight"]}["Account"] == "Passed"


def test_preflight_checks_follow_grants_and_templates(scene: Scene, service: str) -> None:
    secret = {"secret": "stripe-key", "version": "latest"}
    container = {
        **scene.cloud.workload(service)["template"]["containers"][0],
        "env": [{"name": "STRIPE", "valueSource": {"secretKeyRef": secret}}],
    }
    scene.cloud.update(service, template={"containers": [container]})
    scene.apply(attachment())
    scene.ready(SHOP)
    eventually(lambda: checks(scene), lambda states: states.get("Secrets") not in (None, "Passed"))

    scene.cloud.add(scene.project, "roles/secretmanager.secretAccessor", scene.member("checkout"))

    eventually(lambda: checks(scene), lambda states: states["Secrets"] == "Passed")
    scene.ready(SHOP)

    topic = {"name": "ORDERS", "value": f"{scene.project}/topics/orders"}
    scene.cloud.update(service, template={"containers": [{**container, "env": [*container["env"], topic]}]})
    states = eventually(lambda: checks(scene), lambda states: "Topics" in states)
    assert (states["Secrets"], states["Topics"]) == ("Passed", "Unknown")


def checks(scene: Scene) -> dict[str, str]:
    """Return the state of each preflight check."""
    return {check["check"]: check["state"] for check in scene.status(SHOP).get("preflight", ())}


def test_rollout_is_followed_without_holding_a_worker(scene: Scene, service: str) -> None:
    scene.ready("CloudRunIdentity/checkout")
    scene.cloud.set_switches(operationTime="3s")
    try:
        scene.apply(attachment())
        status = eventually(lambda: scene.status(SHOP), lambda status: "operation" in status)
        assert "/operations/" in status["operation"]
        assert "being reassigned to" in scene.fails(SHOP, "Updating")
        scene.ready(SHOP)
    finally:
        scene.cloud.set_switches(operationTime="0s")
    assert "operation" not in scene.status(SHOP)
    assert scene.cloud.runs_as(service) == scene.email("checkout")


@google_alone
def test_expired_operation_does_not_block_the_rollout(scene: Scene, service: str) -> None:
    scene.cloud.fail("google.longrunning.Operations/GetOperation", "NOT_FOUND", times=10_000)
    scene.cloud.set_switches(operationTime="2s")
    try:
        scene.apply(attachment())
        scene.ready(SHOP)
    finally:
        scene.cloud.set_switches(operationTime="0s")
    assert scene.cloud.runs_as(service) == scene.email("checkout")


@google_alone
def test_concurrent_deployment_is_not_overwritten(scene: Scene, service: str) -> None:
    scene.ready("CloudRunIdentity/checkout")
    scene.cloud.fail("*.Services/UpdateService", "ABORTED", times=2)
    scene.apply(attachment())
    scene.ready(SHOP)
    assert scene.cloud.runs_as(service) == scene.email("checkout")
    assert scene.status(SHOP)["lastReassignment"].get("conflicts", 0) == 0


@google_alone
def test_attaching_survives_quotas_outages_and_lost_responses(scene: Scene, service: str) -> None:
    scene.ready("CloudRunIdentity/checkout")
    scene.cloud.fail("*.Services/GetService", "RESOURCE_EXHAUSTED")
    scene.cloud.fail("*.Services/UpdateService", "UNAVAILABLE", applied=True)
    scene.cloud.fail("*.Operations/GetOperation", "UNAVAILABLE", times=4)
    scene.apply(attachment())
    scene.ready(SHOP)
    assert scene.cloud.runs_as(service) == scene.email("checkout")
    assert scene.cloud.workload(service)["generation"] == "2", "it was reassigned once"


@pytest.mark.parametrize("kind", REVISIONED)
def test_failed_revision_is_reported_once_and_the_former_one_serves(scene: Scene, kind: str) -> None:
    scene.apply(IDENTITIES)
    workload = scene.cloud.deploy(KINDS[kind], scene.name, "shop")
    serving = scene.cloud.workload(workload)["latestReadyRevision"].rpartition("/")[2]
    scene.cloud.fails_to_start(workload, FAILURE)
    before = updates(scene)

    scene.apply(attachment(kind=kind, progressDeadline="1s"))
    message = scene.fails(SHOP, "RevisionFailed")
    assert FAILURE.rstrip(".") in message
    assert f"{serving} as " in message
    assert "keeps serving" in message
    wait_for_resyncs(scene)
    eventually(lambda: scene.is_stalled(SHOP), bool)
    assert updates(scene) - before == 1

    scene.cloud.fails_to_start(workload, "")
    scene.cloud.deploy_as(workload, scene.email("pricing"))
    scene.ready(SHOP)
    assert updates(scene) - before == 2


def test_revision_serving_as_another_account_is_named_while_it_has_traffic(
    scene: Scene, service: str
) -> None:
    old = scene.cloud.workload(service)["latestReadyRevision"].rpartition("/")[2]
    by_revision = {"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION", "revision": old, "percent": 100}
    scene.cloud.update(service, traffic=[by_revision])
    scene.apply(attachment())
    assert old in scene.fails(SHOP, "OldRevisionServing")
    assert scene.status(SHOP)["servingRevisions"] == [old]

    latest = {"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100}
    scene.cloud.update(service, traffic=[latest, {**by_revision, "percent": 0, "tag": "before"}])
    eventually(lambda: scene.status(SHOP)["servingRevisions"], lambda serving: len(serving) == 2)
    assert old in scene.fails(SHOP, "OldRevisionServing")

    scene.cloud.update(service, traffic=[latest])
    scene.ready(SHOP)

    scene.cloud.update(service, traffic=[by_revision])
    assert old in scene.fails(SHOP, "OldRevisionServing")


def test_deployment_with_another_account_is_repaired_until_conflict(scene: Scene, attached: str) -> None:
    for account in ("", scene.email("pricing"), ""):
        scene.cloud.deploy_as(attached, account)
        becomes(lambda: scene.cloud.runs_as(attached), scene.email("checkout"))
        scene.ready(SHOP)
    assert scene.status(SHOP)["drift"]["count"] == 3
    assert scene.status(SHOP)["lastReassignment"]["conflicts"] == 3

    scene.cloud.deploy_as(attached, scene.email("pricing"))
    message = scene.fails(SHOP, "Conflict")
    assert "by somebody@example.com" in message  # language: quoted
    assert scene.is_stalled(SHOP)
    before = updates(scene)
    wait_for_resyncs(scene)
    assert updates(scene) == before

    scene.patch(SHOP, f'metadata: {{annotations: {{{GROUP}/reconcile-requested-at: "now"}}}}')
    scene.ready(SHOP)
    assert scene.cloud.runs_as(attached) == scene.email("checkout")


def test_recreated_workload_is_attached_again(scene: Scene, attached: str) -> None:
    before = scene.status(SHOP)["workloadUID"]
    scene.patch(SHOP, "spec: {progressDeadline: 1s}")
    scene.cloud.delete_workload(attached)
    assert LOCATION in scene.fails(SHOP, "WorkloadNotFound")
    eventually(lambda: scene.is_stalled(SHOP), bool)
    scene.cloud.deploy("services", scene.name, "shop", scene.email("pricing"))
    scene.ready(SHOP)
    assert scene.status(SHOP)["workloadUID"] != before
    assert scene.status(SHOP)["previousServiceAccount"] == scene.email("pricing")


def test_restore_policy_restores_the_former_account(scene: Scene, service: str) -> None:
    scene.ready("CloudRunIdentity/pricing")
    scene.cloud.deploy_as(service, scene.email("pricing"))
    scene.apply(attachment(deletionPolicy="Restore"))
    scene.ready(SHOP)
    scene.patch(SHOP, "spec: {identityRef: {name: pricing}}")
    scene.ready(SHOP)
    scene.patch(SHOP, "spec: {identityRef: {name: checkout}}")
    scene.ready(SHOP)

    scene.delete_and_wait(SHOP)
    assert scene.cloud.runs_as(service) == scene.email("pricing")


def test_restore_policy_restores_the_default_account_if_permitted(scene: Scene, service: str) -> None:
    default = scene.cloud.runs_as(service)
    scene.patch(f"ManagedProject/{scene.name}", "spec: {guardrails: {restoreToDefaultAccount: true}}")
    scene.apply(attachment(deletionPolicy="Restore"))
    scene.ready(SHOP)
    scene.delete_and_wait(SHOP)
    assert scene.cloud.runs_as(service) == default


def test_default_account_is_not_restored_without_a_guardrail(scene: Scene, service: str) -> None:
    scene.apply(attachment(deletionPolicy="Restore"))
    scene.ready(SHOP)
    scene.delete_and_wait(SHOP)
    assert scene.cloud.runs_as(service) == scene.email("checkout")
    assert "guardrails.restoreToDefaultAccount" in scene.wait_for_event(SHOP, "Abandoned")


def test_former_account_is_not_restored_if_guardrails_deny_it(scene: Scene, service: str) -> None:
    unlisted = scene.cloud.create_account(scene.name, "unlisted")
    scene.cloud.deploy_as(service, unlisted)
    scene.apply(attachment(deletionPolicy="Restore"))
    scene.ready(SHOP)

    scene.delete_and_wait(SHOP)
    scene.wait_for_event(SHOP, "Abandoned", saying="guardrails.accounts")
    assert scene.cloud.runs_as(service) == scene.email("checkout")


@pytest.mark.parametrize("policy", ["Abandon", "Restore"])
def test_attachment_of_a_deleted_workload_can_be_deleted(scene: Scene, attached: str, policy: str) -> None:
    scene.patch(SHOP, f"spec: {{deletionPolicy: {policy}}}")
    scene.ready(SHOP)
    scene.cloud.delete_workload(attached)
    scene.delete_and_wait(SHOP)


@google_alone
def test_restore_policy_keeps_an_account_that_was_deployed_since(scene: Scene, service: str) -> None:
    scene.apply(attachment(deletionPolicy="Restore"))
    scene.ready(SHOP, "CloudRunIdentity/pricing")
    scene.patch(f"ManagedProject/{scene.name}", "spec: {driftInterval: 1h}")
    scene.ready(f"ManagedProject/{scene.name}")
    scene.cloud.deploy_as(service, scene.email("pricing"))
    scene.delete_and_wait(SHOP)
    assert scene.cloud.runs_as(service) == scene.email("pricing")


def test_attachment_by_email_needs_a_guardrail(scene: Scene, service: str) -> None:
    deployer = scene.cloud.create_account(scene.name, "deployer")
    by_email = attachment().replace("identityRef: {name: checkout}", f"email: {deployer}")
    scene.apply(by_email)
    assert f"does not list {deployer}" in scene.fails(SHOP, "DeniedByGuardrail")
    scene.patch(
        f"ManagedProject/{scene.name}", f"spec: {{guardrails: {{accounts: [{{email: '{deployer}'}}]}}}}"
    )
    scene.ready(SHOP)
    assert scene.cloud.runs_as(service) == deployer
    assert scene.status(SHOP)["identity"] == deployer


@google_alone
def test_service_managed_by_another_product_is_not_changed(scene: Scene, service: str) -> None:
    scene.cloud.update(service, labels={"goog-managed-by": "cloudfunctions"})
    before = updates(scene)
    scene.apply(attachment())
    assert "deployed by cloudfunctions" in scene.fails(SHOP, "Rejected")
    assert updates(scene) == before


@google_alone
def test_disabled_account_blocks_the_attachment(scene: Scene, service: str) -> None:
    scene.cloud.create_account(scene.name, "deployer")
    scene.patch(
        f"ManagedProject/{scene.name}",
        f"spec: {{guardrails: {{accounts: [{{email: '*@{scene.name}.iam.gserviceaccount.com'}}]}}}}",
    )
    scene.cloud.edit_account(scene.email("deployer"), "disable")
    before = updates(scene)
    scene.apply(attachment().replace("identityRef: {name: checkout}", f"email: {scene.email('deployer')}"))
    remedy = f"gcloud iam service-accounts enable {scene.email('deployer')}"
    scene.fails(SHOP, "DependencyNotReady", saying=remedy)
    assert scene.status(SHOP)["preflight"][0]["state"] == "Failed"

    scene.patch(SHOP, f"spec: {{email: {scene.email('nobody')}}}")
    eventually(
        lambda: scene.condition(SHOP, "Ready"),
        lambda ready: ready is not None and "does not exist; run: gcloud" in ready["message"],
    )
    assert updates(scene) == before


@google_alone
def test_disabled_api_is_reported_with_the_command_that_enables_it(scene: Scene, service: str) -> None:
    scene.ready("CloudRunIdentity/checkout")
    scene.cloud.fail(
        "*.Services/*",
        "PERMISSION_DENIED",
        times=10_000,
        errorInfo={
            "reason": "SERVICE_DISABLED",
            "metadata": {"service": "run.googleapis.com", "consumer": f"projects/{scene.name}"},
        },
    )
    scene.apply(attachment())
    message = scene.fails(SHOP, "ApiDisabled")
    assert message.endswith(f"gcloud services enable run.googleapis.com --project={scene.name}")
    scene.cloud.recover()
    scene.ready(SHOP)


@pytest.mark.parametrize(
    ("wrong", "right", "complaint"),
    [
        ("kind: Service", "kind: Function", "spec.workload.kind"),
        (f"location: {LOCATION}", "location: europe", "must be a Cloud Run region"),
        ("name: shop}", "name: Shop}", "must be the name of a Cloud Run resource"),
        ("name: shop}", f"name: {'s' * 50}}}", "at most 49 characters"),
        (
            "identityRef: {name: checkout}",
            "email: ann@example.com",
            "must be the e-mail of a service account",
        ),
        ("identityRef: {name: checkout}", "{}", "exactly one of identityRef, email"),
    ],
)
def test_impossible_workload_is_refused_by_the_api_server(
    scene: Scene, wrong: str, right: str, complaint: str
) -> None:
    with pytest.raises(ApiException) as refused:
        scene.create(
            attachment().replace(f"  {wrong}" if right == "{}" else wrong, "" if right == "{}" else right)
        )
    assert complaint in str(refused.value.body)


def wait_for_resyncs(scene: Scene, count: int = 2) -> None:
    """Wait until the project was resynced completely `count` more times.

    Each resync starts a reconcile of the ManagedProject, which reads the organization policy. The lists of a
    resync serve several objects and name none of them as their reason, so that they cannot be counted.
    """

    def resyncs() -> int:
        return sum(call["rpc"].endswith("/GetEffectivePolicy") for call in scene.cloud.log(scene.name))

    before = resyncs()
    eventually(resyncs, lambda now: now - before > count)


@google_alone
@pytest.mark.slow
def test_multi_region_service_is_attached_in_all_regions(scene: Scene) -> None:
    scene.apply(IDENTITIES)
    everywhere = scene.cloud.deploy("services", scene.name, "shop", regions=(LOCATION, "us-east1"))
    scene.apply(attachment())
    scene.fails(SHOP, "Rejected", saying="is deployed by Service global/shop")
    scene.delete_and_wait(SHOP)

    scene.apply(attachment().replace(LOCATION, "global"))
    scene.ready(SHOP)
    email = scene.status("CloudRunIdentity/checkout")["email"]
    for location in ("global", LOCATION, "us-east1"):
        shown = scene.cloud.workload(everywhere.replace("global", location))
        assert shown["template"]["serviceAccount"] == email
    assert scene.status(SHOP)["workload"] == "Service global/shop"
