"""Service accounts of a project.

Accounts are always addressed in their own project: `projects/-` answers 403 for a missing account.
"""

from dataclasses import dataclass

from google.cloud.iam_admin_v1 import types
from google.cloud.iam_admin_v1.services.iam import IAMAsyncClient
from google.protobuf import field_mask_pb2

from .clients import ProjectClients
from .service import iam

_PAGE_SIZE = 100  # the most that Google serves


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """An account as Google shows it; `email` is the one of Google's reply."""

    project_id: str
    email: str
    unique_id: str
    display_name: str = ""
    description: str = ""
    disabled: bool = False


def expected_email(project_id: str, account_id: str) -> str:
    """The e-mail that an account of this id should have, to look for it until Google has told the true one.

    The parts of a domain-scoped project swap: `example.com:shop` gives `ID@shop.example.com.iam.…`.
    """
    domain, _, name = project_id.rpartition(":")
    return f"{account_id}@{name}{'.' if domain else ''}{domain}.iam.gserviceaccount.com"


def project_of(email: str) -> str:
    """The id of the project that an account's e-mail speaks of; empty for Google's own and default accounts.

    The reverse of `expected_email`.
    """
    scope, found, _ = email.partition("@")[2].rpartition(_USER_MANAGED)
    name, _, domain = scope.partition(".")
    if not found:
        return ""
    return f"{domain}:{name}" if domain else name


_USER_MANAGED = ".iam.gserviceaccount.com"


class ServiceAccounts:
    """The account methods of the IAM API.

    Every method raises GoogleError. An account that was just created may still be NOT_FOUND or
    PERMISSION_DENIED for seconds, then found, then not found again.
    """

    def __init__(self, clients: ProjectClients) -> None:
        self._iam = iam(clients)

    async def get(self, project_id: str, email_or_unique_id: str) -> ServiceAccount:
        """The account of this e-mail or unique id."""
        request = types.GetServiceAccountRequest(name=_name(project_id, email_or_unique_id))
        reply = await self._iam.call(project_id, IAMAsyncClient.get_service_account, request)
        return _account(project_id, reply)

    async def list(self, project_id: str) -> list[ServiceAccount]:
        """Every account of the project, one request for each 100."""
        found: list[ServiceAccount] = []
        request = types.ListServiceAccountsRequest(name=f"projects/{project_id}", page_size=_PAGE_SIZE)
        while True:
            page = await self._iam.call(project_id, IAMAsyncClient.list_service_accounts, request)
            found += [_account(project_id, account) for account in page.accounts]
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def create(
        self, project_id: str, account_id: str, display_name: str, description: str
    ) -> ServiceAccount:
        """Create an account, enabled; ALREADY_EXISTS if its id is taken."""
        request = types.CreateServiceAccountRequest(
            name=f"projects/{project_id}",
            account_id=account_id,
            service_account=types.ServiceAccount(display_name=display_name, description=description),
        )
        reply = await self._iam.call(project_id, IAMAsyncClient.create_service_account, request)
        return _account(project_id, reply)

    async def patch(
        self,
        project_id: str,
        unique_id: str,
        *,
        display_name: str | None = None,
        description: str | None = None,
    ) -> None:
        """Change what is given and leave what is None; Google echoes no more than that."""
        changes = {"display_name": display_name, "description": description}
        given = {field: value for field, value in changes.items() if value is not None}
        request = types.PatchServiceAccountRequest(
            service_account=types.ServiceAccount(name=_name(project_id, unique_id), **given),
            update_mask=field_mask_pb2.FieldMask(paths=sorted(given)),
        )
        await self._iam.call(project_id, IAMAsyncClient.patch_service_account, request, repeatable=True)

    async def disable(self, project_id: str, unique_id: str) -> None:
        """Disable the account; a read right after may not show it yet."""
        request = types.DisableServiceAccountRequest(name=_name(project_id, unique_id))
        await self._iam.call(project_id, IAMAsyncClient.disable_service_account, request, repeatable=True)

    async def enable(self, project_id: str, unique_id: str) -> None:
        """Enable the account; a read right after may not show it yet."""
        request = types.EnableServiceAccountRequest(name=_name(project_id, unique_id))
        await self._iam.call(project_id, IAMAsyncClient.enable_service_account, request, repeatable=True)

    async def delete(self, project_id: str, unique_id: str) -> None:
        """Delete the account; it can be undeleted for 30 days."""
        request = types.DeleteServiceAccountRequest(name=_name(project_id, unique_id))
        await self._iam.call(project_id, IAMAsyncClient.delete_service_account, request)

    async def undelete(self, project_id: str, unique_id: str) -> ServiceAccount:
        """Bring back an account, and with it what it was granted, unless its e-mail was taken meanwhile."""
        request = types.UndeleteServiceAccountRequest(name=_name(project_id, unique_id))
        reply = await self._iam.call(project_id, IAMAsyncClient.undelete_service_account, request)
        return _account(project_id, reply.restored_account)


def _name(project_id: str, email_or_unique_id: str) -> str:
    return f"projects/{project_id}/serviceAccounts/{email_or_unique_id}"


def _account(project_id: str, message: types.ServiceAccount) -> ServiceAccount:
    return ServiceAccount(
        project_id=project_id,
        email=message.email,
        unique_id=message.unique_id,
        display_name=message.display_name,
        description=message.description,
        disabled=message.disabled,
    )
