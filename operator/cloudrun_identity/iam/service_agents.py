"""Service agents: the accounts with which Google's services act in a project, by the name of the service.

Source: https://cloud.google.com/iam/docs/service-agents, as it was at one date. `tools/service_agents.py`
writes the table; `docs/dev/service-agents.md` documents its source. Google adds agents, so an agent that the
table does not contain is named by its e-mail.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from importlib import resources
from typing import Final

from .principals import is_google_managed, lower_email

CLOUD_RUN: Final = "run.googleapis.com"
PAGE: Final = "https://cloud.google.com/iam/docs/service-agents"

_FILE = "service_agents.tsv"
_API = ".googleapis.com"
_NUMBER = "NUMBER"
_DOMAIN = re.compile(r"(.+?)(?:\.iam)?\.gserviceaccount\.com")
_PROJECT_NUMBER = re.compile(r"(?:[a-z]+-)?p?(\d+)(?:-\d+)?@")


@dataclass(frozen=True, slots=True)
class ServiceAgent:
    """A kind of service agent, which each project has once."""

    service: str
    """Name of the service, such as `pubsub.googleapis.com`."""
    form: str
    """E-mail with `NUMBER` in place of the number of the project."""
    is_primary: bool = False
    """True for the agent that Google documents as the primary one of the service."""

    @property
    def name(self) -> str:
        """Part of the e-mail that distinguishes the agents of a service, such as `gcp-sa-pubsub`."""
        _, _, domain = self.form.partition("@")
        found = _DOMAIN.fullmatch(domain)
        return found[1] if found else domain

    def email(self, project_number: str) -> str:
        """Return the e-mail of the agent of a project."""
        return self.form.replace(_NUMBER, project_number)


@dataclass(frozen=True, slots=True)
class NoServiceAgent:
    """No service agent has the name, or several have it."""

    reason: str
    """Message that names the wrong value and the remedy."""


class ServiceAgents:
    """The documented service agents of projects."""

    def __init__(self, agents: Iterable[ServiceAgent], date: str) -> None:
        self.date = date
        """Date of the documentation, such as `2026-04-22`."""
        found: defaultdict[str, list[ServiceAgent]] = defaultdict(list)
        for agent in agents:
            found[agent.service].append(agent)
        self.by_service: Mapping[str, tuple[ServiceAgent, ...]] = {
            service: tuple(each) for service, each in found.items()
        }
        """Agents by the name of their service."""
        self._by_name = {each.name: each for agents in self.by_service.values() for each in agents}

    def find(self, service: str, name: str = "") -> ServiceAgent | NoServiceAgent:
        """Return the agent of a service with this name.

        Without a name: its only agent, or the primary one.
        """
        agents = self.by_service.get(service)
        if agents is None:
            return NoServiceAgent(self._unknown(service))
        names = ", ".join(agent.name for agent in agents)
        if name:
            named = next((agent for agent in agents if agent.name == name), None)
            return named or NoServiceAgent(f"{service} has no service agent {name}; its agents are {names}")
        primary = agents if len(agents) == 1 else [agent for agent in agents if agent.is_primary]
        if len(primary) == 1:
            return primary[0]
        return NoServiceAgent(f"{service} has several service agents; set agent to one of {names}")

    def service_of(self, email: str) -> str:
        """Return the name of the service that an agent belongs to; empty for an e-mail of no known agent."""
        _, _, domain = lower_email(email).partition("@")
        found = _DOMAIN.fullmatch(domain)
        agent = self._by_name.get(found[1]) if found else None
        number = project_number_of(email)
        return agent.service if agent and agent.email(number) == lower_email(email) else ""

    def _unknown(self, service: str) -> str:
        stems = [each.removesuffix(_API) for each in self.by_service]
        similar = get_close_matches(service.removesuffix(_API), stems, n=1, cutoff=0.8)
        meant = f"; use {similar[0]}{_API} if you mean that service" if similar else ""
        return (
            f"{service} has no service agent in {PAGE} of {self.date}{meant}; name an agent that is newer "
            "with principal: serviceAccount:EMAIL"
        )


@lru_cache(maxsize=1)
def service_agents() -> ServiceAgents:
    """Return the table that the operator ships."""
    text = resources.files(__package__).joinpath(_FILE).read_text(encoding="utf-8")
    dated, _, *rows = text.splitlines()
    agents = (row.split("\t") for row in rows)
    return ServiceAgents(
        (ServiceAgent(service, form, mark == "primary") for service, form, mark in agents),
        dated.removeprefix("# date: "),
    )


@lru_cache(maxsize=64)
def agent_email(service: str, project_number: str) -> str:
    """Return the e-mail of the agent of a service that has one or a primary one.

    Raises LookupError: The service has none.
    """
    agent = service_agents().find(service)
    if isinstance(agent, NoServiceAgent):
        raise LookupError(agent.reason)
    return agent.email(project_number)


def project_number_of(email: str) -> str:
    """Return the number of the project of a service agent; empty for an account that is none."""
    address = lower_email(email)
    found = _PROJECT_NUMBER.match(address)
    return found[1] if found and is_google_managed(address) else ""
