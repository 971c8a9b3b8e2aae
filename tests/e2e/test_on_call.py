"""Test that an operator on call who knows nothing of the code finds the cause and the remedy of each failure.

All failures happen in one scene. For each, the message of Ready, the Event and the log say what happened to
which object, why, and what to do.
"""

import shutil
import subprocess
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from string import Template

import pytest

from cloudrun_identity.gcp.org_policies import CROSS_PROJECT_USAGE
from tests.e2e.conftest import FULL_PROJECT, KEYLESS, LACKING, SHARED, UNKNOWN
from tests.e2e.eventually import becomes, eventually
from tests.e2e.scene import Scene
from tests.e2e.stage import OPERATOR, Stage
from tests.time_budget import HUNG_AFTER

pytestmark = pytest.mark.slow

CHECK = "run `cloudrun-identity check`, which prints the commands"

PROJECTS = f"""
kind: ManagedProject
metadata: {{name: $scene}}
spec:
  driftInterval: 1s
  locations: [europe-west1]
  namespaces: {{names: [$scene]}}
  guardrails:
    grants:
    - roles: [roles/cloudsql.client, roles/logging.logWriter]
      targetKinds: [Project]
      members: ["*"]
---
kind: ManagedProject
metadata: {{name: $scene-lacking}}
spec: {{projectID: {LACKING}, driftInterval: 1s, locations: [europe-west1], namespaces: {{names: [$scene]}}}}
---
kind: ManagedProject
metadata: {{name: $scene-unknown}}
spec: {{projectID: {UNKNOWN}, driftInterval: 1s, namespaces: {{names: [$scene]}}}}
---
kind: ManagedProject
metadata: {{name: $scene-full}}
spec: {{projectID: {FULL_PROJECT}, driftInterval: 1s, namespaces: {{names: [$scene]}}}}
---
kind: ManagedProject
metadata: {{name: $scene-keyless}}
spec:
  projectID: {KEYLESS}
  driftInterval: 1s
  namespaces: {{names: [$scene]}}
  guardrails: {{keys: Allowed}}
---
kind: ManagedProject
metadata: {{name: $scene-shared}}
spec: {{projectID: {SHARED}, driftInterval: 1s, namespaces: {{names: [$scene]}}}}
"""
WORKING = """
kind: CloudRunIdentity
metadata: {name: checkout}
spec: {roles: [{role: roles/cloudsql.client}], usableFrom: [{projectRef: {name: $scene-shared}}]}
---
kind: CloudRunIdentity
metadata: {name: shared}
spec: {projectRef: {name: $scene-shared}, accountID: shared-account}
---
kind: CloudRunIdentity
metadata: {name: key-user}
spec: {projectRef: {name: $scene-keyless}}
---
kind: IAMBinding
metadata: {name: recorded}
spec: {target: {kind: Project}, role: roles/cloudsql.client, members: [{principal: "group:ops@example.com"}]}
"""


@dataclass(frozen=True)
class Failure:
    """One failure of a night, and what the operator says about it."""

    name: str
    """Kind and name of the object that a user looks at."""
    reason: str
    """Reason of Ready."""
    says: tuple[str, ...]
    """Parts of the message of Ready: what happened, who, where, and the remedy."""
    manifest: str = ""
    """Object to apply; empty if it exists."""
    is_warning: bool = True
    """False if the Event is a normal one."""


FAILURES = {
    "missing permission": Failure(
        "CloudRunIdentity/no-permission",
        "PermissionDenied",
        (
            f"the operator (serviceAccount:{OPERATOR}) lacks iam.serviceAccounts.create in project {LACKING}",
            f"gcloud iam roles update cloudrunIdentityOperator --project={LACKING} "
            "--add-permissions=iam.serviceAccounts.create",
            f"gcloud projects add-iam-policy-binding {LACKING} --member=serviceAccount:{OPERATOR}",
        ),
        "spec: {projectRef: {name: $scene-lacking}}",
    ),
    "wrong project": Failure(
        "CloudRunIdentity/wrong-project",
        "DependencyNotReady",
        (
            "spec.projectRef: ManagedProject $scene-unknown is not ready: spec.projectID: project "
            f"{UNKNOWN} does not exist, or the operator (serviceAccount:{OPERATOR}) may not see it",
            f"gcloud projects describe {UNKNOWN}",
            "delete the ManagedProject and create it with the right ID",
            CHECK,
        ),
        "spec: {projectRef: {name: $scene-unknown}}",
        is_warning=False,
    ),
    "org policy": Failure(
        "IdentityAttachment/org-policy",
        "PermissionDenied",
        (
            "reassigning Job europe-west1/far to checkout@$scene.iam.gserviceaccount.com was denied: "
            "iam.disableCrossProjectServiceAccountUsage is enforced in project $scene",
            "apply ManagedProject $scene with spec {crossProjectUsage: Allow}",
            "gcloud resource-manager org-policies disable-enforce "
            "iam.disableCrossProjectServiceAccountUsage --project=$scene",
        ),
        """
        spec:
          projectRef: {name: $scene-shared}
          workload: {kind: Job, location: europe-west1, name: far}
          identityRef: {name: checkout}
        """,
    ),
    "missing member": Failure(
        "IAMBinding/no-member",
        "Rejected",
        (
            "roles/logging.logWriter for serviceAccount:ghost@$scene.iam.gserviceaccount.com on Project",
            "ghost@$scene.iam.gserviceaccount.com does not exist; check that the member exists",
        ),
        """
        spec:
          target: {kind: Project}
          role: roles/logging.logWriter
          members: [{principal: "serviceAccount:ghost@$scene.iam.gserviceaccount.com"}]
        """,
    ),
    "account quota": Failure(
        "CloudRunIdentity/no-room",
        "QuotaExceeded",
        (
            f"project {FULL_PROJECT} has the maximum number of service accounts",
            "delete those that are not in use, or request a higher quota at "
            f"https://console.cloud.google.com/iam-admin/quotas?project={FULL_PROJECT}",
        ),
        "spec: {projectRef: {name: $scene-full}}",
    ),
    "workload missing": Failure(
        "IdentityAttachment/no-workload",
        "WorkloadNotFound",
        (
            "spec.workload: Job europe-west1/absent does not exist in project $scene",
            "deploy it, or correct kind, location and name",
        ),
        """
        spec: {workload: {kind: Job, location: europe-west1, name: absent}, identityRef: {name: checkout}}
        """,
    ),
    "image missing": Failure(
        "IdentityAttachment/no-image",
        "RevisionFailed",
        (
            "Service europe-west1/broken: broken-",
            "Image 'europe-docker.pkg.dev/acme/app:2' not found; broken-",
            "keeps serving. Correct the cause and deploy the workload again",
            "gcloud run revisions describe broken-",
        ),
        """
        spec: {workload: {kind: Service, location: europe-west1, name: broken}, identityRef: {name: checkout}}
        """,
    ),
    "keys refused": Failure(
        "IdentityKey/no-key",
        "Rejected",
        (
            f"Google Cloud creates no key for key-user@{KEYLESS}.iam.gserviceaccount.com",
            "Attach the identity, impersonate it or use Workload Identity instead",
            "gcloud resource-manager org-policies disable-enforce iam.disableServiceAccountKeyCreation "
            f"--project={KEYLESS}",
        ),
        "spec: {projectRef: {name: $scene-keyless}, identityRef: {name: key-user}, secretName: key}",
    ),
    "guardrail": Failure(
        "IAMBinding/denied",
        "DeniedByGuardrail",
        (
            "guardrails.grants of ManagedProject $scene does not admit roles/run.admin on Project $scene for "
            "identity:$scene/checkout in namespace $scene; an entry for it needs allowEscalation, because "
            "its holder can",
            "To admit this (this permits privilege escalation), run as an administrator of the project: "
            "kubectl patch managedproject $scene",
        ),
        """
        spec: {target: {kind: Project}, role: roles/run.admin, members: [{identityRef: {name: checkout}}]}
        """,
    ),
    "suspended": Failure(
        "CloudRunIdentity/suspended",
        "Suspended",
        (
            "spec.suspend is true: nothing is read or written, except to remove temporary grants at their "
            "end, until you run: kubectl patch cloudrunidentity -n $scene suspended",
        ),
        "spec: {suspend: true}",
        is_warning=False,
    ),
    "ledger edited": Failure(
        "IAMBinding/recorded",
        "LedgerInvalid",
        (
            "'nonsense': must be KIND/NAMESPACE/NAME/UID",
            "nothing that it records is changed; repair it with `kubectl edit pledger -n cloudrun-identity",
        ),
    ),
    "cross-project": Failure(
        "IdentityAttachment/cross-project",
        "DependencyNotReady",
        (
            "reassigning Job europe-west1/near to",
            "@serverless-robot-prod.iam.gserviceaccount.com may not create tokens for",
            "apply CloudRunIdentity $scene/shared with spec {usableFrom: [{projectRef: {name: $scene}}]}",
        ),
        """
        spec: {workload: {kind: Job, location: europe-west1, name: near}, identityRef: {name: shared}}
        """,
        is_warning=False,
    ),
    "bad reference": Failure(
        "IAMBinding/bad-reference",
        "DependencyNotFound",
        (
            "spec.members[0]: CloudRunIdentity $scene/chekout does not exist; create it, or correct the "
            "reference",
        ),
        """
        spec:
          target: {kind: Project}
          role: roles/cloudsql.client
          members: [{identityRef: {name: chekout}}]
        """,
        is_warning=False,
    ),
    "API off": Failure(
        "CloudRunIdentity/api-off",
        "ApiDisabled",
        (
            "iam.googleapis.com is not enabled in project $scene; the operator retries within some minutes "
            "after you run: gcloud services enable iam.googleapis.com --project=$scene",
        ),
        "spec: {}",
    ),
}


@pytest.fixture(scope="module")
def night(shared_stage: Stage) -> Iterator[Scene]:
    """Provide a scene with all failures."""
    shared_stage.google.ensure()
    shared_stage.cloud.recover()
    shared_stage.ensure_operator()
    scene = Scene(shared_stage, "acme-night-shop")
    scene.cloud.deploy("jobs", scene.name, "near")
    scene.cloud.deploy("jobs", SHARED, "far")
    broken = scene.cloud.deploy("services", scene.name, "broken")
    scene.cloud.fails_to_start(broken, "Image 'europe-docker.pkg.dev/acme/app:2' not found.")
    scene.apply(PROJECTS)
    scene.apply(WORKING)
    scene.ready("CloudRunIdentity/checkout", "CloudRunIdentity/key-user", "IAMBinding/recorded")
    for failure in FAILURES.values():
        kind, _, name = failure.name.partition("/")
        if failure.manifest and failure is not FAILURES["API off"]:
            scene.apply(f"kind: {kind}\nmetadata: {{name: {name}}}\n{dedented(failure.manifest)}")
    yield scene
    scene.cloud.recover()
    scene.end()


def dedented(manifest: str) -> str:
    lines = manifest.strip("\n").splitlines()
    indent = len(lines[0]) - len(lines[0].lstrip())
    return "\n".join(line[indent:] for line in lines)


def disable_api(scene: Scene) -> None:
    """Disable the IAM API for new accounts, as Google refuses the calls."""
    number = scene.cloud.project_number(scene.name)
    info = {
        "reason": "SERVICE_DISABLED",
        "metadata": {"service": "iam.googleapis.com", "consumer": f"projects/{number}"},
    }
    message = f"Identity and Access Management (IAM) API has not been used in project {number} before."
    scene.cloud.fail(
        "*.IAM/CreateServiceAccount", "PERMISSION_DENIED", times=10_000, message=message, errorInfo=info
    )


def edit_ledger(scene: Scene) -> None:
    ledger = scene.raw_ledger(f"//cloudresourcemanager.googleapis.com/{scene.project}")
    bindings = deepcopy(ledger["spec"]["bindings"])
    bindings[0]["members"][0]["owners"] = ["nonsense"]
    scene.edit_ledger(ledger, {"bindings": bindings})


PREPARATIONS = {"ledger edited": edit_ledger, "API off": disable_api}


@pytest.mark.parametrize("what", FAILURES)
def test_failure_of_a_night_is_explained(night: Scene, what: str) -> None:
    failure = FAILURES[what]
    if prepare := PREPARATIONS.get(what):
        prepare(night)
    if what == "API off":
        night.apply(f"kind: CloudRunIdentity\nmetadata: {{name: api-off}}\n{failure.manifest}")

    says = [Template(each).substitute(scene=night.name) for each in failure.says]
    message = night.fails(failure.name, failure.reason, saying=says[0])

    for part in says:
        assert part in message
    assert ".;" not in message
    # An Event reports the transition. The message may have changed since, for the same reason.
    night.wait_for_event(failure.name, failure.reason)
    kind, _, name = failure.name.partition("/")
    level = "WARNING" if failure.is_warning else "INFO"
    beginning = f"{kind} {night.name}/{name}: {failure.reason}: "
    eventually(
        lambda: [
            line
            for line in night.stage.operator.log()
            if line["level"] == level and str(line["message"]).startswith(beginning)
        ],
        bool,
    )


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kubectl_get_shows_which_projects_are_degraded(night: Scene) -> None:
    def shown() -> dict[str, list[str]]:
        done = subprocess.run(
            ["kubectl", f"--kubeconfig={night.stage.kube_api.kubeconfig}", "get", "mproj", "--no-headers"],
            capture_output=True,
            text=True,
            timeout=HUNG_AFTER,
            check=True,
        )
        lines = map(str.split, done.stdout.splitlines())
        return {line[0]: line[1:] for line in lines}

    def is_shown(found: dict[str, list[str]]) -> bool:
        return "MissingPermissions" in found.get(f"{night.name}-lacking", ()) and "AsExpected" in found.get(
            night.name, ()
        )

    eventually(shown, is_shown)
    lacking = f"ManagedProject/{night.name}-lacking"
    condition = night.condition(lacking, "Degraded")
    assert condition
    assert condition["message"].startswith(f"The operator (serviceAccount:{OPERATOR}) lacks ")
    assert night.wait_for_event(lacking, "MissingPermissions")


def test_deleting_an_identity_is_no_drift_of_a_binding_on_its_account(scene: Scene) -> None:
    scene.apply("""
kind: CloudRunIdentity
metadata: {name: checkout}
---
kind: IAMBinding
metadata: {name: by-email}
spec:
  target: {kind: Project}
  role: roles/cloudsql.client
  members: [{principal: "serviceAccount:checkout@$scene.iam.gserviceaccount.com"}]
""")
    scene.ready("CloudRunIdentity/checkout", "IAMBinding/by-email")
    scene.delete_and_wait("CloudRunIdentity/checkout")
    scene.fails("IAMBinding/by-email", "Rejected", saying="does not exist")
    scene.apply("{kind: CloudRunIdentity, metadata: {name: checkout}}")
    scene.ready("CloudRunIdentity/checkout", "IAMBinding/by-email")

    reasons = {reason for reason, _ in scene.cluster.events("IAMBinding", "by-email", scene.name)}
    assert not reasons & {"DriftDetected", "DriftRepaired"}


def test_preflight_of_a_ready_attachment_follows_the_organization_policy(night: Scene) -> None:
    def state() -> str:
        checks = night.status("IdentityAttachment/cross-project").get("preflight", ())
        return next((each["state"] for each in checks if each["check"] == "OrgPolicy"), "")

    night.patch("CloudRunIdentity/shared", f"spec: {{usableFrom: [{{projectRef: {{name: {night.name}}}}}]}}")
    night.ready("IdentityAttachment/cross-project")
    becomes(state, "Passed")
    night.cloud.drop_org_policy(f"projects/{SHARED}", CROSS_PROJECT_USAGE)  # the inherited one is enforced

    becomes(state, "Failed")
    night.ready("IdentityAttachment/cross-project")


def test_no_future_exception_is_left_unread(night: Scene) -> None:
    assert not [line for line in night.stage.logs() if "never retrieved" in str(line["message"])]
