"""User-managed keys of service accounts.

The private half of a key is in the reply of its create, and nowhere else ever after
(https://cloud.google.com/iam/docs/keys-create-delete).
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from google.cloud.iam_admin_v1 import types
from google.cloud.iam_admin_v1.services.iam import IAMAsyncClient

from cloudrun_identity.iam.key_records import ListedKey

from .clients import ProjectClients
from .service import iam
from .single_flight_cache import CacheTable, Clock

LISTS_KEPT = 10_000
"""Accounts whose keys are remembered, the latest asked about."""

_LONG_AGO = datetime.fromtimestamp(0, UTC)
_NEVER = 9999  # the year in which keys end that do not


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key with its private half: `file` is the credentials file as client libraries read it."""

    key: ListedKey
    file: bytes = field(repr=False)


class Keys:
    """The key methods of the IAM API. Every method raises GoogleError.

    An account goes by its unique id, so that no other of its e-mail is meant, and all who ask for its keys
    share one list; the e-mail will do as well.
    """

    def __init__(self, clients: ProjectClients, clock: Clock) -> None:
        self._iam = iam(clients)
        self._lists: CacheTable[tuple[str, str], Mapping[str, ListedKey]] = CacheTable(clock, LISTS_KEPT)

    async def list(self, project_id: str, account: str, max_age: float) -> Mapping[str, ListedKey]:
        """The user-managed keys by their ids, as of at most `max_age` seconds ago and after our last write.

        A key that was just made may be missing for a minute.
        """
        home = project_id, account
        return await self._lists.get(home, lambda: self._read(*home), max_age)

    async def create(
        self, project_id: str, account: str, before: Callable[[], Awaitable[None]] | None = None
    ) -> NewKey:
        """Make a key; FAILED_PRECONDITION where an organization policy forbids it, or there are ten.

        `before` is awaited right before the request is sent, however long the quota has it wait.
        """
        request = types.CreateServiceAccountKeyRequest(
            name=_account(project_id, account),
            private_key_type=types.ServiceAccountPrivateKeyType.TYPE_GOOGLE_CREDENTIALS_FILE,
        )
        made = await self._write(
            project_id, account, IAMAsyncClient.create_service_account_key, request, before
        )
        return NewKey(_listed(made), made.private_key_data)

    async def disable(self, project_id: str, account: str, key_id: str) -> None:
        """Disable a key: nobody can sign in with it until it is enabled again."""
        request = types.DisableServiceAccountKeyRequest(name=_name(project_id, account, key_id))
        await self._write(project_id, account, IAMAsyncClient.disable_service_account_key, request)

    async def delete(self, project_id: str, account: str, key_id: str) -> None:
        """Delete a key, for good."""
        request = types.DeleteServiceAccountKeyRequest(name=_name(project_id, account, key_id))
        await self._write(project_id, account, IAMAsyncClient.delete_service_account_key, request)

    async def _read(self, project_id: str, account: str) -> Mapping[str, ListedKey]:
        request = types.ListServiceAccountKeysRequest(
            name=_account(project_id, account),
            key_types=[types.ListServiceAccountKeysRequest.KeyType.USER_MANAGED],
        )
        reply = await self._iam.call(project_id, IAMAsyncClient.list_service_account_keys, request)
        return {key.key_id: key for key in map(_listed, reply.keys)}

    async def _write(
        self,
        project_id: str,
        account: str,
        method: Callable[..., Awaitable["Reply"]],
        request: Any,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> "Reply":
        try:
            return await self._iam.call(project_id, method, request, before=before)
        finally:  # a write that failed may have happened
            self._lists.forget((project_id, account))


Reply = TypeVar("Reply")


def _account(project_id: str, account: str) -> str:
    return f"projects/{project_id}/serviceAccounts/{account}"


def _name(project_id: str, account: str, key_id: str) -> str:
    return f"{_account(project_id, account)}/keys/{key_id}"


def _listed(message: types.ServiceAccountKey) -> ListedKey:
    expires = _moment(message.valid_before_time)
    return ListedKey(
        key_id=message.name.rpartition("/")[2],
        created=_moment(message.valid_after_time) or _LONG_AGO,
        expires=expires if expires and expires.year < _NEVER else None,
        disabled=message.disabled,
    )


def _moment(timestamp: datetime | None) -> datetime | None:
    """What the client library has decoded, as a plain datetime in whole seconds."""
    return timestamp and datetime.fromtimestamp(int(timestamp.timestamp()), UTC)
