"""The Kubernetes API servers of the tests: the embedded one, and a real one if it is installed.

A fixture with `params=KUBE_APIS` adds the server's name to the id of every test.
"""

import asyncio
import base64
import re
import ssl
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import pytest

from cloudrun_identity.api.crd import generate
from cloudrun_identity.kube.client import connect
from cloudrun_identity.kube.crds import CrdState, installed
from cloudrun_identity.kube.resources import CUSTOM_RESOURCE_DEFINITIONS, Object
from tests.servers.embedded_kubeapi import embedded_kubeapi
from tests.servers.kube_apiserver import ASSETS_VARIABLE, assets, kube_apiserver
from tests.time_budget import time_budget

EMBEDDED = "embedded"
REAL = "kube-apiserver"
KUBE_APIS = (EMBEDDED, REAL)

_IN_NODE_ID = re.compile(rf"[\[-]({'|'.join(map(re.escape, KUBE_APIS))})[\]-]")


class KubeApi(Protocol):
    """A running API server."""

    @property
    def url(self) -> str: ...
    @property
    def kubeconfig(self) -> Path: ...
    @property
    def token(self) -> str: ...
    @property
    def operator_kubeconfig(self) -> Path: ...
    @property
    def has_rbac(self) -> bool: ...


def started(name: str, run_dir: Path) -> AbstractContextManager[KubeApi]:
    """Run the server of this name with its files in `run_dir`; skip the test if it is not installed."""
    if name == EMBEDDED:
        return embedded_kubeapi(run_dir)
    binaries = assets()
    if binaries is None:
        pytest.skip(f"no real API server: {ASSETS_VARIABLE} is not set")
    return kube_apiserver(binaries, run_dir)


def server_of(nodeid: str) -> str:
    """Return the API server that a test runs on, by the test's node id; empty if it runs on none."""
    named = _IN_NODE_ID.search(nodeid.partition("::")[2])
    return named[1] if named else ""


def described() -> str:
    """Return the names of the available servers for pytest's header."""
    binaries = assets()
    real = f"{REAL} of {binaries}" if binaries else f"no {REAL} ({ASSETS_VARIABLE} is not set)"
    return f"Kubernetes API servers: {EMBEDDED}, {real}"


def tls_context(cluster: dict[str, Any]) -> ssl.SSLContext:
    """Return a TLS context that trusts the server of a kubeconfig's `cluster` entry."""
    if cluster.get("insecure-skip-tls-verify"):
        return ssl._create_unverified_context()
    if inline := cluster.get("certificate-authority-data"):
        return ssl.create_default_context(cadata=base64.b64decode(inline).decode())
    return ssl.create_default_context(cafile=cluster["certificate-authority"])


def install_crds(kube_api: KubeApi, definitions: Iterable[Object] | None = None) -> None:
    """Install all kinds (by default their current definitions) and wait until they are served."""
    asyncio.run(_install_crds(kube_api, generate().values() if definitions is None else definitions))


async def _install_crds(kube_api: KubeApi, definitions: Iterable[Object]) -> None:
    client = await connect(str(kube_api.kubeconfig))
    try:
        for definition in definitions:
            await client.create(CUSTOM_RESOURCE_DEFINITIONS, definition)
        async with time_budget():
            while set((await installed(client)).values()) != {CrdState.ESTABLISHED}:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    finally:
        await client.close()
