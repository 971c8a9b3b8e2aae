"""Store of service accounts, live and deleted."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from google.cloud import iam_admin_v1 as iam

from cloudrun_identity_playground.emulator.access.denials import denied
from cloudrun_identity_playground.emulator.errors import (
    already_exists,
    exhausted,
    failed_precondition,
    invalid,
    not_found,
    resource_info,
)
from cloudrun_identity_playground.emulator.lag import Lag

from .key_pairs import KeyPair
from .projects import Project, ProjectRegistry

UNDELETE_WITHIN = 30 * 24 * 3600
"""Seconds during which a deleted account can be undeleted."""

_GET = "google.iam.admin.v1.IAM/GetServiceAccount"
_ID = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")
_NUMBERED = re.compile(r"(?:service-)?(\d{6,})(?:-[a-z]+)?@")
_AGENT = re.compile(r"service-(\d+)@([^.]+)\.iam\.gserviceaccount\.com")
_OF_USERS = ".iam.gserviceaccount.com"
_OF_GOOGLE = re.compile(r"@(?:gcp-sa-|[^.@]*\.google\.com)")
_NAME = re.compile(r"projects/([^/]+)/serviceAccounts/([^/]+)")


@dataclass
class Account:
    """A service account. Its e-mail can be used again after its deletion, its unique id cannot."""

    project: Project
    email: str
    unique_id: str
    display_name: str = ""
    description: str = ""
    disabled: bool = False
    deleted_at: float | None = None
    keys: dict[str, iam.ServiceAccountKey] = field(default_factory=dict)
    _google_key: KeyPair | None = None

    @property
    def name(self) -> str:
        """Resource name, `projects/ID/serviceAccounts/EMAIL`."""
        return f"projects/{self.project.id}/serviceAccounts/{self.email}"

    def google_key(self, now: float) -> KeyPair:
        """Return the key that Google holds for the account; `now` is used if it is created first."""
        if self._google_key is None:
            self._google_key = KeyPair.new(self.unique_id, now)
        return self._google_key


class AccountStore:
    """All service accounts; implements `members.Accounts` for policies."""

    def __init__(self, projects: ProjectRegistry, lag: Lag, clock: Callable[[], float]) -> None:
        self._projects = projects
        self._lag = lag
        self._clock = clock
        self._by_unique_id: dict[str, Account] = {}
        self._live: dict[str, Account] = {}  # by e-mail in lower case
        self.missing_agents: set[str] = set()
        """E-mails, in lower case, of service agents that do not exist yet.

        Google creates an agent when its service is first used, and refuses it as a member until then:
        https://cloud.google.com/iam/docs/create-service-agents
        """

    def __iter__(self) -> Iterator[Account]:
        return iter(self._by_unique_id.values())

    def of_project(self, project: Project) -> dict[str, Account]:
        """Return the live accounts of a project by e-mail."""
        return {account.email: account for account in self._live.values() if account.project is project}

    def create(self, project: Project, account_id: str) -> Account:
        """Create an account.

        Raises GoogleError: INVALID_ARGUMENT, ALREADY_EXISTS, or RESOURCE_EXHAUSTED (the project's quota).
        """
        if not _ID.fullmatch(account_id):
            raise invalid(
                f"Invalid service account ID '{account_id}': it has 6 to 30 characters of a-z, 0-9 and -, "
                "begins with a letter and does not end with -."
            )
        email = f"{account_id}@{project.account_domain}"
        if email in self._live:
            # The detail: https://github.com/GoogleCloudPlatform/marketing-analytics-jumpstart/issues/200
            raise already_exists(
                f"Service account {account_id} already exists within project projects/{project.id}.",
                resource_info(f"projects/{project.id}/serviceAccounts/{email}"),
            )
        if len(self.of_project(project)) >= project.service_account_quota:
            raise exhausted("Maximum number of service accounts on project reached.")
        account = Account(project, email, unique_id=f"1{secrets.randbelow(10**20):020d}")
        self._by_unique_id[account.unique_id] = self._live[email] = account
        self._lag.begin(account.unique_id)
        return account

    def find(self, name: str) -> Account:
        """Return the live account of a resource name, by e-mail or unique id, regardless of the lag.

        Raises GoogleError: NOT_FOUND; PERMISSION_DENIED if the project is `-`, because Google cannot search
        then.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            raise invalid(f"Invalid service account name '{name}'.")
        project_id, identifier = match.groups()
        project = None if project_id == "-" else self._projects.resolve(project_id)
        account = self._live_by_identifier(identifier)
        if account is not None and project in (None, account.project):
            return account
        if project is None:
            raise denied(_GET, "iam.serviceAccounts.get", name)
        raise not_found("Unknown service account")

    def read(self, name: str) -> Account:
        """Return the account as `find` does, but a new account may not be visible yet.

        Raises GoogleError: as `find`.
        """
        account = self.find(name)
        if self._lag.hides_from_read(account.unique_id):
            if self._lag.forbids:
                raise denied(_GET, "iam.serviceAccounts.get", account.name)
            raise not_found(f"Service account {account.name} does not exist.")
        return account

    def find_settled(self, name: str) -> Account:
        """Return the account as `find` does, but not before Google knows it everywhere.

        Keys and policies of a new account are refused for a minute and more
        (https://github.com/hashicorp/terraform-provider-google/issues/10193).

        Raises GoogleError: as `find`; NOT_FOUND during the lag.
        """
        account = self.find(name)
        if self._lag.lasts(account.unique_id):
            raise not_found(f"Service account {account.name} does not exist.")
        return account

    def find_for_policy(self, name: str) -> Account:
        """Return the account as `find_settled` does, also under the name of another project.

        gcloud names the configured project, and Google's page on accounts of other projects runs it so:
        https://cloud.google.com/run/docs/configuring/services/service-identity.

        Raises GoogleError: as `find_settled`.
        """
        return self.find_settled(self._under_own_project(name))

    def read_for_policy(self, name: str) -> Account:
        """Return the account as `read` does, also under the name of another project.

        Raises GoogleError: as `read`.
        """
        return self.read(self._under_own_project(name))

    def _under_own_project(self, name: str) -> str:
        match = _NAME.fullmatch(name)
        account = self._live.get(match[2].lower()) if match is not None and match[1] != "-" else None
        return account.name if account is not None else name

    def is_settled(self, account: Account) -> bool:
        """Return whether Google knows the account everywhere."""
        return not self._lag.lasts(account.unique_id)

    def delete(self, account: Account) -> None:
        """Delete an account. Its deleted members and keys remain for an undelete."""
        account.deleted_at = self._clock()
        del self._live[account.email]

    def undelete(self, unique_id: str) -> Account:
        """Restore a deleted account with its keys and grants.

        Raises GoogleError: NOT_FOUND (unknown, not deleted, or deleted too long ago) or FAILED_PRECONDITION
        (another account has the e-mail).
        """
        account = self._by_unique_id.get(unique_id)
        if account is None or account.deleted_at is None:
            raise not_found("Unknown service account")
        if self._clock() > account.deleted_at + UNDELETE_WITHIN:
            raise not_found("Unknown service account")
        if account.email in self._live:
            raise failed_precondition(f"A service account with the e-mail {account.email} exists already.")
        account.deleted_at = None
        self._live[account.email] = account
        return account

    def live(self, email: str) -> Account | None:
        """Return the live account with this e-mail."""
        return self._live.get(email.lower())

    def any(self, identifier: str) -> Account | None:
        """Return the live account with this e-mail, or the live or deleted one with this unique id."""
        return self._by_unique_id.get(identifier) or self.live(identifier)

    def is_local(self, email: str) -> bool:
        """Return whether an account with this e-mail belongs to a project of the emulator."""
        return self._projects.of_account(email) is not None

    def is_live(self, unique_id: str) -> bool:
        """Return whether the account exists and is not deleted."""
        account = self._by_unique_id.get(unique_id)
        return account is not None and account.deleted_at is None

    def is_taken(self, email: str) -> bool:
        """Return whether a live account has this e-mail."""
        return email.lower() in self._live

    def known_to_policies(self, email: str) -> str | None:
        """Return the unique id of the live account with this e-mail; see `members.Accounts`."""
        if email.lower() in self.missing_agents:
            raise invalid(f"Service account {email} does not exist.")
        if self._projects.of_account(email) is None:
            if self._is_absent_agent(email) or (self._projects.strict and self._is_of_unknown_project(email)):
                raise invalid(f"Service account {email} does not exist.")
            return None
        account = self._live.get(email.lower())
        if account is None or self._lag.lasts(account.unique_id):
            raise invalid(f"Service account {email} does not exist.")
        return account.unique_id

    def _is_absent_agent(self, email: str) -> bool:
        """Return whether an agent of a Google service was not created yet in its project.

        Most agents come into being when the service is first used in the project
        (https://cloud.google.com/iam/docs/create-service-agents).
        """
        agent = _AGENT.fullmatch(email.lower())
        project = self._projects.find(agent[1]) if agent else None
        if agent is None or project is None or project.service_agents is None:
            return False
        return agent[2] not in project.service_agents

    def _is_of_unknown_project(self, email: str) -> bool:
        """Return whether an account belongs to a project that does not exist.

        Agents of Google's services and default accounts have the number of their project
        (https://github.com/hashicorp/terraform-provider-google/issues/9969).
        """
        if numbered := _NUMBERED.match(email):
            return self._projects.find(numbered[1]) is None
        return email.lower().endswith(_OF_USERS) and not _OF_GOOGLE.search(email)

    def _live_by_identifier(self, identifier: str) -> Account | None:
        if not identifier.isdigit():
            return self._live.get(identifier.lower())
        account = self._by_unique_id.get(identifier)
        return account if account is not None and account.deleted_at is None else None
