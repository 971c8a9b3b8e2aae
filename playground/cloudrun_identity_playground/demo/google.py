"""The Google side of the demo: what is in the emulated cloud, and changes to it by somebody else."""

import json
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp

from .failure import DemoError

Policy = Mapping[str, tuple[str, ...]]
"""The members of each role, in the order of the policy."""


class Edit(Protocol):
    """A change to the cloud as somebody else makes it."""

    def to_json(self) -> str:
        """Write the body of `POST /control/edit`."""
        ...


@dataclass(frozen=True, slots=True)
class MemberRemoval:
    """A member is taken out of a role; `resource` is a full resource name (`//SERVICE/…`)."""

    resource: str
    role: str
    member: str

    def to_json(self) -> str:
        """Write the body of `POST /control/edit`."""
        return json.dumps({"policy": self.resource, "remove": [{"role": self.role, "member": self.member}]})

    def __str__(self) -> str:
        return f"takes {self.role} away from {self.member.partition(':')[2]}"


@dataclass(frozen=True, slots=True)
class WorkloadMove:
    """A workload is deployed to run as another account."""

    workload: str
    email: str

    def to_json(self) -> str:
        """Write the body of `POST /control/edit`."""
        return json.dumps({"workload": self.workload, "serviceAccount": self.email})

    def __str__(self) -> str:
        return f"deploys {short_name(self.workload)} as {self.email}"


class Attempt(Protocol):
    """A call that somebody makes for himself, by the REST API, with a token of his own."""

    @property
    def path(self) -> str:
        """Where to, with the query."""
        ...

    def to_json(self) -> str:
        """Write the body of the POST."""
        ...


@dataclass(frozen=True, slots=True)
class JobCreation:
    """A job is created to run as an account; `parent` is `projects/P/locations/L`."""

    parent: str
    email: str

    @property
    def path(self) -> str:
        """Every job has an id of its own."""
        return f"/v2/{self.parent}/jobs?jobId=flow-run-{uuid.uuid4().hex[:8]}"

    def to_json(self) -> str:
        """Write the body of `POST jobs`, with Google's own sample image, which everybody may read."""
        container = {"image": "us-docker.pkg.dev/cloudrun/container/job:latest"}
        return json.dumps(
            {"template": {"template": {"serviceAccount": self.email, "containers": [container]}}}
        )

    def __str__(self) -> str:
        return f"create a job that runs as {self.email}"


@dataclass(frozen=True, slots=True)
class IAMGrant:
    """A service's IAM policy is replaced by one that grants a role; `service` is its relative name."""

    service: str
    role: str
    member: str

    @property
    def path(self) -> str:
        """The service's policy."""
        return f"/v2/{self.service}:setIamPolicy"

    def to_json(self) -> str:
        """Write the body of `POST setIamPolicy`."""
        return json.dumps({"policy": {"bindings": [{"role": self.role, "members": [self.member]}]}})

    def __str__(self) -> str:
        return f"grant itself {self.role} on Service {self.service.rpartition('/')[2]}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Google's no: `code` as HTTP has it."""

    code: int
    message: str

    def __str__(self) -> str:
        return f"{self.code} {self.message}"


@dataclass(frozen=True, slots=True)
class CloudState:
    """What the demo looks at; resources by their full names (`//SERVICE/…`)."""

    policies: Mapping[str, Policy]
    accounts_of_workloads: Mapping[str, str]

    def has(self, removal: MemberRemoval) -> bool:
        """Whether the member still, or again, holds the role."""
        return removal.member in self.policies.get(removal.resource, {}).get(removal.role, ())


class GoogleCloud:
    """The emulator's REST port."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def state(self) -> CloudState:
        """Read everything as it is now. It counts as no call."""
        return parse_state(await self._control("GET", "state"))

    async def calls(self) -> Counter[str]:
        """Count how often each RPC was called, by its name."""
        return Counter(await self._control("GET", "calls"))

    async def turn(self, **switches: Any) -> None:
        """Turn switches of the cloud, by their names in camel case."""
        await self._control("PATCH", "switches", json.dumps(switches))

    async def edit(self, change: Edit) -> None:
        """Change the cloud as somebody else, behind the operator's back."""
        await self._control("POST", "edit", change.to_json())

    async def attempt(self, attempt: Attempt, principal: str) -> Refusal | None:
        """Make a call as a principal of the cloud; None: it was done."""
        headers = {"Authorization": f"Bearer {principal}", "Content-Type": "application/json"}
        url = f"{self._url}{attempt.path}"
        async with self._session.post(url, data=attempt.to_json(), headers=headers) as reply:
            answer = await reply.json()
        return Refusal(reply.status, answer["error"]["message"]) if reply.status >= 400 else None

    async def _control(self, method: str, what: str, body: str | None = None) -> Any:
        async with self._session.request(method, f"{self._url}/control/{what}", data=body) as reply:
            text = await reply.text()
        if reply.status >= 400:
            raise DemoError(f"{method} /control/{what}: {text.strip()}")
        return json.loads(text) if text else None


def parse_state(state: Mapping[str, Any]) -> CloudState:
    """Read the answer of `GET /control/state`, whose resources go by their relative names."""
    workloads = {
        name: workload for collection in _WORKLOAD_COLLECTIONS for name, workload in state[collection].items()
    }
    return CloudState(
        policies={_full_name(name): _policy(policy) for name, policy in state["policies"].items()},
        accounts_of_workloads={
            _full_name(name): _account(workload) or _default_account(name, state["projects"])
            for name, workload in workloads.items()
        },
    )


def short_name(resource: str) -> str:
    """Shorten a full resource name to what people say: `Service acme-shop/europe-west1/checkout`."""
    parts = resource.removeprefix("//").split("/")[1:]
    collection, names = parts[-2], parts[1::2]
    if collection == "serviceAccounts":
        names = names[-1:]  # its e-mail tells the project
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
    """Read the account of the template, which of a job lies one level deeper; empty for the default."""
    template = workload.get("template", {})
    account: str = template.get("template", template).get("serviceAccount", "")
    return account


def _default_account(workload: str, projects: Mapping[str, Any]) -> str:
    """Name the account that Cloud Run uses where a template names none: Compute Engine's default."""
    number = projects[workload.split("/")[1]]["projectNumber"]
    return f"{number}-compute@developer.gserviceaccount.com"
