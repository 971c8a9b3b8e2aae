"""IAM v1: service accounts."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from google.cloud import iam_admin_v1 as iam
from google.protobuf import empty_pb2

from cloudrun_identity_playground.emulator.errors import invalid
from cloudrun_identity_playground.emulator.lag import Lag

from .accounts import Account, AccountStore
from .paging import page, page_size
from .projects import ProjectRegistry
from .rpc import serves

ETAG = base64.b64decode("MDEwMjE5MjA=")
"""The etag of every account. It never changes, so it prevents no conflict."""

_LONGEST: Mapping[str, int] = {"display_name": 100, "description": 256}


class ServiceAccounts:
    """The accounts of `google.iam.admin.v1.IAM` without their policies."""

    SERVICE = "google.iam.admin.v1.IAM"

    def __init__(self, projects: ProjectRegistry, accounts: AccountStore, lag: Lag) -> None:
        self._projects = projects
        self._accounts = accounts
        self._lag = lag

    @serves("google.iam.admin.v1.IAM/CreateServiceAccount")
    def create(self, request: iam.CreateServiceAccountRequest) -> iam.ServiceAccount:
        """Create an account; `disabled` is ignored."""
        for field in _LONGEST:
            _check_length(field, getattr(request.service_account, field))
        account = self._accounts.create(self._projects.resolve_name(request.name), request.account_id)
        account.display_name = request.service_account.display_name
        account.description = request.service_account.description
        return message(account)

    @serves("google.iam.admin.v1.IAM/GetServiceAccount")
    def get(self, request: iam.GetServiceAccountRequest) -> iam.ServiceAccount:
        """Return an account if the lag makes it visible."""
        account = self._accounts.read(request.name)
        shown = message(account)
        if self._lag.hides_from_read(_switch(account), first=True):
            shown.disabled = not shown.disabled  # a read right after a disable may still show it enabled
        return shown

    @serves("google.iam.admin.v1.IAM/ListServiceAccounts")
    def list(self, request: iam.ListServiceAccountsRequest) -> iam.ListServiceAccountsResponse:
        """List the accounts of a project; 20 per page by default, at most 100."""
        accounts = self._accounts.of_project(self._projects.resolve_name(request.name))
        shown, token = page(accounts, request.page_token, page_size(request.page_size, 20, 100))
        return iam.ListServiceAccountsResponse(
            accounts=[message(account) for account in shown], next_page_token=token
        )

    @serves("google.iam.admin.v1.IAM/PatchServiceAccount")
    def patch(self, request: iam.PatchServiceAccountRequest) -> iam.ServiceAccount:
        """Change display name or description; the response has the name and the changed fields only."""
        account = self._accounts.find(request.service_account.name)
        echo = iam.ServiceAccount(name=account.name)
        for field in request.update_mask.paths:
            if field not in _LONGEST:
                raise invalid(f"Invalid field mask path '{field}'; use display_name or description.")
            value = getattr(request.service_account, field)
            _check_length(field, value)
            setattr(account, field, value)
            setattr(echo, field, value)
        return echo

    @serves("google.iam.admin.v1.IAM/DisableServiceAccount")
    def disable(self, request: iam.DisableServiceAccountRequest) -> empty_pb2.Empty:
        """Disable an account."""
        return self._switch(request.name, disabled=True)

    @serves("google.iam.admin.v1.IAM/EnableServiceAccount")
    def enable(self, request: iam.EnableServiceAccountRequest) -> empty_pb2.Empty:
        """Enable an account."""
        return self._switch(request.name, disabled=False)

    @serves("google.iam.admin.v1.IAM/DeleteServiceAccount")
    def delete(self, request: iam.DeleteServiceAccountRequest) -> empty_pb2.Empty:
        """Delete an account. Its members in all policies read as deleted."""
        account = self._accounts.find(request.name)
        self._accounts.delete(account)
        return empty_pb2.Empty()

    @serves("google.iam.admin.v1.IAM/UndeleteServiceAccount")
    def undelete(self, request: iam.UndeleteServiceAccountRequest) -> iam.UndeleteServiceAccountResponse:
        """Restore an account by its unique id."""
        unique_id = request.name.rpartition("/")[2]
        if not unique_id.isdigit():
            raise invalid(f"Invalid name '{request.name}': an account is undeleted by its unique id.")
        return iam.UndeleteServiceAccountResponse(
            restored_account=message(self._accounts.undelete(unique_id))
        )

    def _switch(self, name: str, *, disabled: bool) -> empty_pb2.Empty:
        account = self._accounts.find(name)
        if account.disabled != disabled:
            account.disabled = disabled
            self._lag.begin(_switch(account))
        return empty_pb2.Empty()


def message(account: Account) -> iam.ServiceAccount:
    """Return the account as an API message."""
    return iam.ServiceAccount(
        name=account.name,
        project_id=account.project.id,
        unique_id=account.unique_id,
        email=account.email,
        display_name=account.display_name,
        description=account.description,
        oauth2_client_id=account.unique_id,
        disabled=account.disabled,
        etag=ETAG,
    )


def policy_name(account: Account) -> str:
    """Return the name of the account's policy, which has the unique id: it is deleted with the account."""
    return f"projects/{account.project.id}/serviceAccounts/{account.unique_id}"


def _switch(account: Account) -> str:
    return f"{account.unique_id}:disable"


def _check_length(field: str, value: str) -> None:
    if len(value.encode()) > _LONGEST[field]:
        raise invalid(f"The {field} of a service account has at most {_LONGEST[field]} bytes.")
