"""A real kube-apiserver with etcd, as processes on loopback.

`KUBEBUILDER_ASSETS` names the directory of the binaries, as in controller-runtime's envtest.
"""

import base64
import json
import os
import random
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cloudrun_identity.api import GROUP, KINDS
from tests.time_budget import POLL_EVERY, TimeBudget

ASSETS_VARIABLE = "KUBEBUILDER_ASSETS"
READY_WITHIN = 240.0
"""Time budget of a start. It takes a second, and longer when each worker of a run starts one at once."""
ANSWERS_WITHIN = 2.0
"""Seconds for one probe, which is repeated."""
ENDS_WITHIN = 60.0
"""Seconds after which a server is killed at the end of the tests."""
TOKEN = "admintoken"
OPERATOR = "system:serviceaccount:cloudrun-identity:cloudrun-identity"
"""User with the roles of the chart, for the release and namespace `cloudrun-identity`."""
OPERATOR_TOKEN = "operatortoken"


@dataclass(frozen=True)
class KubeApiServer:
    """A running server: its address, the kubeconfig of its administrator, and that user's token.

    `operator_kubeconfig` is that of `OPERATOR`, which has no permissions until a test grants them.
    """

    url: str
    kubeconfig: Path
    token: str
    operator_kubeconfig: Path
    etcd_url: str

    @property
    def has_rbac(self) -> bool:
        """True: the operator needs the roles of the chart."""
        return True

    def remove(self, kind: str, namespace: str, name: str) -> None:
        """Remove a custom resource from etcd, whatever finalizers it has."""
        key = f"/registry/{GROUP}/{KINDS[kind].plural}/{namespace}/{name}"
        body = json.dumps({"key": base64.b64encode(key.encode()).decode()}).encode()
        request = urllib.request.Request(f"{self.etcd_url}/v3/kv/deleterange", body)
        with urllib.request.urlopen(request, timeout=ANSWERS_WITHIN) as response:
            assert json.load(response)["deleted"] == "1"


def assets() -> Path | None:
    """Return the directory with kube-apiserver and etcd, or None if none is set."""
    named = os.environ.get(ASSETS_VARIABLE)
    if not named:
        return None
    directory = Path(named)
    missing = [name for name in ("etcd", "kube-apiserver") if not (directory / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{ASSETS_VARIABLE}={named}: no {' and no '.join(missing)} there")
    return directory


@contextmanager
def kube_apiserver(binaries: Path, run_dir: Path) -> Iterator[KubeApiServer]:
    """Run etcd and kube-apiserver with their files in `run_dir` until the block ends.

    Raises RuntimeError with the end of the log if a process ends or is not ready in time.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    etcd_port, peer_port, api_port = free_ports(3)
    url = f"https://127.0.0.1:{api_port}"
    with ExitStack() as stack:
        stack.enter_context(
            process(etcd_command(binaries, run_dir, etcd_port, peer_port), run_dir / "etcd.log")
        )
        log = run_dir / "apiserver.log"
        command = apiserver_command(binaries, run_dir, etcd_port, api_port)
        server = stack.enter_context(process(command, log))
        wait_until_ready(url, server, log)
        admin = write_kubeconfig(run_dir / "kubeconfig", url, TOKEN)
        operator = write_kubeconfig(run_dir / "operator.kubeconfig", url, OPERATOR_TOKEN)
        yield KubeApiServer(url, admin, TOKEN, operator, f"http://127.0.0.1:{etcd_port}")


def free_ports(count: int) -> list[int]:
    """Return free ports below the range from which the kernel takes ports for outgoing connections.

    A port of that range may be taken by a connection before the server listens on it.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(*_PORTS)
        with socket.socket() as probe:
            if port not in ports and probe.connect_ex(("127.0.0.1", port)) != 0:
                ports.append(port)
    return ports


_PORTS = (20_000, 32_000)


def etcd_command(binaries: Path, run_dir: Path, port: int, peer_port: int) -> list[str]:
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
    return [
        str(binaries / "etcd"),
        f"--data-dir={run_dir / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
    ]


def apiserver_command(binaries: Path, run_dir: Path, etcd_port: int, port: int) -> list[str]:
    key = _write_service_account_key(run_dir / "service-account.key")
    tokens = run_dir / "tokens.csv"
    tokens.write_text(
        f'{TOKEN},admin,admin-uid,"system:masters"\n'
        f'{OPERATOR_TOKEN},{OPERATOR},operator-uid,"system:serviceaccounts"\n'
    )
    return [
        str(binaries / "kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        f"--cert-dir={run_dir / 'certs'}",
        f"--secure-port={port}",
        "--bind-address=127.0.0.1",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--token-auth-file={tokens}",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.0.0.0/24",
    ]


def _write_service_account_key(path: Path) -> Path:
    if path.exists():  # after a restart, tokens that were issued before must remain valid
        return path
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    return path


@contextmanager
def process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    budget = TimeBudget(READY_WITHIN)
    while not _is_ready(url):
        if process.poll() is not None or budget.is_spent():
            ending = log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"kube-apiserver is not ready at {url}; its log ends:\n{ending}")
        time.sleep(POLL_EVERY)


def _is_ready(url: str) -> bool:
    # The server creates its own certificate at its start.
    unverified = ssl._create_unverified_context()
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=ANSWERS_WITHIN, context=unverified) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def write_kubeconfig(path: Path, url: str, token: str) -> Path:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": url, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "user", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "user"}}],
        "current-context": "test",
    }
    path.write_text(yaml.safe_dump(config))
    return path
