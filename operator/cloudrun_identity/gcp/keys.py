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

from cloudrun_identity.gcp.aged import Aged, Clock
from cloudrun_identity.gcp.clients import ProjectClients
from cloudrun_identity.gcp.ratelimit import Api
from cloudrun_identity.iam.keys import ListedKey

_SERVICE = "google.iam.admin.v1.IAM"
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
        self._clients = clients
        self._clock = clock
        self._lists: dict[tuple[str, str], Aged[Mapping[str, ListedKey]]] = {}
        self._written: dict[tuple[str, str], float] = {}

    async def list(self, project_id: str, account: str, max_age: float) -> Mapping[str, ListedKey]:
        """The user-managed keys by their ids, as of at most `max_age` seconds ago and after our last write.

        A key that was just made may be missing for a minute.
        """
        home = project_id, account
        if home not in self._lists:
            self._lists[home] = Aged(lambda: self._read(*home), self._clock)
        after = max(self._clock() - max_age, self._written.get(home, float("-inf")))
        return (await self._lists[home].get(after)).value

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
            project_id, account, "Create", self._iam(project_id).create_service_account_key, request, before
        )
        return NewKey(_listed(made), made.private_key_data)

    async def disable(self, project_id: str, account: str, key_id: str) -> None:
        """Disable a key: nobody can sign in with it until it is enabled again."""
        request = types.DisableServiceAccountKeyRequest(name=_name(project_id, account, key_id))
        await self._write(
            project_id, account, "Disable", self._iam(project_id).disable_service_account_key, request
        )

    async def delete(self, project_id: str, account: str, key_id: str) -> None:
        """Delete a key, for good."""
        request = types.DeleteServiceAccountKeyRequest(name=_name(project_id, account, key_id))
        await self._write(
            project_id, account, "Delete", self._iam(project_id).delete_service_account_key, request
        )

    async def _read(self, project_id: str, account: str) -> Mapping[str, ListedKey]:
        request = types.ListServiceAccountKeysRequest(
            name=_account(project_id, account),
            key_types=[types.ListServiceAccountKeysRequest.KeyType.USER_MANAGED],
        )
        method = f"{_SERVICE}/ListServiceAccountKeys"
        invoke = self._iam(project_id).list_service_account_keys
        reply = await self._clients.of(project_id).call(Api.IAM, method, invoke, request)
        return {key.key_id: key for key in map(_listed, reply.keys)}

    async def _write(
        self,
        project_id: str,
        account: str,
        verb: str,
        invoke: Callable[..., Awaitable["Reply"]],
        request: Any,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> "Reply":
        try:
            method = f"{_SERVICE}/{verb}ServiceAccountKey"
            return await self._clients.of(project_id).call(Api.IAM, method, invoke, request, before=before)
        finally:  # a write that failed may have happened
            self._written[project_id, account] = self._clock()

    def _iam(self, project_id: str) -> IAMAsyncClient:
        return self._clients.of(project_id).client(IAMAsyncClient, Api.IAM)


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
