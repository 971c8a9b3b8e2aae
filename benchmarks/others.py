"""Others who write policies: one member at a time, by read-modify-write, as every other tool does.

They speak to the same Google Cloud, at the same latency, and obey its etags.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.iam.v1 import iam_policy_pb2, options_pb2, policy_pb2

from .bindings import ROLE, UNMANAGED_PROJECT_ID, member

WRITE_INTERVAL = 1.0  # seconds from one try of a foreign writer to its next
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
        """Read the policy, put `who` into the role or take it out, and write; False if somebody was faster."""
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
    """Somebody who changes a policy once a second, and does not try again before the next second."""

    client: PolicyClient
    who: str
    stands: bool = False
    """Whether its member is in the policy, by what Google answered it last."""

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            began = time.monotonic()
            # A write that was cut off might have been made or not: it is always waited for.
            if await asyncio.shield(self.client.toggle(FOREIGN_ROLE, self.who)):
                self.stands = not self.stands
            await asyncio.sleep(max(0.0, WRITE_INTERVAL - (time.monotonic() - began)))

    async def has_lost(self) -> bool:
        """Whether a write that Google confirmed to it is undone."""
        policy = await self.client.read()
        return self.stands != any(
            self.who in binding.members for binding in policy.bindings if binding.role == FOREIGN_ROLE
        )


@dataclass(slots=True)
class Foreigners:
    """Foreign writers at work."""

    writers: list[ForeignWriter] = field(default_factory=list)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _stopped: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def writes(self) -> int:
        """Writes of theirs that were made."""
        return sum(writer.client.tally.writes for writer in self.writers)

    @property
    def aborted(self) -> int:
        """Writes of theirs that lost."""
        return sum(writer.client.tally.aborted for writer in self.writers)
