"""Google Cloud for commands that only look: clients that refuse to write, and errors in one line."""

import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cloudrun_identity.gcp.clients import GoogleClients

GOOGLE_ENDPOINT = click.option(
    "--google-endpoint",
    metavar="HOST:PORT",
    help="An emulator to use instead of Google Cloud: plaintext, no credentials.",
)


@asynccontextmanager
async def google_clients(endpoint: str | None) -> AsyncIterator["GoogleClients"]:
    """Clients with which nothing can be written, until the block ends; raises CredentialsError."""
    from cloudrun_identity.gcp.clients import GoogleClients

    clients = GoogleClients(endpoint, _Unobserved(), may_write=lambda: False)
    try:
        await clients.check_credentials()
        yield clients
    finally:
        await clients.close()


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Say in one line what keeps a command from reading Google Cloud."""
    # gRPC's core reads this as it is loaded, and would tell of its connections beside the one line.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from cloudrun_identity.gcp.errors import CredentialsError, GoogleError, one_line

    try:
        yield
    except CredentialsError as error:
        raise click.ClickException(str(error)) from None
    except GoogleError as error:
        raise click.ClickException(f"{error.method.rpartition('.')[2]}: {error.message}") from None
    except Exception as error:  # a bug, and still no traceback for the user
        logging.getLogger(__name__).debug("unexpected", exc_info=error)
        raise click.ClickException(f"unexpected {type(error).__name__}: {one_line(str(error))}") from None


class _Unobserved:
    """No metrics are kept of a command that ends."""

    def observed(self, method: str, code: str, seconds: float) -> None:
        """Note nothing."""
