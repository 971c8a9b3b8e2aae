"""Permissions of the operator in the cluster, and reviews of the permissions of the present user."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from cloudrun_identity.api import KINDS, PolicyLedger
from cloudrun_identity.api.group import GROUP

from .lease import NAME as LEASE
from .resources import (
    CUSTOM_RESOURCE_DEFINITIONS,
    EVENTS,
    LEASES,
    NAMESPACES,
    SECRETS,
    ObjectClient,
    Resource,
)

ACCESS_REVIEWS = Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews", namespaced=False)


@dataclass(frozen=True, slots=True)
class Access:
    """Permission to use a verb on a resource."""

    group: str
    """API group; empty for the core group."""
    resource: str
    """Plural name, with the subresource if any: `iambindings/status`."""
    verb: str
    """Verb, such as `patch`."""
    name: str = ""
    """Name of the only object that the permission is for; empty for all objects."""

    def __str__(self) -> str:
        resource = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.verb} {resource}" + (f" {self.name}" if self.name else "")


def _all(group: str, resource: str, verbs: str) -> tuple[Access, ...]:
    return tuple(Access(group, resource, verb) for verb in verbs.split())


_LEDGERS = PolicyLedger.plural
_RECONCILED = [kind.plural for kind in KINDS.values() if kind is not PolicyLedger]

CLUSTER = (
    *(access for plural in _RECONCILED for access in _all(GROUP, plural, "get list watch patch")),
    *(access for plural in _RECONCILED for access in _all(GROUP, f"{plural}/status", "patch")),
    *_all(GROUP, _LEDGERS, "get list watch"),
    *_all("", NAMESPACES.plural, "get list watch"),
    Access(LEASES.group, LEASES.plural, "get", LEASE),
    *_all("", EVENTS.plural, "create patch"),
    *_all(CUSTOM_RESOURCE_DEFINITIONS.group, CUSTOM_RESOURCE_DEFINITIONS.plural, "get"),
)
"""Permissions that the operator needs in all namespaces: the ClusterRole of the chart."""

OPERATOR_NAMESPACE = (
    *_all(LEASES.group, LEASES.plural, "get list watch create update"),
    *_all(GROUP, _LEDGERS, "get list watch create update delete"),
)
"""Permissions that the operator needs in its own namespace: the Role of the chart."""

KEYS = _all("", SECRETS.plural, "get create patch delete")
"""Permissions that the operator needs in namespaces with IdentityKeys."""

INSTALLATION = (
    *_all(CUSTOM_RESOURCE_DEFINITIONS.group, CUSTOM_RESOURCE_DEFINITIONS.plural, "create"),
    *_all("rbac.authorization.k8s.io", "clusterroles", "create escalate"),
    *_all("rbac.authorization.k8s.io", "clusterrolebindings", "create"),
)
"""Permissions that a user needs in all namespaces to install the chart."""

INSTALLATION_NAMESPACE = (
    *_all("apps", "deployments", "create"),
    *_all("", "serviceaccounts", "create"),
    *_all("rbac.authorization.k8s.io", "roles", "create"),
    *_all("rbac.authorization.k8s.io", "rolebindings", "create"),
)
"""Permissions that a user needs in the operator's namespace to install the chart."""


async def denied(client: ObjectClient, accesses: Iterable[Access], namespace: str = "") -> list[Access]:
    """Return the permissions that the present user lacks in a namespace, or in all namespaces.

    Raises:
        KubeError: The API server cannot review permissions.

    """
    asked = list(accesses)
    allowed = await asyncio.gather(*(_is_allowed(client, access, namespace) for access in asked))
    return [access for access, is_allowed in zip(asked, allowed, strict=True) if not is_allowed]


async def _is_allowed(client: ObjectClient, access: Access, namespace: str) -> bool:
    resource, _, subresource = access.resource.partition("/")
    attributes = {
        "group": access.group,
        "resource": resource,
        "subresource": subresource,
        "verb": access.verb,
        "name": access.name,
        "namespace": namespace,
    }
    review = {
        "apiVersion": ACCESS_REVIEWS.api_version,
        "kind": "SelfSubjectAccessReview",
        "metadata": {},
        "spec": {"resourceAttributes": attributes},
    }
    reply = await client.create(ACCESS_REVIEWS, review)
    return bool(reply["status"]["allowed"])
