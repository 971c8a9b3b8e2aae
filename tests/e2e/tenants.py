"""Two teams that share a project (`Tenants`): the scene's team, and Mallory's, which attacks it.

Resyncs are an hour apart, so an attempt causes every call that the emulator counts during it.
"""

import json
from collections import Counter
from dataclasses import dataclass
from string import Template

import yaml

from tests.e2e.cluster import Object
from tests.e2e.scene import Scene

DELEGATED = """
kind: ManagedProject
metadata: {name: $scene}
spec:
  driftInterval: 1h
  locations: [europe-west1]
  namespaces: {names: [$scene, $mallory]}
  guardrails:
    accounts: &listed
    - {email: $default, namespaces: ["*"]}
    - {email: $credential, namespaces: ["*"]}
    - {email: $legacy, namespaces: [$scene]}
    adoptableAccounts: *listed
    adoptableRoles: [{roleID: opsHandmade, namespaces: [$scene]}]
    customRoles: {permissions: ["run.*"], namespaces: ["*"]}
    restoreToDefaultAccount: true
    workloads:
    - {namespaces: [$scene], names: ["checkout*"]}
    - {namespaces: [$mallory], names: ["mallory*"], locations: [europe-west1]}
    grants:
    - roles: ["roles/run.*", roles/cloudsql.client]
      targetKinds: [Project, Service]
      members: ["*"]
      namespaces: ["*"]
    - {roles: ["projects/*/roles/*"], targetKinds: [Project], members: ["*"], namespaces: ["*"]}
    - roles: [roles/logging.viewer]
      targetKinds: [Project]
      members: ["*"]
      namespaces: ["*"]
      conditions: ["$condition"]
    - roles: [roles/secretmanager.secretAccessor]
      targetKinds: [Secret]
      names: ["mallory-*"]
      members: ["identity:$mallory/mallory"]
      namespaces: [$mallory]
    - roles: [roles/cloudfunctions.viewer]
      targetKinds: [Resource]
      services: [cloudfunctions.googleapis.com, secretmanager.googleapis.com, run.googleapis.com]
      names: ["*mallory-*"]
      locations: [europe-west1]
      members: ["identity:$mallory/mallory"]
      namespaces: [$mallory]
---
kind: ManagedProject
metadata: {name: $vault}
spec:
  driftInterval: 1h
  locations: [europe-west1]
  namespaces: {names: [$scene]}
---
kind: ManagedProject
metadata: {name: $careless}
spec:
  driftInterval: 1h
  locations: [europe-west1]
  namespaces: {names: [$scene, $mallory]}
  guardrails:
    customRoles: {permissions: ["*"], namespaces: ["*"]}
    workloads: [{namespaces: ["*"]}]
    grants:
    - roles: ["*"]
      targetKinds: [Project, ServiceAccount, Service, Job, WorkerPool, Secret]
      names: ["*"]
      members: ["*"]
      namespaces: ["*"]
---
kind: ManagedProject
metadata: {name: $vault-ops}
spec:
  credentials: {impersonateServiceAccount: $credential}
  suspend: true
---
kind: CloudRunIdentity
metadata: {name: checkout}
---
kind: CloudRunIdentity
metadata: {name: mallory, namespace: $mallory}
---
kind: CloudRunIdentity
metadata: {name: careless, namespace: $mallory}
spec: {projectRef: {name: $careless}}
"""

ON_PROJECT = "{target: {kind: Project}, role: %s, members: [{principal: 'user:mallory@example.com'}]}"
TO = "{target: {kind: Project}, role: roles/cloudsql.client, members: [%s]}"
ATTACH = """{workload: {kind: Service, location: europe-west1, name: %s}, identityRef: %s}"""


ON_ACCOUNT = """{target: {kind: ServiceAccount, email: %s}, role: roles/iam.serviceAccountTokenCreator,
                 members: [{principal: 'user:mallory@example.com'}]}"""
ON_OWN_SERVICE = """{target: {kind: Service, location: europe-west1, name: mallory-web},
                     role: roles/run.invoker, members: [{principal: '%s'}]}"""
RUN_AS = "{workload: {kind: Service, location: europe-west1, name: mallory-web}, email: %s}"

READING_A_ROLE = "IAM/GetRole"
"""The operator must read a role to decide whether it escalates, and to propose an entry that admits it."""

CARE_OF_AN_ACCOUNT = (
    READING_A_ROLE,
    "Executions/ListExecutions",
    "IAM/CreateServiceAccount",
    "IAM/DeleteServiceAccount",
    "IAM/GetServiceAccount",
    "IAM/ListServiceAccountKeys",
    "IAM/ListServiceAccounts",
    "IAM/TestIamPermissions",
    "Jobs/ListJobs",
    "Services/ListServices",
    "WorkerPools/ListWorkerPools",
)
"""The operator creates and deletes the account of an identity, although it refuses roles of the identity."""


@dataclass(frozen=True)
class Attempt:
    """An object in Mallory's namespace, the expected refusal, and the calls that it may cause."""

    spec: str
    refusal: str
    kind: str = "IAMBinding"
    reason: str = "DeniedByGuardrail"
    may_call: tuple[str, ...] = ()
    is_final: bool = True
    """True if only an edit can help: Stalled."""


@dataclass(frozen=True)
class Names:
    """Names that attempts use: of the shared projects, and of the project of the other team alone.

    `careless` is a shared project that admits everything which needs no flag.
    """

    mallory: str
    scene: str
    vault: str
    default: str
    powerful: str
    credential: str
    legacy: str
    vault_number: str
    vault_agent: str
    careless: str
    condition: str = "request.time < timestamp('2030-01-01T00:00:00Z')"


class Tenants:
    """Two teams on one project, and a project of the first team only."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.mallory = scene.add_namespace(f"{scene.name}-mal")
        self.vault = f"{scene.name}-v"
        self.careless = f"{scene.name}-c"
        scene.cloud.add(f"projects/{self.vault}", "roles/viewer", "user:ann@example.com")
        scene.cloud.add(scene.project, "roles/run.invoker", "user:ann@example.com")
        scene.cloud.deploy("services", scene.name, "checkout")
        self.service = scene.cloud.deploy("services", scene.name, "mallory-web")
        scene.cloud.add(f"projects/{self.careless}", "roles/viewer", "user:ann@example.com")
        for account_id in ("powerful", "credential", "legacy"):
            scene.cloud.create_account(scene.name, account_id)
        scene.cloud.create_role(scene.name, "harmless", ["resourcemanager.projects.setIamPolicy"])
        scene.cloud.create_role(scene.name, "opsHandmade", ["run.jobs.get", "run.jobs.list"])
        scene.cloud.add(scene.project, f"{scene.project}/roles/opsHandmade", "group:ops@example.com")
        numbers = {name: scene.cloud.project_number(name) for name in (scene.name, self.vault)}
        self._names = Names(
            mallory=self.mallory,
            scene=scene.name,
            vault=self.vault,
            default=f"{numbers[scene.name]}-compute@developer.gserviceaccount.com",
            powerful=scene.email("powerful"),
            credential=scene.email("credential"),
            legacy=scene.email("legacy"),
            vault_number=numbers[self.vault],
            vault_agent=f"service-{numbers[self.vault]}@serverless-robot-prod.iam.gserviceaccount.com",
            careless=self.careless,
        )

    def text(self, template: str) -> str:
        return Template(template).substitute(vars(self._names))

    def parsed(self, template: str) -> Object:
        """Return YAML with names replaced."""
        parsed: Object = yaml.safe_load(self.text(template))
        return parsed

    def manifest(self, kind: str, spec: str, name: str = "attempt") -> Object:
        """Return an object in Mallory's namespace, ready to apply."""
        parsed = {"projectRef": {"name": self.scene.name}} | self.parsed(spec)
        return {"kind": kind, "metadata": {"name": name, "namespace": self.mallory}, "spec": parsed}

    def apply(self, kind: str, spec: str, name: str = "attempt") -> str:
        """Apply an object in Mallory's namespace; return its `KIND/NAME`."""
        self.scene.apply(json.dumps(self.manifest(kind, spec, name)).replace("$", "$$"))
        return f"{kind}/{name}"

    def cloud(self) -> tuple[object, ...]:
        """Return the state of everything that must not change."""
        cloud, scene = self.scene.cloud, self.scene
        return (
            cloud.policies(),
            cloud.accounts(scene.name),
            cloud.accounts(self.vault),
            cloud.accounts(self.careless),
            cloud.roles(scene.name),
            cloud.roles(self.careless),
            cloud.runs_as(scene.service("checkout")),
            cloud.runs_as(self.service),
        )

    def calls_for(self, name: str = "") -> Counter[str]:
        """Return how often the operator called each RPC for an object of Mallory, or for any of them.

        Calls for other objects are no effect of an attempt: the operator looks at its projects on its own.
        """
        _, _, plain = name.partition("/")
        about = f"{self.mallory}/{plain}@" if plain else f"{self.mallory}/"
        return Counter(call["rpc"].rpartition(".")[2] for call in self.scene.cloud.log(about))

    def refuse(self, attempt: Attempt) -> None:
        """Make an attempt, and check that it is refused with no effect and no further calls."""
        scene = self.scene
        cloud, calls = self.cloud(), self.calls_for()

        name = self.apply(attempt.kind, attempt.spec)
        message = scene.fails(name, attempt.reason, namespace=self.mallory)
        assert self.text(attempt.refusal) in message
        assert scene.is_stalled(name, namespace=self.mallory)
        scene.delete(name, namespace=self.mallory)
        scene.wait_until_deleted(name, namespace=self.mallory)

        assert set(self.calls_for() - calls) <= set(attempt.may_call)
        assert self.cloud() == cloud
