"""Checks of the cluster by `cloudrun-identity check`."""

import asyncio
import uuid

import pytest

from cloudrun_identity.commands.check_results import State
from cloudrun_identity.commands.cluster_checks import (
    check_access,
    check_crds,
    check_installation_access,
    check_leader,
    check_version,
)
from cloudrun_identity.kube.client import KubeClient, connect
from cloudrun_identity.kube.lease import NAME, Lease
from tests.servers.chart import grant_chart_roles
from tests.servers.kube_apis import KubeApi


async def test_api_server_and_crds_pass(client: KubeClient) -> None:
    version = await check_version(client)
    assert version.state is State.PASSED
    assert client.server in version.message
    assert (await check_crds(client)).state is State.PASSED


async def test_administrator_has_all_permissions_and_may_install(client: KubeClient, namespace: str) -> None:
    assert (await check_access(client, namespace, [namespace])).state is State.PASSED
    assert (await check_installation_access(client, namespace)).state is State.PASSED


async def test_missing_permissions_are_named_with_their_namespace(server: KubeApi, namespace: str) -> None:
    if not server.has_rbac:
        pytest.skip("the embedded API server has no RBAC")
    operator = await connect(str(server.operator_kubeconfig))
    try:
        nothing = await check_access(operator, namespace, [])
        assert nothing.state is State.FAILED
        assert "patch iambindings/status.cloudrun-identity.dev" in nothing.message
        assert "create leases.coordination.k8s.io" in nothing.message
        assert f"in namespace {namespace}" in nothing.message
        refused = await check_installation_access(operator, namespace)
        assert "create clusterroles.rbac.authorization.k8s.io" in refused.message

        own = "cloudrun-identity"
        await asyncio.to_thread(grant_chart_roles, server.kubeconfig, own, [namespace])
        assert (await check_access(operator, own, [namespace])).state is State.PASSED
        other = await check_access(operator, own, [namespace, "default"])
        assert other.message.endswith("patch secrets, delete secrets in namespace default")
        assert "keys.namespaces='{default}'" in other.remedy[-1]
    finally:
        await operator.close()


async def test_leader_passes_only_while_it_renews_its_lease(client: KubeClient, namespace: str) -> None:
    absent = await check_leader(client, namespace)
    assert "no operator has run in this namespace" in absent.message

    lease = Lease(client, namespace, identity=f"pod_{uuid.uuid4()}", duration=2.0)
    await lease.acquire()
    silent = await check_leader(client, namespace)
    assert silent.state is State.FAILED
    assert f"did not renew Lease {namespace}/{NAME} within 2 s" in silent.message

    await lease.acquire()
    renewals = asyncio.create_task(lease.hold())
    try:
        assert (await check_leader(client, namespace)).state is State.PASSED
    finally:
        renewals.cancel()
    await lease.release()
    assert "no replica holds" in (await check_leader(client, namespace)).message
