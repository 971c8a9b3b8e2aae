"""The Google side of the demo: the state of the emulated cloud, and changes by others than the operator."""

import json
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiohttp

from .failure import DemoError

Policy = Mapping[str, tuple[str, ...]]
"""Members by role, in the order of the policy."""


class Edit(Protocol):
    """A change that another person makes in Google Cloud."""

    def to_json(self) -> str:
        """Return the body of `POST /control/edit`."""
        ...


@dataclass(frozen=True, slots=True)
class MemberRemoval:
    """Removal of a member from a role; `resource` is a full resource name (`//SERVICE/…`)."""

    resource: str
    role: str
    member: str
    author: Mapping[str, str] = field(default_factory=dict)
    """Author of the change, as the audit log shows it: `caller` and `userAgent`."""

    def to_json(self) -> str:
        """Return the body of `POST /control/edit`."""
        removed = [{"role": self.role, "member": self.member}]
        return json.dumps({"policy": self.resource, "remove": removed, **self.author})

    def __str__(self) -> str:
        return f"remove {self.role} from {self.member.partition(':')[2]}"


@dataclass(frozen=True, slots=True)
class WorkloadMove:
    """Deployment of a workload that runs as another service account."""

    workload: str
    email: str
    author: Mapping[str, str] = field(default_factory=dict)
    """Author of the change, as the audit log shows it: `caller` and `userAgent`."""

    def to_json(self) -> str:
        """Return the body of `POST /control/edit`."""
        return json.dumps({"workload": self.workload, "serviceAccount": self.email, **self.author})

    def __str__(self) -> str:
        return f"deploy {short_name(self.workload)} as {self.email}"


class Attempt(Protocol):
    """A call to the REST API with the caller's own token."""

    @property
    def path(self) -> str:
        """Path and query of the request."""
        ...

    def to_json(self) -> str:
        """Return the body of the POST."""
        ...


@dataclass(frozen=True, slots=True)
class JobCreation:
    """Creation of a job that runs as a service account; `parent` is `projects/P/locations/L`."""

    parent: str
    email: str

    @property
    def path(self) -> str:
        """Path with a new job id each time."""
        return f"/v2/{self.parent}/jobs?jobId=flow-run-{uuid.uuid4().hex[:8]}"

    def to_json(self) -> str:
        """Return the body of `POST jobs`, with Google's public sample image."""
        container = {"image": "us-docker.pkg.dev/cloudrun/container/job:latest"}
        return json.dumps(
            {"template": {"template": {"serviceAccount": self.email, "containers": [container]}}}
        )

    def __str__(self) -> str:
        return f"create a job that runs as {self.email}"


@dataclass(frozen=True, slots=True)
class IAMGrant:
    """Replacement of a service's IAM policy by one that grants a role; `service` is its relative name."""

    service: str
    role: str
    member: str

    @property
    def path(self) -> str:
        """Path of the service's policy."""
        return f"/v2/{self.service}:setIamPolicy"

    def to_json(self) -> str:
        """Return the body of `POST setIamPolicy`."""
        return json.dumps({"policy": {"bindings": [{"role": self.role, "members": [self.member]}]}})

    def __str__(self) -> str:
        return f"grant itself {self.role} on Service {self.service.rpartition('/')[2]}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error of the Google Cloud API; `code` is the HTTP status."""

    code: int
    message: str

    def __str__(self) -> str:
        return f"{self.code} {self.message}"


@dataclass(frozen=True, slots=True)
class CloudState:
    """The part of Google Cloud that the demo shows. Resources have full names (`//SERVICE/…`)."""

    policies: Mapping[str, Policy]
    accounts_of_workloads: Mapping[str, str]

    def has(self, removal: MemberRemoval) -> bool:
        """Return whether the member holds the role."""
        return removal.member in self.policies.get(removal.resource, {}).get(removal.role, ())


class GoogleCloud:
    """The emulator's REST port."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def state(self) -> CloudState:
        """Read the current state. This does not count as a call."""
        return parse_state(await self._control("GET", "state"))

    async def calls(self) -> Counter[str]:
        """Return the number of calls by RPC."""
        return Counter(await self._control("GET", "calls"))

    async def set_switches(self, **switches: Any) -> None:
        """Set switches of the emulator by their names in camel case."""
        await self._control("PATCH", "switches", json.dumps(switches))

    async def edit(self, change: Edit) -> None:
        """Change Google Cloud without the operator."""
        await self._control("POST", "edit", change.to_json())

    async def add_change_feed(self, projects: Iterable[str], home: str) -> str:
        """Route the audit logs of projects to a topic in the project `home`; return its subscription."""
        topic, subscription = f"projects/{home}/topics/changes", f"projects/{home}/subscriptions/changes"
        await self._call("PUT", f"/v1/{topic}", {})
        await self._call("PUT", f"/v1/{subscription}", {"topic": topic})
        sink = {
            "name": "changes",
            "destination": f"pubsub.googleapis.com/{topic}",
            "filter": 'log_id("cloudaudit.googleapis.com/activity")',
        }
        path = "/v2/projects/{}/sinks?uniqueWriterIdentity=true"
        writers = [(await self._call("POST", path.format(each), sink))["writerIdentity"] for each in projects]
        policy = {"bindings": [{"role": "roles/pubsub.publisher", "members": writers}]}
        await self._call("POST", f"/v1/{topic}:setIamPolicy", {"policy": policy})
        return subscription

    async def attempt(self, attempt: Attempt, principal: str) -> Refusal | None:
        """Make a call as a principal; return None if it succeeds."""
        headers = {"Authorization": f"Bearer {principal}", "Content-Type": "application/json"}
        url = f"{self._url}{attempt.path}"
        async with self._session.post(url, data=attempt.to_json(), headers=headers) as reply:
            answer = await reply.json()
        return Refusal(reply.status, answer["error"]["message"]) if reply.status >= 400 else None

    async def _call(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        async with self._session.request(method, f"{self._url}{path}", json=body) as reply:
            answer = await reply.json()
        if reply.status >= 400:
            raise DemoError(f"{method} {path}: {answer}")
        return answer

    async def _control(self, method: str, what: str, body: str | None = None) -> Any:
        async with self._session.request(method, f"{self._url}/control/{what}", data=body) as reply:
            text = await reply.text()
        if reply.status >= 400:
            raise DemoError(f"{method} /control/{what}: {text.strip()}")
        return json.loads(text) if text else None


def parse_state(state: Mapping[str, Any]) -> CloudState:
    """Parse the answer of `GET /control/state`, which has relative resource names."""
    workloads = {
        name: workload for collection in _WORKLOAD_COLLECTIONS for name, workload in state[collection].items()
    }
    return CloudState(
        policies={
            _full_name(name): _policy(policy)
            for name, policy in state["policies"].items()
            if name.split("/")[-2] in _KINDS
        },
        accounts_of_workloads={
            _full_name(name): _account(workload) or _default_account(name, state["projects"])
            for name, workload in workloads.items()
        },
    )


def short_name(resource: str) -> str:
    """Return a short name of a resource, such as `Service acme-shop/europe-west1/checkout`."""
    parts = resource.removeprefix("//").split("/")[1:]
    collection, names = parts[-2], parts[1::2]
    if collection == "serviceAccounts":
        names = names[-1:]  # the e-mail contains the project
    return f"{_KINDS[collection].label} {'/'.join(names)}"


@dataclass(frozen=True, slots=True)
class _Kind:
    label: str
    host: str


_WORKLOAD_COLLECTIONS = ("services", "jobs", "workerPools")
_RUN = "run.googleapis.com"
_KINDS = {
    "projects": _Kind("Project", "cloudresourcemanager.googleapis.com"),
    "serviceAccounts": _Kind("ServiceAccount", "iam.googleapis.com"),
    "services": _Kind("Service", _RUN),
    "jobs": _Kind("Job", _RUN),
    "workerPools": _Kind("WorkerPool", _RUN),
}


def _full_name(resource: str) -> str:
    return f"//{_KINDS[resource.split('/')[-2]].host}/{resource}"


def _policy(policy: Mapping[str, Any]) -> Policy:
    return {_role(binding): tuple(binding.get("members", ())) for binding in policy.get("bindings", ())}


def _role(binding: Mapping[str, Any]) -> str:
    condition = binding.get("condition", {}).get("title")
    return f"{binding['role']} if {condition}" if condition else str(binding["role"])


def _account(workload: Mapping[str, Any]) -> str:
    """Return the service account that the template names, or an empty string."""
    template = workload.get("template", {})  # a job has another template in it
    account: str = template.get("template", template).get("serviceAccount", "")
    return account


def _default_account(workload: str, projects: Mapping[str, Any]) -> str:
    """Return the account that Cloud Run uses if a template names none: the Compute Engine default account."""
    number = projects[workload.split("/")[1]]["projectNumber"]
    return f"{number}-compute@developer.gserviceaccount.com"
