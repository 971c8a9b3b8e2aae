"""Messages that no call caused: malformed ones, a backlog, or any entry."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import Field

from cloudrun_identity_playground.emulator.audit_log.record import timestamp
from cloudrun_identity_playground.emulator.switches import StrictModel

from .router import Content, LogRouter, content_of

_MALFORMED: Final = (
    b"\xff\xfe",
    b"",
    b"no JSON",
    b"[]",
    b"null",
    b"{}",
    b'{"protoPayload": []}',
    b'{"protoPayload": {"methodName": 7, "resourceName": null, "authenticationInfo": "?"}}',
    b'{"logName": {}, "timestamp": "yesterday", "protoPayload": {"serviceName": ["iam.googleapis.com"]}}',
    b'{"textPayload": "an entry of another log", "logName": "projects/elsewhere/logs/stdout"}',
)
_BATCH: Final = 1000


class Injection(StrictModel):
    """Messages to publish to the topics of all sinks, in the format of `POST /control/feed`."""

    malformed: int = Field(default=0, ge=0)
    """Number of messages that are no entries of the audit log."""
    backlog: int = Field(default=0, ge=0, le=1_000_000)
    """Number of entries about service accounts that do not exist."""
    entry: dict[str, Any] | None = None
    """Entry to publish as it is."""
    times: int = Field(default=1, ge=1, le=1_000_000)
    """Number of times to publish `entry`. From the second time on, it has another `insertId`."""

    async def into(self, router: LogRouter, now: float) -> None:
        """Publish the messages, and let other calls proceed in between."""
        contents = itertools.chain(self._malformed(), self._backlog(now), self._entries())
        while batch := list(itertools.islice(contents, _BATCH)):
            router.inject(batch)
            await asyncio.sleep(0)

    def _malformed(self) -> Iterator[Content]:
        for data in itertools.islice(itertools.cycle(_MALFORMED), self.malformed):
            yield data, {} if data else {"empty": "true"}

    def _backlog(self, now: float) -> Iterator[Content]:
        for number in range(self.backlog):
            yield content_of(_stray_entry(number, timestamp(now)))

    def _entries(self) -> Iterator[Content]:
        if self.entry is None:
            return
        yield content_of(self.entry)
        for _ in range(self.times - 1):
            yield content_of({**self.entry, "insertId": secrets.token_hex(7)})


def _stray_entry(number: int, now: str) -> Mapping[str, Any]:
    """Return the entry of a write of a policy of an account that does not exist."""
    project = "emulated-backlog"
    unique_id = f"1{number:020d}"
    return {
        "protoPayload": {
            "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
            "status": {},
            "authenticationInfo": {"principalEmail": "somebody@example.com"},
            "serviceName": "iam.googleapis.com",
            "methodName": "google.iam.admin.v1.SetIAMPolicy",
            "resourceName": f"projects/-/serviceAccounts/{unique_id}",
        },
        "insertId": f"backlog{number}",
        "resource": {
            "type": "service_account",
            "labels": {
                "project_id": project,
                "unique_id": unique_id,
                "email_id": f"backlog-{number}@{project}.iam.gserviceaccount.com",
            },
        },
        "timestamp": now,
        "severity": "NOTICE",
        "logName": f"projects/{project}/logs/cloudaudit.googleapis.com%2Factivity",
        "receiveTimestamp": now,
    }
