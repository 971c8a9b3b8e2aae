"""The log: it records calls cheaply, and builds entries for who reads them."""

from __future__ import annotations

import itertools
import secrets
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from google.longrunning import operations_pb2

from cloudrun_identity_playground.emulator.apis.accounts import AccountStore
from cloudrun_identity_playground.emulator.apis.actor import caller
from cloudrun_identity_playground.emulator.apis.operations import Operations
from cloudrun_identity_playground.emulator.apis.policies import Policies
from cloudrun_identity_playground.emulator.apis.role_table import RoleTable
from cloudrun_identity_playground.emulator.errors import GoogleError
from cloudrun_identity_playground.emulator.sender import Sender

from .entries import Json, entry_of
from .record import Before, Record, is_logged
from .subjects import Subjects, named_in
from .system_events import is_of_service

_REMEMBERED: Final = 1000
_REMEMBERED_BINDINGS: Final = 100_000
_IAM: Final = "google.iam.admin.v1.IAM"


class AuditLog:
    """Calls that write, in the order of their answers.

    A call costs the creation of one record. Its entry is built when a sink or a reader asks for it. The log
    holds the last 1,000 calls, and fewer of large policies.
    """

    def __init__(
        self,
        subjects: Subjects,
        policies: Policies,
        accounts: AccountStore,
        roles: RoleTable,
        operations: Operations,
        clock: Callable[[], float],
    ) -> None:
        self.listener: Callable[[Callable[[], Json]], None] | None = None
        """Receives a function for each call, which builds its entry."""
        self._subjects = subjects
        self._policies = policies
        self._accounts = accounts
        self._roles = roles
        self._operations = operations
        self._clock = clock
        self._records: deque[Record] = deque()
        self._weight = 0
        self._running: list[Record] = []
        self._id_prefix = secrets.token_hex(4)
        self._ids = itertools.count()

    def answer(self, rpc: str, request: Any, sender: Sender, call: Callable[[], Any]) -> Any:
        """Return the response of `call`, and record the call if it writes.

        Raises GoogleError: that of `call`.
        """
        if not is_logged(rpc):
            return call()
        before = self._before(rpc, request)
        self._policies.last_write = None
        try:
            response = call()
        except GoogleError as error:
            self._record(rpc, request, sender, before, error=error)
            raise
        self._record(rpc, request, sender, before, response=response)
        return response

    def entries(self) -> Iterator[Json]:
        """Yield the entries, oldest first."""
        self.end_operations()
        for record in list(self._records):
            yield self._entry(record)

    def end_operations(self) -> None:
        """Record the ends of operations that are done by now."""
        running, self._running = self._running, []
        for record in running:
            operation = self._operations.find(record.operation)
            if operation is None:
                continue
            if not operation.done:
                self._running.append(record)
                continue
            error = GoogleError.of_status(operation.error) if operation.HasField("error") else None
            ended = replace(
                record,
                response=operation if error is None else None,
                error=error,
                time=self._clock(),
                insert_id=self._insert_id(),
                ends_operation=True,
            )
            if not record.sender.is_version_1:
                self._add(ended)
            if is_of_service(record):
                self._add(replace(ended, insert_id=self._insert_id(), is_system_event=True))

    def _record(
        self,
        rpc: str,
        request: Any,
        sender: Sender,
        before: Before,
        *,
        response: Any = None,
        error: GoogleError | None = None,
    ) -> None:
        is_operation = isinstance(response, operations_pb2.Operation)
        record = Record(
            rpc,
            request,
            response,
            error,
            caller(),
            sender,
            before,
            self._policies.last_write if error is None else None,
            self._clock(),
            self._insert_id(),
            response.name if is_operation else "",
        )
        self._add(record)
        if is_operation:
            self._running.append(record)
            self.end_operations()

    def _add(self, record: Record) -> None:
        self._records.append(record)
        self._weight += _weight(record)
        while len(self._records) > _REMEMBERED or self._weight > _REMEMBERED_BINDINGS:
            self._weight -= _weight(self._records.popleft())
        if self.listener is not None:
            self.listener(lambda: self._entry(record))

    def _entry(self, record: Record) -> Json:
        return entry_of(record, self._subjects.of(record), self._policies.shown_member, record.time)

    def _before(self, rpc: str, request: Any) -> Before:
        if not rpc.startswith(_IAM):
            return Before()
        name = named_in(request)
        _, found, rest = name.partition("/serviceAccounts/")
        if found:
            return Before(account=self._accounts.any(rest.partition("/")[0]))
        role = self._roles.custom.get(name)
        return Before(permissions=tuple(role.included_permissions)) if role is not None else Before()

    def _insert_id(self) -> str:
        return f"{self._id_prefix}{next(self._ids):x}"


def _weight(record: Record) -> int:
    write = record.policy
    return 1 + sum(len(binding.members) for binding in write.after) if write is not None else 1
