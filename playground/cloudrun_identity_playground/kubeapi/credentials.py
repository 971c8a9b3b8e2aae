"""The certificate and the token of the server, which a data file keeps between runs.

Clients that were connected before a restart are connected again after it, as with a real API server.
"""

import datetime as dt
import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from cloudrun_identity_playground.tls import Identity, loopback_identity

from . import files
from .datafile import DataFileError

_RENEWED_BEFORE = dt.timedelta(days=30)


@dataclass(frozen=True)
class Credentials:
    """Certificate of the server, and token of its only user."""

    identity: Identity
    token: str


def created() -> Credentials:
    """Create new credentials."""
    return Credentials(loopback_identity(), secrets.token_urlsafe(32))


def kept(data: Path) -> Credentials:
    """Return the credentials in the file beside the data file. Create them if none are valid.

    Raises:
        DataFileError: The file cannot be read or written.

    """
    path = data.with_name(f"{data.name}.credentials")
    try:
        return _read(path) or _create(path)
    except OSError as error:
        raise DataFileError(f"cannot use {data}: {error.strerror}") from error


def _create(path: Path) -> Credentials:
    fresh = created()
    text = {
        "certificate": fresh.identity.certificate.decode(),
        "key": fresh.identity.key.decode(),
        "token": fresh.token,
    }
    files.replace(path, json.dumps(text).encode())
    return fresh


def _read(path: Path) -> Credentials | None:
    try:
        text = json.loads(path.read_text())
        certificate = text["certificate"].encode()
        expires = x509.load_pem_x509_certificate(certificate).not_valid_after_utc
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if expires - _RENEWED_BEFORE < dt.datetime.now(dt.UTC):
        return None
    return Credentials(Identity(certificate, text["key"].encode()), text["token"])
