"""Self-signed certificates, created at each start."""

import datetime as dt
import ipaddress
import ssl
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID = dt.timedelta(days=365)
# Accept a client whose clock is a little behind.
_BACKDATED = dt.timedelta(hours=1)
_LOOPBACK = (
    x509.DNSName("localhost"),
    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    x509.IPAddress(ipaddress.ip_address("::1")),
)
_USAGE = x509.KeyUsage(
    digital_signature=True,
    key_cert_sign=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True)
class Identity:
    """Certificate and key as PEM; clients trust this certificate only."""

    certificate: bytes
    key: bytes

    def server_context(self, *protocols: str) -> ssl.SSLContext:
        """Return a TLS context with this certificate; `protocols` are those that clients can negotiate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(protocols or ["http/1.1"])
        # The ssl module reads certificates from files only; this one is readable by its owner only.
        with tempfile.NamedTemporaryFile() as chain:
            chain.write(self.key + self.certificate)
            chain.flush()
            context.load_cert_chain(Path(chain.name))
        return context


def loopback_identity() -> Identity:
    """Create a certificate for 127.0.0.1, ::1 and localhost."""
    return _self_signed("kubeapi playground", _LOOPBACK)


def google_identity() -> Identity:
    """Create a certificate for the hosts of Google's APIs."""
    names = ("*.googleapis.com", "googleapis.com")
    return _self_signed("emulator playground", [x509.DNSName(name) for name in names])


def _self_signed(common_name: str, hosts: Iterable[x509.GeneralName]) -> Identity:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    key = ec.generate_private_key(ec.SECP256R1())
    public, now = key.public_key(), dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, public, x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_USAGE, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Identity(
        certificate=certificate.public_bytes(serialization.Encoding.PEM),
        key=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
