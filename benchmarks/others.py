"""Others who write policies: one member at a time, by read-modify-write, as every other tool does.

They speak to the same Google Cloud, at the same latency, and obey its etags.
"""

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.iam.v1 import iam_policy_pb2, options_pb2, policy_pb2

from .bindings import ROLE, UNMANAGED_PROJECT_ID, member

WRITE_INTERVAL = 1.0  # seconds from one try of a foreign writer to its next, on average
FOREIGN_ROLE = "roles/viewer"

_PROJECTS = "/google.cloud.resourcemanager.v3.Projects"


@dataclass(slots=True)
class Tally:
    """Calls that ended: reads, writes that were made, and writes that lost against somebody else's."""

    reads: int = 0
    writes: int = 0
    aborted: int = 0

    @property
    def calls(self) -> int:
        """All of them."""
        return self.reads + self.writes + self.aborted


class PolicyClient:
    """Reads and writes the policy of one project, and counts."""

    def __init__(self, channel: grpc.aio.Channel, project_id: str) -> None:
        self._resource = f"projects/{project_id}"
        self._get = _method(channel, "GetIamPolicy", iam_policy_pb2.GetIamPolicyRequest)
        self._set = _method(channel, "SetIamPolicy", iam_policy_pb2.SetIamPolicyRequest)
        self.tally = Tally()

    async def read(self) -> policy_pb2.Policy:
        """The policy as it is now."""
        options = options_pb2.GetPolicyOptions(requested_policy_version=3)
        request = iam_policy_pb2.GetIamPolicyRequest(resource=self._resource, options=options)
        policy: policy_pb2.Policy = await self._get(request)
        self.tally.reads += 1
        return policy

    async def toggle(self, role: str, who: str) -> bool:
        """Read the policy, add `who` to the role or take it out, and write; False if somebody was faster."""
        policy = await self.read()
        binding = next((each for each in policy.bindings if each.role == role), None)
        if binding is None:
            binding = policy.bindings.add(role=role)
        if who in binding.members:
            binding.members.remove(who)
        else:
            binding.members.append(who)
        policy.version = 3
        try:
            await self._set(iam_policy_pb2.SetIamPolicyRequest(resource=self._resource, policy=policy))
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.ABORTED:
                raise
            self.tally.aborted += 1
            return False
        self.tally.writes += 1
        return True


@dataclass(slots=True)
class ForeignWriter:
    """Somebody who tries to change a policy once a second; what loses is left for the next time."""

    client: PolicyClient
    who: str
    stands: bool = False
    """Whether its member is in the policy, going by what Google answered it last."""

    async def run(self, stop: asyncio.Event) -> None:
        """Write until told to stop; a write that is under way then is made."""
        while not stop.is_set():
            began = time.monotonic()
            if await self.client.toggle(FOREIGN_ROLE, self.who):
                self.stands = not self.stands
            # Not in step: whoever fell between two others at first would win every time, or never.
            interval = random.uniform(0.5, 1.5) * WRITE_INTERVAL
            await asyncio.sleep(max(0.0, interval - (time.monotonic() - began)))

    async def has_lost(self) -> bool:
        """Whether a write that Google confirmed to it is undone."""
        policy = await self.client.read()
        return self.stands != any(
            self.who in binding.members for binding in policy.bindings if binding.role == FOREIGN_ROLE
        )


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[grpc.aio.Channel]:
    """Connect to the Google Cloud that listens on a port of this machine."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel


@asynccontextmanager
async def writing(
    channel: grpc.aio.Channel, project_ids: Sequence[str], count: int
) -> AsyncIterator[list[ForeignWriter]]:
    """Have so many foreign writers at work in the block, taking turns at the projects."""
    writers = [
        ForeignWriter(
            PolicyClient(channel, project_ids[number % len(project_ids)]), f"user:other-{number}@example.com"
        )
        for number in range(count)
    ]
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for number, writer in enumerate(writers):
            group.create_task(_after(number / count * WRITE_INTERVAL, writer, stop))
        try:
            yield writers
        finally:
            stop.set()


@dataclass(frozen=True, slots=True)
class OneByOne:
    """How the other tools fared: so many members granted, with so many calls, in so many seconds."""

    members: int
    tally: Tally
    seconds: float

    @property
    def calls_each(self) -> float:
        """Calls for each member; infinite if none was granted."""
        return self.tally.calls / self.members if self.members else math.inf

    @property
    def seconds_each(self) -> float:
        """Seconds for each member; infinite if none was granted."""
        return self.seconds / self.members if self.members else math.inf


async def grant_one_by_one(channel: grpc.aio.Channel, *, members: int, budget: float) -> OneByOne:
    """Grant members, one after the other, each by a read and a write that is tried again at once if it loses.

    Ends when all are granted, or after `budget` seconds.
    """
    client = PolicyClient(channel, UNMANAGED_PROJECT_ID)
    began = time.monotonic()
    granted = 0
    while granted < members and time.monotonic() - began < budget:
        granted += await client.toggle(ROLE, member(granted))
    return OneByOne(granted, client.tally, time.monotonic() - began)


async def _after(seconds: float, writer: ForeignWriter, stop: asyncio.Event) -> None:
    """Writers that begin at the same moment would lose against each other for ever."""
    await asyncio.sleep(seconds)
    await writer.run(stop)


def _method(channel: grpc.aio.Channel, name: str, request: type[Any]) -> Any:
    return channel.unary_unary(
        f"{_PROJECTS}/{name}",
        request_serializer=request.SerializeToString,
        response_deserializer=policy_pb2.Policy.FromString,
    )
