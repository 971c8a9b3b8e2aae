"""The production configuration of the operator: TLS, bearer tokens of a key, Google's host names.

The environment of the process has what any user can set: a proxy, which leads every host to the emulator, a
file of certificate authorities, and a credentials file.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio

from cloudrun_identity_playground.emulator import Emulator, Seed
from tests.time_budget import time_budget

from .clients import Clients
from .test_control import self_signed

EMAIL = "operator@shop.iam.gserviceaccount.com"
HOST = "cloudresourcemanager.googleapis.com"
SEED = Seed.model_validate(
    {
        "projects": [
            {
                "projectID": "shop",
                "serviceAccounts": [{"accountID": "operator"}],
                "policy": [{"role": "roles/browser", "members": [f"serviceAccount:{EMAIL}"]}],
            }
        ],
        "withoutToken": "nobody",
    }
)
PROGRAM = """
import asyncio
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.projects import Projects

class NoObserver:
    def observed(self, *call): pass

async def main():
    clients = GoogleClients(None, NoObserver())
    await clients.check_credentials()
    print(clients.identity, (await Projects(clients).get("shop")).number)
    await clients.close()

asyncio.run(main())
"""


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65536):
        writer.write(chunk)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def proxy(address: str, asked: list[str]) -> AsyncIterator[str]:
    """Run a proxy that leads every host to `address` and records the requested hosts."""

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.split()[1].decode())
        host, _, port = address.rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer), return_exceptions=True)

    server = await asyncio.start_server(tunnel, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_operator_calls_over_tls_as_the_account_of_its_key(tmp_path: Path) -> None:
    certificate, key = self_signed(HOST)
    authorities, credentials = tmp_path / "authorities.pem", tmp_path / "key.json"
    authorities.write_bytes(certificate)
    asked: list[str] = []
    async with Emulator(
        seed=SEED, rest_port=0, credentials=grpc.ssl_server_credentials([(key, certificate)])
    ) as emulator:
        credentials.write_bytes(await _key_of_the_operator(emulator, certificate))
        async with proxy(emulator.grpc_address, asked) as address:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", PROGRAM),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=os.environ
                | {
                    "https_proxy": address,
                    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(authorities),
                    "GOOGLE_APPLICATION_CREDENTIALS": str(credentials),
                },
            )
            async with time_budget():
                output, errors = await process.communicate()

        [project] = emulator.cloud.registry
        assert output.decode().split() == [EMAIL, project.number], errors.decode()
        assert asked == [f"{HOST}:443"]
        assert emulator.calls.log[-1].caller == EMAIL


async def _key_of_the_operator(emulator: Emulator, certificate: bytes) -> bytes:
    trust = grpc.ssl_channel_credentials(certificate)
    options = [("grpc.ssl_target_name_override", HOST)]
    async with grpc.aio.secure_channel(emulator.grpc_address, trust, options=options) as channel:
        created = await Clients(channel).iam.create_service_account_key(
            name=f"projects/shop/serviceAccounts/{EMAIL}", metadata=[("authorization", "Bearer admin")]
        )
    return created.private_key_data
