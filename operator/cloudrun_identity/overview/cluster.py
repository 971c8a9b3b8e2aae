"""One read of a cluster as views: identities, states and relations between objects (`Cluster`)."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from cloudrun_identity.api import (
    CloudRunIdentity,
    CustomRole,
    IAMBinding,
    IdentityAttachment,
    IdentityKey,
    ManagedProject,
    ProjectScopedResource,
)

from .cluster_objects import ClusterObjects
from .cluster_status import ClusterStatus, ObjectStatus, status_of
from .identities import Node, nodes_of
from .risk import Risk, by_severity

ObjectName = tuple[str, str, str]
"""Kind, namespace and name of an object."""


@dataclass(frozen=True)
class Cluster:
    """Views of the objects of one read. Each is computed when it is first used."""

    objects: ClusterObjects
    """The objects."""
    now: datetime
    """Time of the read."""

    @cached_property
    def status(self) -> ClusterStatus:
        """State of every object, the most urgent first."""
        return status_of(self.objects.raw, self.now, self.objects.parser.parse)

    @cached_property
    def states(self) -> dict[ObjectName, ObjectStatus]:
        """State by object."""
        return {(each.kind, each.namespace, each.name): each for each in self.status.objects}

    @cached_property
    def projects(self) -> tuple[ManagedProject, ...]:
        """All valid ManagedProjects, by name."""
        return tuple(sorted(self.objects.of(ManagedProject), key=lambda each: each.metadata.name))

    @cached_property
    def identities(self) -> dict[str, CloudRunIdentity]:
        """All valid CloudRunIdentities, by NAMESPACE/NAME."""
        return {
            f"{each.metadata.namespace}/{each.metadata.name}": each
            for each in self.objects.of(CloudRunIdentity)
        }

    @cached_property
    def nodes(self) -> dict[str, Node]:
        """Every identity with its workloads, users and grants, by NAMESPACE/NAME."""
        found = nodes_of(self.identities.values(), self.objects.of(IAMBinding), self.objects.of(CustomRole))
        return {node.key: node for node in found}

    @cached_property
    def keys(self) -> dict[str, list[IdentityKey]]:
        """The IdentityKeys of each identity."""
        found: defaultdict[str, list[IdentityKey]] = defaultdict(list)
        for key in self.objects.of(IdentityKey):
            found[f"{key.metadata.namespace}/{key.spec.identity_ref.name}"].append(key)
        return found

    @cached_property
    def attachments(self) -> dict[str, list[IdentityAttachment]]:
        """The IdentityAttachments of each identity."""
        found: defaultdict[str, list[IdentityAttachment]] = defaultdict(list)
        for attachment in self.objects.of(IdentityAttachment):
            if ref := attachment.spec.identity_ref:
                found[f"{ref.namespace or attachment.metadata.namespace}/{ref.name}"].append(attachment)
        return found

    @cached_property
    def identities_of(self) -> dict[ObjectName, list[str]]:
        """The identities that each object is about, as NAMESPACE/NAME."""
        found: defaultdict[ObjectName, list[str]] = defaultdict(list)
        for key in self.nodes:
            for obj in self.about(key):
                found[obj.kind, obj.metadata.namespace, obj.metadata.name].append(key)
        return found

    def about(self, key: str) -> Iterator[ProjectScopedResource]:
        """Yield an identity, its attachments and keys, and the bindings that grant it, or on it, a role."""
        yield self.identities[key]
        yield from self.attachments.get(key, ())
        yield from self.keys.get(key, ())
        node = self.nodes[key]
        declarers = {each.declared_by for each in node.actors} | {each.declared_by for each in node.permits}
        yield from (self._bindings[name] for name in sorted(declarers & self._bindings.keys()))

    def risks_of(self, key: str) -> tuple[Risk, ...]:
        """Return the risks of an identity, the most severe first, without the usual one: deployment."""
        node, identity = self.nodes[key], self.identities[key]
        risks = {each.risk for each in node.actors} | {each.risk for each in node.permits}
        risks.discard(Risk.DEPLOY)
        if node.public_runs:
            risks.add(Risk.PUBLIC)
        if self.keys.get(key) or identity.status.unmanaged_keys:
            risks.add(Risk.KEYS)
        return by_severity(risks)

    @cached_property
    def _bindings(self) -> dict[str, IAMBinding]:
        return {
            f"{each.kind} {each.metadata.namespace}/{each.metadata.name}": each
            for each in self.objects.of(IAMBinding)
        }
