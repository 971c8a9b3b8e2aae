"""API servers that a test kills, freezes and restarts (`InterruptibleKubeApi`), with a proxy before them.

They keep their state, their port and their credentials, as in a cluster. The operator connects through the
proxy, the test does not.
"""

import shutil
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml

from tests.servers.kube_apis import EMBEDDED
from tests.servers.kube_apiserver import (
    ASSETS_VARIABLE,
    OPERATOR_TOKEN,
    TOKEN,
    apiserver_command,
    assets,
    etcd_command,
    free_ports,
    process,
    wait_until_ready,
    write_kubeconfig,
)
from tests.servers.proxy import Proxy


class InterruptibleKubeApi(ABC):
    """An API server as a process. Implements `kube_apis.KubeApi`; `operator_kubeconfig` names the proxy."""

    def __init__(self, run_dir: Path, port: int) -> None:
        run_dir.mkdir(parents=True, exist_ok=True)
        self.url = f"https://127.0.0.1:{port}"
        self.kubeconfig = run_dir / "kubeconfig"
        self.operator_kubeconfig = run_dir / "operator.kubeconfig"
        self.proxy = Proxy(port)
        self._run_dir = run_dir
        self._port = port
        self._log = run_dir / "apiserver.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def has_rbac(self) -> bool:
        """True if the operator needs roles."""

    @property
    @abstractmethod
    def token(self) -> str:
        """Token of the administrator."""

    @property
    @abstractmethod
    def _storage(self) -> Path:
        """File or directory of the stored objects."""

    @abstractmethod
    def _command(self) -> list[str]:
        """Return the command that starts the server."""

    @property
    def proxy_url(self) -> str:
        return f"https://127.0.0.1:{self.proxy.port}"

    def start(self) -> None:
        """Start the server and wait until it is ready."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(self._command(), stdout=output, stderr=subprocess.STDOUT)
        wait_until_ready(self.url, self._process, self._log)

    def end(self, number: signal.Signals) -> None:
        """End the server with SIGTERM or SIGKILL."""
        assert self._process
        self._process.send_signal(number)
        self._process.wait()

    def freeze(self) -> None:
        """Stop the server with SIGSTOP: its connections stay open and nothing answers."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue the server."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def back_up(self) -> None:
        """Copy the stored objects. The server restarts for it."""
        self.end(signal.SIGTERM)
        self._copy_storage(self._storage, self._backup)
        self.start()

    def restore(self) -> None:
        """Go back to the copy, as when a backup of etcd is restored: versions are lower than before."""
        self.end(signal.SIGKILL)
        self._copy_storage(self._backup, self._storage)
        self.start()

    def _copy_storage(self, source: Path, target: Path) -> None:
        _copy(source, target)

    @property
    def _backup(self) -> Path:
        return self._run_dir / "backup"

    def close(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self.proxy.close()


class EmbeddedProcess(InterruptibleKubeApi):
    """The playground's server."""

    def start(self) -> None:
        super().start()
        text = self.kubeconfig.read_text().replace(self.url, self.proxy_url)
        self.operator_kubeconfig.write_text(text)

    @property
    def has_rbac(self) -> bool:
        return False

    @property
    def token(self) -> str:
        user = yaml.safe_load(self.kubeconfig.read_text())["users"][0]["user"]
        return str(user["token"])

    @property
    def _storage(self) -> Path:
        return self._run_dir / "data"

    def _command(self) -> list[str]:
        arguments = ["kubeapi", f"--port={self._port}", f"--kubeconfig={self.kubeconfig}"]
        return [sys.executable, "-m", "cloudrun_identity", *arguments, f"--data={self._storage}"]


class RealProcess(InterruptibleKubeApi):
    """kube-apiserver. Its etcd runs on, unless the storage is copied."""

    def __init__(self, binaries: Path, run_dir: Path, port: int, etcd_port: int, peer_port: int) -> None:
        super().__init__(run_dir, port)
        self._binaries = binaries
        self._etcd_port = etcd_port
        self._etcd_command = etcd_command(binaries, run_dir, etcd_port, peer_port)
        self._etcd = ExitStack()
        self._start_etcd()
        write_kubeconfig(self.kubeconfig, self.url, TOKEN)
        write_kubeconfig(self.operator_kubeconfig, self.proxy_url, OPERATOR_TOKEN)

    @property
    def has_rbac(self) -> bool:
        return True

    @property
    def token(self) -> str:
        return TOKEN

    def _copy_storage(self, source: Path, target: Path) -> None:
        self._etcd.close()
        super()._copy_storage(source, target)
        self._start_etcd()

    def close(self) -> None:
        super().close()
        self._etcd.close()

    def _start_etcd(self) -> None:
        self._etcd.enter_context(process(self._etcd_command, self._run_dir / "etcd.log"))

    @property
    def _storage(self) -> Path:
        return self._run_dir / "etcd"

    def _command(self) -> list[str]:
        return apiserver_command(self._binaries, self._run_dir, self._etcd_port, self._port)


@contextmanager
def interruptible(name: str, run_dir: Path) -> Iterator[InterruptibleKubeApi]:
    """Run the server of this name until the block ends; skip the test if it is not installed."""
    run_dir.mkdir(parents=True, exist_ok=True)
    kube_api: InterruptibleKubeApi
    with ExitStack() as stack:
        if name == EMBEDDED:
            kube_api = EmbeddedProcess(run_dir, *free_ports(1))
        else:
            binaries = assets()
            if binaries is None:
                pytest.skip(f"no real API server: {ASSETS_VARIABLE} is not set")
            kube_api = RealProcess(binaries, run_dir, *free_ports(3))
        stack.callback(kube_api.close)
        kube_api.start()
        yield kube_api


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)
