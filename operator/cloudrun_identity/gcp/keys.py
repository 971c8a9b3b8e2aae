"""User-managed keys of service accounts, in the IAM API.

Google returns the private key once, in the reply to its creation
(https://cloud.google.com/iam/docs/keys-create-delete).
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cloudrun_identity.iam.listed_keys import ListedKey

from .clients import ProjectClients
from .libraries import iam_admin_v1
from .service_client import iam_service
from .single_flight_cache import Clock, KeyedSingleFlightCache

CACHE_SIZE = 10_000
"""Maximum number of accounts whose keys are cached."""

_LONG_AGO = datetime.fromtimestamp(0, UTC)
_NEVER = 9999  # year in which keys without an expiry expire


@dataclass(frozen=True, slots=True)
class NewKey:
    """A created key with its private key."""

    key: ListedKey
    """The key as a list shows it."""

    file: bytes = field(repr=False)
    """Credentials file, as client libraries read it."""


class Keys:
    """Key methods of the IAM API. Every method raises GoogleError.

    `account` is the unique id of the account, so that a recreated account with the same e-mail is another
    one. The e-mail works too, but does not share the cache.
    """

    def __init__(self, clients: ProjectClients, clock: Clock) -> None:
        self._iam = iam_service(clients)
        self._lists: KeyedSingleFlightCache[tuple[str, str], Mapping[str, ListedKey]] = (
            KeyedSingleFlightCache(clock, CACHE_SIZE)
        )

    async def list(self, project_id: str, account: str, max_age: float) -> Mapping[str, ListedKey]:
        """Return the user-managed keys by id, at most `max_age` seconds old and newer than the last write.

        A key that was just created may be missing for a minute.
        """
        key = project_id, account
        return await self._lists.get(key, lambda: self._read(*key), max_age)

    def forget(self, project_id: str, account: str) -> None:
        """Drop the list of keys, because another client changed one."""
        self._lists.forget((project_id, account))

    async def create(
        self, project_id: str, account: str, before_send: Callable[[], Awaitable[None]] | None = None
    ) -> NewKey:
        """Create a key. FAILED_PRECONDITION if an organization policy forbids it, QUOTA_EXCEEDED beyond ten.

        `before_send` is awaited right before the request is sent, after any wait for the rate limiter.
        """
        request = iam_admin_v1.CreateServiceAccountKeyRequest(
            name=_account(project_id, account),
            private_key_type=iam_admin_v1.ServiceAccountPrivateKeyType.TYPE_GOOGLE_CREDENTIALS_FILE,
        )
        created = await self._write(project_id, account, "create_service_account_key", request, before_send)
        return NewKey(_listed_key(created), created.private_key_data)

    async def disable(self, project_id: str, account: str, key_id: str) -> None:
        """Disable a key. It cannot authenticate until it is enabled again."""
        request = iam_admin_v1.DisableServiceAccountKeyRequest(name=_name(project_id, account, key_id))
        await self._write(project_id, account, "disable_service_account_key", request)

    async def delete(self, project_id: str, account: str, key_id: str) -> None:
        """Delete a key permanently."""
        request = iam_admin_v1.DeleteServiceAccountKeyRequest(name=_name(project_id, account, key_id))
        await self._write(project_id, account, "delete_service_account_key", request)

    async def _read(self, project_id: str, account: str) -> Mapping[str, ListedKey]:
        request = iam_admin_v1.ListServiceAccountKeysRequest(
            name=_account(project_id, account),
            key_types=[iam_admin_v1.ListServiceAccountKeysRequest.KeyType.USER_MANAGED],
        )
        reply = await self._iam.call(project_id, "list_service_account_keys", request)
        return {key.key_id: key for key in map(_listed_key, reply.keys)}

    async def _write(
        self,
        project_id: str,
        account: str,
        method: str,
        request: Any,
        before_send: Callable[[], Awaitable[None]] | None = None,
    ) -> Any:
        try:
            return await self._iam.call(project_id, method, request, before_send=before_send)
        finally:  # a failed write may have taken effect
            self._lists.forget((project_id, account))


def _account(project_id: str, account: str) -> str:
    return f"projects/{project_id}/serviceAccounts/{account}"


def _name(project_id: str, account: str, key_id: str) -> str:
    return f"{_account(project_id, account)}/keys/{key_id}"


def _listed_key(message: "iam_admin_v1.ServiceAccountKey") -> ListedKey:
    expires = _whole_seconds(message.valid_before_time)
    return ListedKey(
        key_id=message.name.rpartition("/")[2],
        created=_whole_seconds(message.valid_after_time) or _LONG_AGO,
        expires=expires if expires and expires.year < _NEVER else None,
        disabled=message.disabled,
    )


def _whole_seconds(timestamp: datetime | None) -> datetime | None:
    """Return a timestamp of the client library as a plain datetime in whole seconds."""
    return timestamp and datetime.fromtimestamp(int(timestamp.timestamp()), UTC)
