"""Products that call Cloud Run: their grants on the service, the identity and the project."""

from collections.abc import Callable

import pytest

from tests.e2e.cloud import LOCATION
from tests.e2e.eventually import becomes, eventually
from tests.e2e.examples import Example
from tests.e2e.scene import Scene
from tests.e2e.stage import Stage

TOKENS, RECEIVER = "roles/iam.serviceAccountTokenCreator", "roles/eventarc.eventReceiver"
USER, INVOKER = "roles/iam.serviceAccountUser", "roles/run.invoker"
EVENTS = "projects/acme-events"
SCENE = """
kind: ManagedProject
metadata: {name: $scene}
spec:
  driftInterval: 1s
  locations: [europe-west1]
  namespaces: {names: [$scene]}
---
kind: CloudRunIdentity
metadata: {name: pusher}
---
kind: CloudRunIdentity
metadata: {name: receiver}
---
kind: CloudRunIdentity
metadata: {name: nightly}
---
kind: IAMBinding
metadata: {name: callers}
spec:
  target: {kind: Service, location: europe-west1, name: web}
  role: roles/run.invoker
  members:
  - pubSubPushOf: {identityRef: {name: pusher}}
  - eventarcOf: {identityRef: {name: receiver}}
"""


def account(name: str) -> str:
    return f"{EVENTS}/serviceAccounts/{name}@acme-events.iam.gserviceaccount.com"


def caller(name: str) -> str:
    return f"serviceAccount:{name}@acme-events.iam.gserviceaccount.com"


@pytest.mark.slow
def test_callers_example_grants_what_each_product_needs(
    stage: Stage, example: Callable[[str], Example]
) -> None:
    callers = example("callers")
    callers.apply()
    callers.ready()

    pub_sub = "serviceAccount:service-639971224658@gcp-sa-pubsub.iam.gserviceaccount.com"
    admins = {USER: ["group:event-admins@example.com"]}
    service = stage.cloud.policy(f"{EVENTS}/locations/{LOCATION}/services/handler")
    assert {role: sorted(members) for role, members in service.items()} == {
        INVOKER: sorted(map(caller, ("orders-push", "uploads", "nightly", "mail-queue")))
    }
    assert stage.cloud.policy(account("orders-push")) == {TOKENS: [pub_sub], **admins}
    assert stage.cloud.policy(account("uploads")) == {TOKENS: [pub_sub], **admins}
    assert stage.cloud.policy(account("nightly")) == admins
    assert stage.cloud.policy(account("mail-queue")) == {USER: [caller("handler")]}
    assert stage.cloud.policy(EVENTS)[RECEIVER] == [caller("uploads")]
    assert stage.cloud.policy(f"{EVENTS}/topics/uploads") == {
        "roles/pubsub.publisher": [
            "serviceAccount:service-639971224658@gs-project-accounts.iam.gserviceaccount.com"
        ]
    }
    assert not callers.status("IAMBinding", "handler-callers", "events").get("issues")

    callers.delete()
    callers.deleted()
    assert RECEIVER not in stage.cloud.policy(EVENTS)
    assert stage.cloud.policy(f"{EVENTS}/locations/{LOCATION}/services/handler") == {}


@pytest.mark.slow
def test_caller_is_completed_once_its_project_and_google_allow_it(scene: Scene) -> None:
    service = scene.cloud.deploy("services", scene.name, "web")
    number = scene.cloud.project_number(scene.name)
    agent = f"service-{number}@gcp-sa-pubsub.iam.gserviceaccount.com"
    scene.cloud.edit_service_agent(agent, missing=True)
    scene.apply(SCENE)

    # The guardrails admit no role on the project, and propose the entry that does.
    message = scene.fails("IAMBinding/callers", "DeniedByGuardrail", saying=RECEIVER)
    scene.run_proposed(message)
    # Google has not created the agent yet.
    scene.fails(
        "IAMBinding/callers",
        "Rejected",
        saying=f"gcloud beta services identity create --service=pubsub.googleapis.com --project={number}",
    )
    becomes(
        lambda: sorted(scene.cloud.policy(service).get(INVOKER, ())),
        [scene.member("pusher"), scene.member("receiver")],
    )

    scene.cloud.edit_service_agent(agent, missing=False)
    again = "{cloudrun-identity.dev/reconcile-requested-at: now}"
    scene.patch("IAMBinding/callers", f"metadata: {{annotations: {again}}}")
    scene.ready("IAMBinding/callers")
    for name in ("pusher", "receiver"):
        assert scene.cloud.policy(scene.account(name)) == {TOKENS: [f"serviceAccount:{agent}"]}
    assert scene.policy() == {RECEIVER: [scene.member("receiver")]}

    # Drift of what a product needs is repaired like any other drift.
    scene.cloud.remove(scene.account("pusher"), TOKENS, f"serviceAccount:{agent}")
    becomes(lambda: scene.cloud.policy(scene.account("pusher")), {TOKENS: [f"serviceAccount:{agent}"]})

    # A caller that is no longer declared loses everything.
    members = "[{cloudSchedulerOf: {identityRef: {name: nightly}}}]"
    scene.patch("IAMBinding/callers", f"spec: {{members: {members}}}")
    scene.ready("IAMBinding/callers")
    becomes(lambda: scene.cloud.policy(scene.account("pusher")), {})
    becomes(scene.policy, {})
    assert scene.cloud.policy(service) == {INVOKER: [scene.member("nightly")]}

    # The agent of Cloud Scheduler lacks its role, which the operator does not grant.
    scheduler = f"serviceAccount:service-{number}@gcp-sa-cloudscheduler.iam.gserviceaccount.com"
    (issue,) = eventually(lambda: scene.status("IAMBinding/callers").get("issues", ()), bool)
    assert issue.startswith("Cloud Scheduler cannot call as nightly@")
    assert f"--member={scheduler} --role=roles/cloudscheduler.serviceAgent" in issue
    scene.cloud.add(scene.project, "roles/cloudscheduler.serviceAgent", scheduler)
    becomes(lambda: scene.status("IAMBinding/callers").get("issues", []), [])
