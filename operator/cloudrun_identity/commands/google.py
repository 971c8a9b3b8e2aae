"""Google Cloud for commands: which one is meant, clients that refuse to write, and errors in one line."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from cloudrun_identity.gcp.clients import GoogleClients

Command = TypeVar("Command", bound=Callable[..., Any])


def google_options(command: Command) -> Command:
    """The options `--google-endpoint` and `--google-token-file`."""
    return _ENDPOINT(_TOKEN_FILE(command))


@asynccontextmanager
async def google_clients(endpoint: str | None, token_file: Path | None) -> AsyncIterator["GoogleClients"]:
    """Clients with which nothing can be written, until the block ends; raises CredentialsError."""
    from cloudrun_identity.gcp.clients import GoogleClients
    from cloudrun_identity.gcp.token_file import TokenFile

    tokens = TokenFile(token_file) if token_file else None
    clients = GoogleClients(endpoint, _Unobserved(), tokens=tokens, read_only=True)
    try:
        await clients.check_credentials()
        yield clients
    finally:
        await clients.close()


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Say in one line what keeps a command from reading Google Cloud."""
    quiet_grpc()
    from cloudrun_identity.gcp.errors import CredentialsError, GoogleError

    try:
        yield
    except CredentialsError as error:
        raise click.ClickException(str(error)) from None
    except GoogleError as error:
        called = " ".join(filter(None, (error.method.rpartition(".")[2], error.resource)))
        raise click.ClickException(f"{called}: {error.message}") from None


def quiet_grpc() -> None:
    """Keep gRPC's core from telling of its connections: errors reach us. It looks at this as it is loaded."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


class _Unobserved:
    """No metrics are kept of a command that ends."""

    def observed(self, method: str, code: str, seconds: float) -> None:
        """Note nothing."""


def _goes_with_an_endpoint(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    if value and not ctx.params["google_endpoint"]:
        raise click.BadParameter(
            "is for an emulator, with --google-endpoint; Google itself takes Application Default Credentials",
            ctx,
            param,
        )
    return value


_ENDPOINT = click.option(
    "--google-endpoint",
    metavar="HOST:PORT",
    is_eager=True,  # the other option looks at it
    help="An emulator to use instead of Google Cloud: plaintext, no credentials.",
)
_TOKEN_FILE = click.option(
    "--google-token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_goes_with_an_endpoint,
    help="File with the bearer token to send to --google-endpoint. [default: none is sent]",
)
