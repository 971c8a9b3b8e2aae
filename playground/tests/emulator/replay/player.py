"""Replay of a recording against an emulator that has the resources which the recording assumes.

The clock advances before a policy write, when Google knows all new accounts, and if a read differs from the
recording, because operations take time and reads of new accounts flap.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
from google.iam.v1 import iam_policy_pb2, policy_pb2
from google.protobuf import json_format
from google.protobuf.field_mask_pb2 import FieldMask

from cloudrun_identity_playground.emulator import Emulator, Seed

from . import targets
from .comparison import differences
from .creations import Creations
from .recordings import PROJECT, PROJECT_NUMBER, Exchange, read

_SERVED = re.compile(
    r"(?:[a-z0-9-]+-)?(run|iam|iamcredentials|cloudresourcemanager|orgpolicy)\.googleapis\.com"
)
_READS = 3
_NOT_SERVED = "not served"
_PARTS = ("metadata", "error")
_SOMETIMES_REMOVED = frozenset({"metadata.uid", "error.details"})
_LAG, _OPERATION = "3600s", "60s"
_LEARNT = re.compile(r"projects/[^/]+/(?:locations/[^/]+/operations|serviceAccounts/[^/]+/keys)/[^/:?]+")


@dataclass
class Report:
    """Numbers of compared and of equal responses, and the differences, each with its first place."""

    compared: int = 0
    equal: int = 0
    differences: dict[str, str] = field(default_factory=dict)

    def add(self, difference: str, place: str) -> None:
        self.differences.setdefault(difference, place)


class _Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


async def replay(file: Path) -> Report:
    """Replay the recording in `file`.

    Raises RecordingError: It is not a recording.
    """
    exchanges = read(file)
    clock = _Clock()
    seed = Seed.model_validate(_seed(exchanges))
    async with (
        Emulator(seed=seed, rest_port=0, clock=clock) as emulator,
        aiohttp.ClientSession() as session,
    ):
        player = _Player(emulator, session, clock, _removed(exchanges), Creations(exchanges))
        return await player.play(exchanges)


def _removed(exchanges: Sequence[Exchange]) -> frozenset[str]:
    """Return the paths of fields that the recording was stripped of: no response has them.

    Config Connector's tests remove the `uid` in the metadata of operations. Their errors have no details,
    which Google sends, for example in https://github.com/GoogleCloudPlatform/reg-reporting-blueprint/issues/104.
    """
    answers = [each.answer for each in exchanges if isinstance(each.answer, dict)]
    shown = {f"{part}.{name}" for part in _PARTS for answer in answers for name in answer.get(part, ())}
    return frozenset(_SOMETIMES_REMOVED - shown)


def _is_operation(answer: Any) -> bool:
    return isinstance(answer, dict) and "metadata" in answer


def _seed(exchanges: Sequence[Exchange]) -> Mapping[str, Any]:
    named = (re.search(r"/projects/([a-z][^/:?]*)", each.path) for each in exchanges)
    projects = {match[1] for match in named if match is not None}
    numbers = re.findall(r"(\d+)-compute@developer", str([each.answer for each in exchanges]))
    known = {PROJECT: PROJECT_NUMBER}
    if len(projects) == 1:
        known |= dict(zip(projects, numbers, strict=False))
    found = _projects_as_found(exchanges)
    return {
        "lag": _LAG,
        "operationTime": _OPERATION,
        "projects": [
            {
                "projectID": name,
                **({"projectNumber": known[name]} if name in known else {}),
                **found.get(name, {}),
            }
            for name in sorted(projects)
        ],
    }


def _projects_as_found(exchanges: Sequence[Exchange]) -> Mapping[str, Mapping[str, Any]]:
    """Return the name, the labels and the parent of each project at its first read."""
    found: dict[str, Mapping[str, Any]] = {}
    for exchange in exchanges:
        match = re.fullmatch(r"/v\d/projects/([a-z][^/:?]*)", exchange.path)
        if match is None or exchange.status != HTTPStatus.OK or not isinstance(exchange.answer, dict):
            continue
        shown, parent = exchange.answer, exchange.answer.get("parent", "")
        if isinstance(parent, dict):
            parent = f"{parent['type']}s/{parent['id']}"
        if not re.fullmatch(r"(folders|organizations)/\d+", parent):  # the recording has no number of it
            parent = ""
        name = shown.get("displayName" if exchange.path.startswith("/v3/") else "name", "")
        found.setdefault(match[1], {"labels": shown.get("labels", {}), "displayName": name, "parent": parent})
    return found


class _Player:
    def __init__(
        self,
        emulator: Emulator,
        session: aiohttp.ClientSession,
        clock: _Clock,
        removed: frozenset[str],
        creations: Creations,
    ) -> None:
        self._emulator = emulator
        self._session = session
        self._clock = clock
        self._removed = removed
        self._creations = creations
        self._names: dict[str, str] = {}  # recorded names of operations and etags → those of the emulator
        self._known: dict[str, Any] = {}  # last recorded policies by resource

    async def play(self, exchanges: Sequence[Exchange]) -> Report:
        report = Report()
        for exchange in exchanges:
            if _SERVED.fullmatch(exchange.host) is None and not targets.is_policy_method(exchange):
                report.add(f"{exchange.host}: {_NOT_SERVED}", exchange.place)
                continue
            found = [_NOT_SERVED] if self._creations.concern(exchange) else await self._found(exchange)
            if found == [_NOT_SERVED]:
                report.add(f"{_kind(exchange)} {_NOT_SERVED}", exchange.place)
                continue
            report.compared += 1
            report.equal += not found
            for difference in found:
                report.add(f"{_kind(exchange)} {difference}", exchange.place)
        return report

    async def _found(self, exchange: Exchange) -> Sequence[str]:
        """Return the differences of one exchange."""
        self._prepare(exchange)
        found = await self._once(exchange)
        if not found or not _only_reads(exchange):
            return found
        for _ in range(_READS):  # reads of a new or disabled account flap
            if not (found := await self._once(exchange)):
                return found
        self._clock.now += float(_OPERATION.removesuffix("s"))
        return await self._once(exchange)

    async def _once(self, exchange: Exchange) -> Sequence[str]:
        self._clock.now += 0.5
        url = self._emulator.rest_url + self._said_here(exchange.path)
        async with self._session.request(
            exchange.verb, url, params=list(exchange.query), json=self._said_here(exchange.sent)
        ) as response:
            shown = await response.json()
            status = response.status
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            return [_NOT_SERVED]
        if status != exchange.status:
            return [f"status: {exchange.status} → {status}"]
        if exchange.answer is None:
            return []
        self._learn(exchange.answer, shown)
        ignored = {f"{path}: not Google's" for path in self._removed}
        return sorted(_folded(set(differences(exchange.answer, shown)) - ignored))

    def _prepare(self, exchange: Exchange) -> None:
        """Advance the clock before a write, and set the policy that a read shows for the first time."""
        targets.plant(self._emulator, exchange)
        resource, _, verb = exchange.path.rpartition(":")
        needs_account = exchange.path.endswith("/keys") or "run.googleapis.com" in exchange.host
        if needs_account and exchange.verb in ("POST", "PATCH"):
            self._clock.now += float(_LAG.removesuffix("s"))
        if verb == "setIamPolicy":
            self._clock.now += float(_LAG.removesuffix("s"))
            self._known[resource] = exchange.answer
        if verb == "getIamPolicy" and exchange.answer is not None and resource not in self._known:
            self._known[resource] = exchange.answer
            if "bindings" not in exchange.answer:
                return
            self._plant(resource.removeprefix("/v1/").removeprefix("/v3/"), exchange.answer)

    def _plant(self, resource: str, recorded: Any) -> None:
        if not re.fullmatch(r"projects/[^/]+", resource):
            return
        project = resource.partition("/")[2]
        registry, accounts = self._emulator.cloud.registry, self._emulator.cloud.accounts
        named = re.findall(rf"'serviceAccount:([^@']+)@{re.escape(project)}\.iam", str(recorded))
        for account_id in dict.fromkeys(named):
            if not accounts.is_taken(f"{account_id}@{project}.iam.gserviceaccount.com"):
                accounts.create(registry.add(registry.resolve(project)), account_id)
        policy = json_format.ParseDict({**recorded, "etag": ""}, policy_pb2.Policy())
        policy.version = 3
        request = iam_policy_pb2.SetIamPolicyRequest(
            resource=resource,
            policy=policy,
            update_mask=FieldMask(paths=["bindings", "audit_configs"]),
        )
        self._clock.now += float(_LAG.removesuffix("s"))
        with self._emulator.cloud.policies.unchecked():
            self._emulator.cloud.handlers["google.cloud.resourcemanager.v3.Projects/SetIamPolicy"](request)

    def _learn(self, recorded: Any, shown: Any) -> None:
        """Record the emulator's names of operations and etags."""
        match recorded, shown:
            case dict(), dict():
                for name in recorded.keys() & shown.keys():
                    if name == "etag" or (name == "name" and _LEARNT.fullmatch(str(recorded[name]))):
                        self._names[recorded[name]] = shown[name]
                    self._learn(recorded[name], shown[name])
            case list(), list():
                for one, other in zip(recorded, shown, strict=False):
                    self._learn(one, other)

    def _said_here(self, said: Any) -> Any:
        """Replace recorded names by those of the emulator."""
        match said:
            case dict():
                return {name: self._said_here(value) for name, value in said.items()}
            case list():
                return [self._said_here(each) for each in said]
            case str():
                if said.startswith("/") and (match_ := _LEARNT.search(said)):
                    return said.replace(match_[0], self._names.get(match_[0], match_[0]))
                return self._names.get(said, said)
        return said


def _only_reads(exchange: Exchange) -> bool:
    return exchange.verb == "GET" or exchange.path.endswith(":getIamPolicy")


def _kind(exchange: Exchange) -> str:
    """Return host and collection, such as `run.googleapis.com jobs`, or the policy of a resource."""
    resource, _, verb = exchange.path.rpartition(":")
    segments = (resource or exchange.path).strip("/").split("/")[1:]
    collection = segments[-1] if len(segments) % 2 else segments[-2]
    return f"{exchange.host} {verb if verb.endswith('IamPolicy') else collection}"


def _folded(found: Any) -> set[str]:
    """Remove the place of a resource within an operation, which repeats it up to three times."""
    return {re.sub(r"^(?:metadata|response)\.", "", each) for each in found}
