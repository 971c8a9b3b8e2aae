"""Reads of `who-can` and `what-can`: the resources of a project, with what decides about access to them."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from cloudrun_identity.api import MULTI_REGION, TargetKind, WorkloadKind
from cloudrun_identity.gcp.access_limits import AccessLimits
from cloudrun_identity.gcp.access_reader import AccessReader, Denied, ProjectAccess, unless_denied
from cloudrun_identity.gcp.clients import ProjectClients
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.keys import Keys
from cloudrun_identity.gcp.projects import default_compute_account
from cloudrun_identity.gcp.run import Run
from cloudrun_identity.gcp.service_accounts import ServiceAccount, ServiceAccounts
from cloudrun_identity.gcp.workloads import Workload, WorkloadState
from cloudrun_identity.iam.access import AccessFacts
from cloudrun_identity.iam.access_questions import AccountFacts, WorkloadFacts
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.listed_keys import ListedKey

_FRESH = 600.0
"""Maximum age in seconds of a read. A command reads everything once."""


@dataclass(frozen=True, slots=True)
class SurveyedAccount:
    """An account with its keys."""

    facts: AccountFacts
    """The account, and what decides about access to it."""
    disabled: bool
    """True if it cannot authenticate."""
    keys: tuple[ListedKey, ...]
    """Its user-managed keys."""


@dataclass(frozen=True, slots=True)
class SurveyedProject:
    """The accounts and workloads of a project."""

    project: AccessFacts
    """The policies that decide about access to the project."""
    accounts: tuple[AccountFacts, ...]
    """The accounts."""
    workloads: tuple[WorkloadFacts, ...]
    """The workloads in the locations that were named."""


class AccessSurvey:
    """Reads of one project. Every method raises GoogleError.

    `unknown` names what could not be read. Deny policies and boundaries are read once.
    """

    def __init__(
        self,
        clients: ProjectClients,
        project_id: str,
        locations: Iterable[str],
        show: Callable[[str], None],
    ) -> None:
        """Create a survey. `show` receives what it reads at the moment."""
        self.unknown: list[str] = []
        self._project_id = project_id
        self._locations = sorted(set(locations))
        self._show = show
        self._reader = AccessReader(clients, project_id, AccessLimits(clients, project_id, show), show)
        self._accounts = ServiceAccounts(clients)
        self._run = Run(clients)
        self._keys = Keys(clients, time.monotonic)
        self._inventory = Inventory(self._accounts, self._run, time.monotonic)

    async def account(self, email: str) -> SurveyedAccount:
        """Return an account, with the workloads in the locations that run as it."""
        account = await self._accounts.get(self._project_id, email)
        access = await self._project()
        workloads = await self._running_as(account, access)
        target = Target.service_account(self._project_id, account.email)
        own = await self._below(access.facts, target)
        facts = await self._reader.with_permissions((own, access.facts, *(each.facts for each in workloads)))
        found = [replace(each, facts=read) for each, read in zip(workloads, facts[2:], strict=True)]
        keys = await unless_denied(self._keys.list(self._project_id, account.unique_id, _FRESH))
        if isinstance(keys, Denied):
            self.unknown.append(f"the keys of {target}: {keys}")
        return SurveyedAccount(
            AccountFacts(target, facts[0], facts[1], tuple(found)),
            account.disabled,
            () if isinstance(keys, Denied) else tuple(keys.values()),
        )

    async def workload(self, target: Target) -> WorkloadFacts:
        """Return a workload."""
        kind = WorkloadKind(target.kind)
        state = await self._run.get(Workload(kind, target.project_id, target.location, target.name))
        access = await self._project()
        (found,) = await self._with_facts([state], access.facts)
        (facts,) = await self._reader.with_permissions((found.facts,))
        return replace(found, facts=facts)

    async def resource(self, target: Target) -> AccessFacts:
        """Return what decides about access to any resource."""
        access = await self._project()
        facts = access.facts if target.is_project else await self._below(access.facts, target)
        return (await self._reader.with_permissions((facts,)))[0]

    async def everything(self) -> SurveyedProject:
        """Return all accounts of the project, and its workloads in the locations."""
        access = await self._project()
        accounts = await unless_denied(self._accounts.list(self._project_id))
        if isinstance(accounts, Denied):
            self.unknown.append(f"the accounts of project {self._project_id}: {accounts}")
            accounts = []
        workloads = await self._with_facts(await self._states(), access.facts)
        self._show(f"reading the policies of {len(accounts)} accounts")
        targets = [Target.service_account(self._project_id, each.email) for each in accounts]
        own = await asyncio.gather(*(self._below(access.facts, target) for target in targets))
        read = await self._reader.with_permissions((access.facts, *own, *(each.facts for each in workloads)))
        project, of_accounts, of_workloads = read[0], read[1 : len(own) + 1], read[len(own) + 1 :]
        found = [replace(each, facts=facts) for each, facts in zip(workloads, of_workloads, strict=True)]
        return SurveyedProject(
            project,
            tuple(
                AccountFacts(
                    target, facts, project, tuple(each for each in found if each.account == target.name)
                )
                for target, facts in zip(targets, of_accounts, strict=True)
            ),
            tuple(found),
        )

    async def _project(self) -> ProjectAccess:
        access = await self._reader.of_project()
        self.unknown += access.facts.unread
        return access

    async def _below(self, project: AccessFacts, target: Target) -> AccessFacts:
        bindings, unread = await self._reader.of_target(target)
        self.unknown += unread
        return project.below(bindings, unread)

    async def _running_as(self, account: ServiceAccount, access: ProjectAccess) -> Sequence[WorkloadFacts]:
        if not self._locations:
            self.unknown.append(
                "the workloads that run as the account, and who may deploy only these: name the locations "
                "with --location"
            )
        names = {account.email}
        if access.project and account.email == default_compute_account(access.project.number):
            names.add("")  # a workload without an account runs as this one
        states = [
            state for state in await self._states() if not names.isdisjoint(await self._accounts_of(state))
        ]
        found = await self._with_facts(states, access.facts)
        return [replace(each, account=account.email) for each in found]

    async def _accounts_of(self, state: WorkloadState) -> set[str]:
        serving = await unless_denied(self._inventory.serving_accounts(state))
        return {state.service_account} | (set() if isinstance(serving, Denied) else {*serving.values()})

    async def _states(self) -> list[WorkloadState]:
        """Return the workloads in the locations. A multi-region service is listed in its regions."""
        found: list[WorkloadState] = []
        for location in self._locations:
            if location == MULTI_REGION:
                continue
            self._show(f"reading the workloads in {location}")
            for kind in WorkloadKind:
                listed = await unless_denied(self._run.list(self._project_id, location, kind))
                if isinstance(listed, Denied):
                    self.unknown.append(f"the {kind}s in {location}: {listed}")
                else:
                    found += listed
        return found

    async def _with_facts(self, states: Sequence[WorkloadState], project: AccessFacts) -> list[WorkloadFacts]:
        facts = await asyncio.gather(*(self._below(project, state.workload.target) for state in states))
        return [
            WorkloadFacts(
                state.workload.target,
                state.service_account,
                own,
                public=state.invoker_iam_disabled and state.workload.target.kind is TargetKind.SERVICE,
            )
            for state, own in zip(states, facts, strict=True)
        ]
