"""Checks of the cluster: the API server, the CRDs, the permissions of the present user, and the leader."""

import asyncio
import re
from collections.abc import Iterable

from cloudrun_identity.api import KINDS, VERSION
from cloudrun_identity.kube.access import (
    CLUSTER,
    INSTALLATION,
    INSTALLATION_NAMESPACE,
    KEYS,
    OPERATOR_NAMESPACE,
    Access,
    denied,
)
from cloudrun_identity.kube.client import KubeClient
from cloudrun_identity.kube.crds import INSTALL, CrdState, CrdsUnsuitable, check_compatible, installed
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.lease import NAME
from cloudrun_identity.kube.resources import LEASES, Object

from .check_results import Result, failed, passed, skipped

OLDEST = (1, 30)
"""The oldest version of Kubernetes that the operator supports, as in the chart's kubeVersion."""

POLL_INTERVAL = 0.5
"""Seconds between two looks at the Lease."""

API_SERVER, CRDS, RBAC, LEADER = "API server", "CRDs", "RBAC", "Leader"


async def check_installed(
    client: KubeClient, namespace: str, key_namespaces: Iterable[str]
) -> tuple[Result, ...]:
    """Return the results for an installation in the operator's namespace.

    `key_namespaces` are the namespaces with IdentityKeys.
    """
    return tuple(
        await asyncio.gather(
            check_version(client),
            check_crds(client),
            check_access(client, namespace, key_namespaces),
            check_leader(client, namespace),
        )
    )


async def check_before(client: KubeClient, namespace: str) -> tuple[Result, ...]:
    """Return the results before the installation: the API server, and who may install the chart."""
    return tuple(await asyncio.gather(check_version(client), check_installation_access(client, namespace)))


async def check_version(client: KubeClient) -> Result:
    """Check that the API server is new enough."""
    try:
        version = await client.version()
    except KubeError as error:
        return failed(API_SERVER, f"{client.server}: {error}")
    numbers = tuple(int(re.sub(r"\D.*", "", version[part]) or 0) for part in ("major", "minor"))
    found = f"{version['gitVersion']} at {client.server}"
    if numbers < OLDEST:
        return failed(API_SERVER, f"{found} is too old: upgrade it to {OLDEST[0]}.{OLDEST[1]} or newer")
    return passed(API_SERVER, found)


async def check_crds(client: KubeClient) -> Result:
    """Check that all CRDs are served, with the fields of this version."""
    try:
        await check_compatible(client)
        states = await installed(client)
    except CrdsUnsuitable as error:
        return failed(CRDS, str(error).rpartition(": run")[0] or str(error), INSTALL)
    except KubeError as error:
        return failed(CRDS, f"cannot be read: {error}")
    unserved = [kind for kind, state in states.items() if state is not CrdState.ESTABLISHED]
    if unserved:
        return failed(CRDS, f"not served: {', '.join(unserved)}", INSTALL)
    return passed(CRDS, f"{len(KINDS)} kinds are served as {VERSION}, with all fields of this version")


async def check_access(client: KubeClient, namespace: str, key_namespaces: Iterable[str]) -> Result:
    """Check that the present user has the permissions of the operator."""
    try:
        lacking = _described(await denied(client, CLUSTER), "all namespaces")
        lacking += _described(await denied(client, OPERATOR_NAMESPACE, namespace), f"namespace {namespace}")
        closed = {each: await denied(client, KEYS, each) for each in sorted(key_namespaces)}
    except KubeError as error:
        return skipped(RBAC, f"the API server does not review permissions: {error}")
    without_keys = [each for each, found in closed.items() if found]
    for each in without_keys:
        lacking += _described(closed[each], f"namespace {each}")
    if not lacking:
        return passed(RBAC, "the present user has all permissions of the operator")
    upgrade = f"helm upgrade cloudrun-identity … --namespace {namespace} --reset-then-reuse-values"
    remedy = [
        "# To check the operator instead of the present user: "
        f"kubectl exec --namespace {namespace} deployment/cloudrun-identity -- cloudrun-identity check",
        f"{upgrade} --set rbac.create=true",
    ]
    if without_keys:
        names = ",".join(without_keys)
        remedy.append(f"{upgrade} --set keys.enabled=true --set keys.namespaces='{{{names}}}'")
    return failed(RBAC, f"the present user may not {'; '.join(lacking)}", *remedy)


async def check_installation_access(client: KubeClient, namespace: str) -> Result:
    """Check that the present user may install the chart."""
    try:
        lacking = _described(await denied(client, INSTALLATION), "all namespaces")
        missing = await denied(client, INSTALLATION_NAMESPACE, namespace)
    except KubeError as error:
        return skipped(RBAC, f"the API server does not review permissions: {error}")
    lacking += _described(missing, f"namespace {namespace}")
    if lacking:
        return failed(RBAC, f"the present user may not {'; '.join(lacking)}: install as a cluster-admin")
    return passed(RBAC, "the present user may install the chart")


async def check_leader(client: KubeClient, namespace: str) -> Result:
    """Check that a replica holds the Lease and renews it.

    The clocks of two machines are not compared: the check waits for a renewal.
    """
    logs = f"kubectl logs --namespace {namespace} --selector app.kubernetes.io/name=cloudrun-identity"
    try:
        first = await client.get(LEASES, NAME, namespace)
        holder = _spec(first).get("holderIdentity")
        if not holder:
            return failed(LEADER, f"no replica holds Lease {namespace}/{NAME}", logs)
        duration = _spec(first).get("leaseDurationSeconds", 15)
        async with asyncio.timeout(duration):
            while True:
                await asyncio.sleep(POLL_INTERVAL)
                lease = await client.get(LEASES, NAME, namespace)
                if _spec(lease) != _spec(first):
                    break
    except TimeoutError:
        return failed(LEADER, f"{holder} did not renew Lease {namespace}/{NAME} within {duration} s", logs)
    except KubeError as error:
        if error.is_not_found:
            message = f"Lease {namespace}/{NAME} does not exist: no operator has run in this namespace"
            return failed(LEADER, message, "kubectl get leases --all-namespaces")
        return failed(LEADER, f"Lease {namespace}/{NAME} cannot be read: {error}")
    holder = _spec(lease).get("holderIdentity")
    return passed(LEADER, f"{holder} holds and renews Lease {namespace}/{NAME}")


def _spec(lease: Object) -> Object:
    return dict(lease.get("spec") or {})


def _described(accesses: Iterable[Access], where: str) -> list[str]:
    """Return one text for all accesses in one place."""
    names = ", ".join(map(str, accesses))
    return [f"{names} in {where}"] if names else []
