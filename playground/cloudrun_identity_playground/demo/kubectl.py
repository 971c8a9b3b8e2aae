"""`kubectl get`, run by kubectl if it is installed, or rendered from the API server's Table."""

import asyncio
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kubernetes.aio.client.api_client import ApiClient

from cloudrun_identity.kube import connection, objects

from . import processes, tables
from .failure import DemoError
from .screen import Screen

NOTHING_FOUND = "No resources found"


@dataclass(frozen=True, slots=True)
class Kubectl:
    """Reads one API server; `cache` is kubectl's discovery cache."""

    kubeconfig: str
    cache: Path
    executable: str | None

    @classmethod
    def find(cls, kubeconfig: str, cache: Path) -> "Kubectl":
        """Return a reader that uses the kubectl on the PATH, if there is one."""
        return cls(kubeconfig, cache, shutil.which("kubectl"))

    async def get(self, kind: str, namespace: str = "") -> tuple[str, str]:
        """List the objects of a kind; return the command as a user types it, and its output.

        Without `namespace`, list the objects of all namespaces.
        """
        resource = objects.resource(kind)
        scope = ["-n", namespace] if namespace else ["-A"] if resource.namespaced else []
        command = " ".join(["kubectl", "get", resource.plural, *scope])
        if self.executable:
            return command, await self._run(self.executable, "get", resource.plural, *scope)
        table = await self._table(resource.path(namespace))
        return command, tables.render(table, with_namespace=scope == ["-A"]) or NOTHING_FOUND

    async def show(self, screen: Screen, kinds: Iterable[str], namespace: str = "") -> None:
        """Print the objects of each kind; skip kinds without objects."""
        for kind in kinds:
            command, output = await self.get(kind, namespace)
            if output != NOTHING_FOUND:
                screen.command(command)
                screen.verbatim(output)

    async def _run(self, *command: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *command,
            f"--kubeconfig={self.kubeconfig}",
            f"--cache-dir={self.cache}",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=processes.environment(os.environ),
        )
        output, errors = await process.communicate()
        if process.returncode:
            raise DemoError(f"{' '.join(command)} failed: {errors.decode(errors='replace').strip()}")
        return output.decode() or NOTHING_FOUND  # kubectl prints this message to stderr

    async def _table(self, path: str) -> dict[str, object]:
        configuration = await connection.load(self.kubeconfig)
        access = await connection.access(configuration)
        headers = {"Accept": tables.ACCEPT}
        if access.authorization:
            headers["Authorization"] = access.authorization
        async with ApiClient(configuration) as client:
            reply = await client.call_api("GET", f"{access.server}{path}", headers)
            table: dict[str, object] = json.loads(await reply.read())
        return table
