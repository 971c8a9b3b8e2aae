"""Access to Google Cloud for commands: options, read-only clients, and errors of one line."""

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
    """Add the options `--google-endpoint` and `--google-token-file`."""
    return _ENDPOINT(_TOKEN_FILE(command))


@asynccontextmanager
async def google_clients(endpoint: str | None, token_file: Path | None) -> AsyncIterator["GoogleClients"]:
    """Open read-only clients for the block. Raises CredentialsError."""
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
    """Turn errors of Google Cloud into command errors of one line."""
    quiet_grpc()
    from cloudrun_identity.gcp.errors import CredentialsError, GoogleError
    from cloudrun_identity.reconcile.advice import advised

    try:
        yield
    except CredentialsError as error:
        raise click.ClickException(str(error)) from None
    except GoogleError as error:
        called = " ".join(filter(None, (error.method.rpartition(".")[2], error.resource)))
        raise click.ClickException(f"{called}: {advised(error)}") from None


def quiet_grpc() -> None:
    """Silence the log of gRPC's core about connections. It reads the variable when it is imported."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


class _Unobserved:
    """Ignores calls, because a command exports no metrics."""

    def observed(self, method: str, code: str, seconds: float) -> None:
        """Ignore the call."""


def _requires_endpoint(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    if value and not ctx.params["google_endpoint"]:
        raise click.BadParameter(
            "requires --google-endpoint, an emulator; Google Cloud uses Application Default Credentials",
            ctx,
            param,
        )
    return value


_ENDPOINT = click.option(
    "--google-endpoint",
    metavar="HOST:PORT[/REST_PORT]",
    is_eager=True,  # the callback of the other option reads it
    help="Emulator to use instead of Google Cloud: plaintext, no credentials.",
)
_TOKEN_FILE = click.option(
    "--google-token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_requires_endpoint,
    help="File with the bearer token for --google-endpoint. [default: no token]",
)
