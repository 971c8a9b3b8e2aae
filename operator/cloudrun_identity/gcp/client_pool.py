"""Clients shared by all projects that act as the same account and charge the same quota."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cloudrun_identity.api import ManagedProject

from .clients import TIMEOUT, GoogleClients
from .errors import Fault, GoogleError
from .impersonation import Impersonated


@dataclass(frozen=True, slots=True)
class Credential:
    """Whom calls act as, and whose quota they use.

    `account` is the impersonated one, empty for the operator itself; `quota_project` is empty for whatever
    project the account belongs to.
    """

    account: str = ""
    delegates: tuple[str, ...] = ()
    quota_project: str = ""


OWN = Credential()


def credential_of(project: ManagedProject) -> Credential:
    """What the project says about it."""
    declared = project.spec.credentials
    quota_project = project.spec.quota_project_id or ""
    if declared is None:
        return Credential(quota_project=quota_project)
    return Credential(declared.impersonate_service_account, declared.delegates, quota_project)


class NoCredential(GoogleError):  # noqa: N818 - it names what happened
    """Nothing was called, because nobody can tell whom to act as in a project."""

    sent = False

    def __init__(self, project_id: str, why: str) -> None:
        super().__init__(Fault.UNAUTHENTICATED, f"projects/{project_id}", why)


class ClientPool:
    """One `GoogleClients` a credential, made when first needed and closed with its last project."""

    def __init__(self, own: GoogleClients, credential_of: Callable[[str], Credential]) -> None:
        """`own` act as the operator itself, and stay open.

        `credential_of(project_id)` is asked each time, and raises NoCredential where it cannot tell.
        """
        self._own = own
        self._credential_of = credential_of
        self._open: dict[Credential, GoogleClients] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def of(self, project_id: str) -> GoogleClients:
        """The clients that act as whom the project says; raises NoCredential where that cannot be read."""
        credential = self._credential_of(project_id)
        if credential == OWN:
            return self._own
        if credential not in self._open:
            self._open[credential] = self._made(credential)
        return self._open[credential]

    def identity(self, project_id: str) -> str:
        """The e-mail that the operator acts as in the project, in lower case; empty where not known."""
        return self.of(project_id).identity

    def retain(self, in_use: Iterable[Credential]) -> None:
        """Close the clients of every other credential, once their calls under way have ended."""
        for credential in self._open.keys() - set(in_use):
            task = asyncio.create_task(self._open.pop(credential).close(TIMEOUT), name="close clients")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close all but the operator's own; calls under way are cancelled."""
        unused, self._open = self._open, {}
        for task in self._closing:
            task.cancel()
        await asyncio.gather(*(clients.close() for clients in unused.values()))
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _made(self, credential: Credential) -> GoogleClients:
        tokens = (
            Impersonated(self._own, credential.account, credential.delegates) if credential.account else None
        )
        return self._own.acting_as(tokens, credential.quota_project)
