"""Other writers of IAM policies: one member at a time by read-modify-write, as other tools do.

They use the same emulator, with the same latency, and send etags.
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

WRITE_INTERVAL = 1.0  # mean seconds between two attempts of a writer
OTHER_ROLE = "roles/viewer"

_PROJECTS = "/google.cloud.resourcemanager.v3.Projects"


@dataclass(slots=True)
class Tally:
    """Counts of reads, of successful writes, and of writes that lost against another writer."""

    reads: int = 0
    writes: int = 0
    aborted: int = 0

    @property
    def calls(self) -> int:
        """Return the number of all calls."""
        return self.reads + self.writes + self.aborted


class PolicyClient:
    """Reads and writes the policy of one project, and counts the calls."""

    def __init__(self, channel: grpc.aio.Channel, project_id: str) -> None:
        self._resource = f"projects/{project_id}"
        self._get = _method(channel, "GetIamPolicy", iam_policy_pb2.GetIamPolicyRequest)
        self._set = _method(channel, "SetIamPolicy", iam_policy_pb2.SetIamPolicyRequest)
        self.tally = Tally()

    async def read(self) -> policy_pb2.Policy:
        """Read the policy."""
        options = options_pb2.GetPolicyOptions(requested_policy_version=3)
        request = iam_policy_pb2.GetIamPolicyRequest(resource=self._resource, options=options)
        policy: policy_pb2.Policy = await self._get(request)
        self.tally.reads += 1
        return policy

    async def toggle(self, role: str, who: str) -> bool:
        """Add `who` to the role or remove it, by read-modify-write. Return False after a conflict."""
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
class OtherWriter:
    """Tries to change a policy once per second. After a conflict it waits for its next turn."""

    client: PolicyClient
    who: str
    is_present: bool = False
    """True if the last reply showed its member in the policy."""

    async def run(self, stop: asyncio.Event) -> None:
        """Write until `stop` is set. A write in flight is completed."""
        while not stop.is_set():
            start = time.monotonic()
            if await self.client.toggle(OTHER_ROLE, self.who):
                self.is_present = not self.is_present
            # Add jitter: with fixed intervals the same writers would always win or always lose.
            interval = random.uniform(0.5, 1.5) * WRITE_INTERVAL
            await asyncio.sleep(max(0.0, interval - (time.monotonic() - start)))

    async def has_lost(self) -> bool:
        """Return whether a confirmed write is lost."""
        policy = await self.client.read()
        return self.is_present != any(
            self.who in binding.members for binding in policy.bindings if binding.role == OTHER_ROLE
        )


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[grpc.aio.Channel]:
    """Connect to the emulator on a port of this machine."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel


@asynccontextmanager
async def writing(
    channel: grpc.aio.Channel, project_ids: Sequence[str], count: int
) -> AsyncIterator[list[OtherWriter]]:
    """Run `count` other writers during the block, evenly spread over the projects."""
    writers = [
        OtherWriter(
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
    """The result of granting members one by one."""

    members: int
    """The number of granted members."""
    tally: Tally
    """The calls that it took."""
    seconds: float
    """The seconds that it took."""

    @property
    def calls_each(self) -> float:
        """Return the calls per member; infinite if none was granted."""
        return self.tally.calls / self.members if self.members else math.inf

    @property
    def seconds_each(self) -> float:
        """Return the seconds per member; infinite if none was granted."""
        return self.seconds / self.members if self.members else math.inf


async def grant_one_by_one(channel: grpc.aio.Channel, *, members: int, budget: float) -> OneByOne:
    """Grant members one after the other by read-modify-write, and retry immediately after a conflict.

    It ends when all members are granted, or after `budget` seconds.
    """
    client = PolicyClient(channel, UNMANAGED_PROJECT_ID)
    start = time.monotonic()
    granted = 0
    while granted < members and time.monotonic() - start < budget:
        granted += await client.toggle(ROLE, member(granted))
    return OneByOne(granted, client.tally, time.monotonic() - start)


async def _after(seconds: float, writer: OtherWriter, stop: asyncio.Event) -> None:
    """Start a writer later: writers that start together would conflict forever."""
    await asyncio.sleep(seconds)
    await writer.run(stop)


def _method(channel: grpc.aio.Channel, name: str, request: type[Any]) -> Any:
    return channel.unary_unary(
        f"{_PROJECTS}/{name}",
        request_serializer=request.SerializeToString,
        response_deserializer=policy_pb2.Policy.FromString,
    )
