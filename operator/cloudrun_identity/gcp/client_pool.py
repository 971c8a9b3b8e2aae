"""One `GoogleClients` per credential, shared by all projects that use the same one."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cloudrun_identity.api import ManagedProject

from .clients import TIMEOUT, GoogleClients
from .errors import Fault, GoogleError
from .impersonation import ImpersonatedTokens


@dataclass(frozen=True, slots=True)
class Credential:
    """Identity and quota project of the calls for a project."""

    account: str = ""
    """E-mail of the impersonated service account; empty if the operator's own account makes the calls."""

    delegates: tuple[str, ...] = ()
    """E-mails of the delegation chain, from the operator to `account`."""

    quota_project: str = ""
    """Project charged for the calls; empty for the project of the account."""


OWN = Credential()
"""Credential of the operator itself."""


def credential_of(project: ManagedProject) -> Credential:
    """Return the credential that the ManagedProject declares."""
    declared = project.spec.credentials
    quota_project = project.spec.quota_project_id or ""
    if declared is None:
        return Credential(quota_project=quota_project)
    return Credential(declared.impersonate_service_account, declared.delegates, quota_project)


class NoCredential(GoogleError):
    """A call was not sent, because the credential of the project is not known."""

    def __init__(self, project_id: str, message: str) -> None:
        super().__init__(Fault.UNAUTHENTICATED, f"projects/{project_id}", message, sent=False)


class ClientPool:
    """Creates the clients of a credential on first use, and closes them with its last project."""

    def __init__(self, own: GoogleClients, credential_of: Callable[[str], Credential]) -> None:
        """Create a pool with the operator's own clients, which stay open.

        `credential_of(project_id)` is called each time. It raises NoCredential if it is not known.
        """
        self._own = own
        self._credential_of = credential_of
        self._open: dict[Credential, GoogleClients] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def for_project(self, project_id: str) -> GoogleClients:
        """Return the clients with the credential of the project. Raises NoCredential if it is not known."""
        credential = self._credential_of(project_id)
        if credential == OWN:
            return self._own
        if credential not in self._open:
            self._open[credential] = self._create(credential)
        return self._open[credential]

    def identity(self, project_id: str) -> str:
        """Return the e-mail that makes the calls for the project, in lower case; empty if it is not known."""
        return self.for_project(project_id).identity

    def close_unused(self, in_use: Iterable[Credential]) -> None:
        """Close the clients of all other credentials after their calls in flight have ended."""
        for credential in self._open.keys() - set(in_use):
            task = asyncio.create_task(self._open.pop(credential).close(TIMEOUT), name="close clients")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close all clients but the operator's own. Calls in flight are canceled."""
        unused, self._open = self._open, {}
        for task in self._closing:
            task.cancel()
        await asyncio.gather(*(clients.close() for clients in unused.values()))
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _create(self, credential: Credential) -> GoogleClients:
        tokens = (
            ImpersonatedTokens(self._own, credential.account, credential.delegates)
            if credential.account
            else None
        )
        return self._own.with_credential(tokens, credential.quota_project)
