"""Reads of a cluster for `who-can` and `what-can`: ledgers, identities, and the locations of projects."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import click

from cloudrun_identity.api import CloudRunIdentity, ManagedProject, PolicyLedger
from cloudrun_identity.kube.client import KubeClient
from cloudrun_identity.kube.objects import resource
from cloudrun_identity.kube.resources import Object
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.ledger.objects import LedgerInvalid, from_object

from .managed_grants import ManagedGrants


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """The state of a cluster."""

    ledgers: tuple[Ledger, ...] = ()
    """All valid ledgers, of every operator."""
    invalid: tuple[str, ...] = ()
    """The ledgers that could not be read, with the reason."""
    identities: Mapping[str, Object] = field(default_factory=dict)
    """The status of each CloudRunIdentity, by NAMESPACE/NAME."""
    locations: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The locations of the ManagedProjects, by project ID."""

    def managed(self, project_id: str) -> ManagedGrants:
        """Return the grants that are managed in a project."""
        return ManagedGrants(self.ledgers, project_id)

    def email_of(self, identity: str) -> str:
        """Return the e-mail of the account of a CloudRunIdentity, NAMESPACE/NAME.

        Raises:
            ClickException: the object does not exist, or it has no account yet.

        """
        if identity not in self.identities:
            raise click.ClickException(f"CloudRunIdentity {identity} does not exist")
        email = self.identities[identity].get("email")
        if not email:
            raise click.ClickException(f"CloudRunIdentity {identity} has no account yet")
        return str(email)

    def identity_of(self, email: str) -> str:
        """Return the CloudRunIdentity of an account as NAMESPACE/NAME; empty if none has it."""
        found = (name for name, status in self.identities.items() if status.get("email") == email)
        return next(found, "")


async def read_cluster(client: KubeClient) -> ClusterFacts:
    """Return the state of the cluster. Raises KubeError."""
    ledgers, invalid = [], []
    for raw in await client.list(resource(PolicyLedger.__name__)):
        try:
            ledgers.append(from_object(raw))
        except LedgerInvalid as error:
            invalid.append(str(error))
    identities = await client.list(resource(CloudRunIdentity.__name__))
    projects = await client.list(resource(ManagedProject.__name__))
    return ClusterFacts(
        tuple(ledgers),
        tuple(invalid),
        {
            f"{raw['metadata']['namespace']}/{raw['metadata']['name']}": raw.get("status") or {}
            for raw in identities
        },
        {
            str(raw["spec"].get("projectID", "")): tuple(raw["spec"].get("locations") or ())
            for raw in projects
        },
    )
