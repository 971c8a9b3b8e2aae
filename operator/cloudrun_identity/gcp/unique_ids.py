"""Unique ids of resources. They distinguish a resource from a later one with the same name.

The target kinds have no client library in common, so requests and replies are handled by field number. The
numbers are in the table `api.target_kinds`.
"""

import math
import time
from functools import partial
from urllib.parse import quote

from google.longrunning.operations_pb2 import GetOperationRequest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.unknown_fields import UnknownFieldSet

from cloudrun_identity.api import UniqueIDField
from cloudrun_identity.iam.grants import Target

from .client_pool import NoCredential
from .clients import ProjectClients
from .errors import Fault, GoogleError
from .service_accounts import ServiceAccounts, project_id_of_email
from .single_flight_cache import SingleFlightCache

_UNKNOWN = frozenset({Fault.NOT_FOUND, Fault.PERMISSION_DENIED, Fault.API_DISABLED})


class UniqueIDs:
    """Reads the unique ids of targets, and of accounts that are members. Both methods raise GoogleError."""

    def __init__(self, clients: ProjectClients, service_accounts: ServiceAccounts) -> None:
        self._clients = clients
        self._service_accounts = service_accounts
        self._permanent: dict[Target, SingleFlightCache[str]] = {}

    async def of_target(self, target: Target) -> str:
        """Return the unique id of the current resource with the target's name; empty if its kind has none.

        Each call reads it from Google Cloud, except for kinds that never reuse a name: concurrent calls share
        one read, and its result is cached.

        Raises:
            GoogleError: NOT_FOUND if the target does not exist in its project, or another error of the API.

        """
        if target.descriptor.reuses_names:
            return await self._read(target)
        if target not in self._permanent:
            self._permanent[target] = SingleFlightCache(partial(self._read, target), time.monotonic)
        return (await self._permanent[target].get(after=-math.inf)).value

    async def _read(self, target: Target) -> str:
        descriptor = target.descriptor
        if not descriptor.get_method:
            return ""
        api, clients = target.host, self._clients.for_project(target.project_id)
        routing = f"{descriptor.get_routing_parameter}={quote(target.resource, safe='')}"
        reply = await clients.call(
            api,
            descriptor.get_method,
            clients.stub(api, descriptor.get_method, Empty, target.region),
            GetOperationRequest(name=target.resource),  # the same bytes as the request of every get method
            region=target.region,
            metadata=(("x-goog-request-params", routing),),
        )
        await self._check_project(target, reply)
        return _value(reply, descriptor.unique_id_field) if descriptor.unique_id_field else ""

    async def _check_project(self, target: Target, reply: Empty) -> None:
        """Check that a resource with a globally unique name belongs to the project of the target."""
        descriptor = target.descriptor
        if descriptor.project_number_field is None:
            return
        found = _text(reply, descriptor.project_number_field).rpartition("/")[2]
        if found != await self.of_target(Target.project(target.project_id)):
            message = f"{target} belongs to project {found}, not to {target.project_id}"
            raise GoogleError(Fault.NOT_FOUND, descriptor.get_method, message)

    async def of_account(self, email: str) -> str:
        """Return the unique id of the current account with this e-mail; empty if it is unknown.

        It is not known if the account does not exist or cannot be read, if no ManagedProject has its project,
        or if Google manages it.
        """
        project_id = project_id_of_email(email)
        if not project_id:
            return ""
        try:
            return (await self._service_accounts.get(project_id, email)).unique_id
        except NoCredential:
            return ""
        except GoogleError as error:
            if error.fault in _UNKNOWN:
                return ""
            raise


def _value(reply: Empty, field: UniqueIDField) -> str:
    """Return the unique id in a resource."""
    if field.is_time:
        time: str = Timestamp.FromString(_data(reply, field.number)).ToJsonString()
        return time
    return _text(reply, field.number).rpartition("/")[2]


def _text(reply: Empty, number: int) -> str:
    return _data(reply, number).decode()


def _data(reply: Empty, number: int) -> bytes:
    """Return the content of a field that the message class does not declare; empty if it is not set."""
    for unknown in UnknownFieldSet(reply):
        if unknown.field_number == number:
            data: bytes = unknown.data
            return data
    return b""
