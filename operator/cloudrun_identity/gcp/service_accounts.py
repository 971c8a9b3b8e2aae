"""Service accounts, in the IAM API.

Requests name the project of the account: with `projects/-`, Google answers 403 for a missing account.
"""

from dataclasses import dataclass

from google.iam.v1 import iam_policy_pb2
from google.protobuf import field_mask_pb2

from .clients import ProjectClients
from .errors import Fault, GoogleError
from .libraries import iam_admin_v1
from .service_client import iam_service

_GET = "iam.serviceAccounts.get"
_UNKNOWN_ACCOUNT = frozenset({Fault.NOT_FOUND, Fault.PERMISSION_DENIED})
_PAGE_SIZE = 100  # the maximum that Google serves


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """An account as Google shows it."""

    project_id: str
    """Project of the account."""

    email: str
    """E-mail, as Google returned it."""

    unique_id: str
    """Numeric id. A recreated account with the same e-mail has another one."""

    display_name: str = ""
    """Display name."""

    description: str = ""
    """Description."""

    disabled: bool = False
    """True if the account cannot authenticate."""


def expected_email(project_id: str, account_id: str) -> str:
    """Return the e-mail that an account of this id usually has, until Google has returned the real one.

    A domain-scoped project `example.com:shop` results in `ID@shop.example.com.iam.gserviceaccount.com`.
    """
    domain, _, name = project_id.rpartition(":")
    return f"{account_id}@{name}{'.' if domain else ''}{domain}.iam.gserviceaccount.com"


def project_id_of_email(email: str) -> str:
    """Return the project id in the e-mail of an account; empty for accounts that Google manages.

    The inverse of `expected_email`.
    """
    scope, found, _ = email.partition("@")[2].rpartition(_USER_MANAGED)
    name, _, domain = scope.partition(".")
    if not found:
        return ""
    return f"{domain}:{name}" if domain else name


_USER_MANAGED = ".iam.gserviceaccount.com"


class ServiceAccounts:
    """Service account methods of the IAM API. Every method raises GoogleError.

    For seconds after its creation, reads of an account may alternate between success, NOT_FOUND and
    PERMISSION_DENIED.
    """

    def __init__(self, clients: ProjectClients) -> None:
        self._iam = iam_service(clients)

    async def get(self, project_id: str, email_or_unique_id: str) -> ServiceAccount:
        """Return the account with this e-mail or unique id."""
        request = iam_admin_v1.GetServiceAccountRequest(name=_name(project_id, email_or_unique_id))
        reply = await self._iam.call(project_id, "get_service_account", request)
        return _account(project_id, reply)

    async def is_known(self, project_id: str, email: str) -> bool:
        """Return whether the policy system of Google Cloud knows an account that a read shows.

        A caller that can read an account has the permission to read it. If a test of this permission does not
        show it, policies, keys and Cloud Run refuse the account like one that does not exist. A new account
        can take 60 seconds or more (https://cloud.google.com/iam/docs/service-accounts-create).
        """
        request = iam_policy_pb2.TestIamPermissionsRequest(
            resource=_name(project_id, email), permissions=[_GET]
        )
        try:
            reply = await self._iam.call(project_id, "test_iam_permissions", request)
        except GoogleError as error:
            if error.fault not in _UNKNOWN_ACCOUNT:
                raise
            return False
        return _GET in reply.permissions

    async def list(self, project_id: str) -> list[ServiceAccount]:
        """Return every account of the project, with one request per 100 accounts."""
        found: list[ServiceAccount] = []
        request = iam_admin_v1.ListServiceAccountsRequest(name=f"projects/{project_id}", page_size=_PAGE_SIZE)
        while True:
            page = await self._iam.call(project_id, "list_service_accounts", request)
            found += [_account(project_id, account) for account in page.accounts]
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def create(
        self, project_id: str, account_id: str, display_name: str, description: str
    ) -> ServiceAccount:
        """Create an enabled account. ALREADY_EXISTS if its id is in use."""
        request = iam_admin_v1.CreateServiceAccountRequest(
            name=f"projects/{project_id}",
            account_id=account_id,
            service_account=iam_admin_v1.ServiceAccount(display_name=display_name, description=description),
        )
        reply = await self._iam.call(project_id, "create_service_account", request)
        return _account(project_id, reply)

    async def patch(
        self,
        project_id: str,
        unique_id: str,
        *,
        display_name: str | None = None,
        description: str | None = None,
    ) -> None:
        """Change the fields that are not None. Google returns only these, so the reply is not used."""
        changes = {"display_name": display_name, "description": description}
        given = {field: value for field, value in changes.items() if value is not None}
        request = iam_admin_v1.PatchServiceAccountRequest(
            service_account=iam_admin_v1.ServiceAccount(name=_name(project_id, unique_id), **given),
            update_mask=field_mask_pb2.FieldMask(paths=sorted(given)),
        )
        await self._iam.call(project_id, "patch_service_account", request, repeatable=True)

    async def disable(self, project_id: str, unique_id: str) -> None:
        """Disable the account. A read right afterwards may not show it yet."""
        request = iam_admin_v1.DisableServiceAccountRequest(name=_name(project_id, unique_id))
        await self._iam.call(project_id, "disable_service_account", request, repeatable=True)

    async def enable(self, project_id: str, unique_id: str) -> None:
        """Enable the account. A read right afterwards may not show it yet."""
        request = iam_admin_v1.EnableServiceAccountRequest(name=_name(project_id, unique_id))
        await self._iam.call(project_id, "enable_service_account", request, repeatable=True)

    async def delete(self, project_id: str, unique_id: str) -> None:
        """Delete the account. It can be undeleted for 30 days."""
        request = iam_admin_v1.DeleteServiceAccountRequest(name=_name(project_id, unique_id))
        await self._iam.call(project_id, "delete_service_account", request)

    async def undelete(self, project_id: str, unique_id: str) -> ServiceAccount:
        """Restore a deleted account and its grants. Fails if another account has its e-mail."""
        request = iam_admin_v1.UndeleteServiceAccountRequest(name=_name(project_id, unique_id))
        reply = await self._iam.call(project_id, "undelete_service_account", request)
        return _account(project_id, reply.restored_account)


def _name(project_id: str, email_or_unique_id: str) -> str:
    return f"projects/{project_id}/serviceAccounts/{email_or_unique_id}"


def _account(project_id: str, message: "iam_admin_v1.ServiceAccount") -> ServiceAccount:
    return ServiceAccount(
        project_id=project_id,
        email=message.email,
        unique_id=message.unique_id,
        display_name=message.display_name,
        description=message.description,
        disabled=message.disabled,
    )
