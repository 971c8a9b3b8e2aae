"""RSA key pairs, X.509 certificates and signatures of service account keys."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

FOREVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""End of a key without expiry."""


@dataclass(frozen=True)
class Certificate:
    """An RSA public key in an X.509 certificate (PEM), with its validity."""

    pem: bytes
    public: rsa.RSAPublicKey
    not_before: datetime
    not_after: datetime

    @classmethod
    def parse(cls, pem: bytes) -> Self:
        """Parse a certificate.

        Raises ValueError: It is not a PEM certificate, or its key is not RSA.
        """
        parsed = x509.load_pem_x509_certificate(pem)
        public = parsed.public_key()
        if not isinstance(public, rsa.RSAPublicKey):
            raise ValueError("the key is not of RSA")
        return cls(pem, public, parsed.not_valid_before_utc, parsed.not_valid_after_utc)

    @property
    def public_pem(self) -> bytes:
        """Return the public key as PEM."""
        return self.public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def is_signature(self, signature: bytes, content: bytes) -> bool:
        """Return whether `signature` (RS256) of `content` was made with the private half."""
        try:
            self.public.verify(signature, content, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class KeyPair:
    """A key pair with its id."""

    id: str
    private: rsa.RSAPrivateKey
    certificate: Certificate

    @classmethod
    def new(cls, subject: str, now: float, not_after: datetime = FOREVER) -> Self:
        """Create a pair with a certificate for `subject`, valid from `now` (seconds since the epoch)."""
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)])
        not_before = datetime.fromtimestamp(int(now), UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before)
            .not_valid_after(not_after)
            .sign(private, hashes.SHA256())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        return cls(
            secrets.token_hex(20), private, Certificate(pem, private.public_key(), not_before, not_after)
        )

    @property
    def private_pem(self) -> str:
        """Return the private half as PEM."""
        return self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    def sign(self, content: bytes) -> bytes:
        """Sign `content` (RS256)."""
        return self.private.sign(content, padding.PKCS1v15(), hashes.SHA256())

    def sign_jwt(self, claims: Mapping[str, Any]) -> str:
        """Return a JWT with `claims`."""
        header = {"alg": "RS256", "kid": self.id, "typ": "JWT"}
        signed = ".".join(_encoded(json.dumps(part).encode()) for part in (header, claims))
        return f"{signed}.{_encoded(self.sign(signed.encode()))}"


@dataclass(frozen=True)
class Jwt:
    """A JWT that is not verified yet."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes

    @classmethod
    def parse(cls, token: str) -> Self:
        """Parse a token.

        Raises ValueError: It is not a JWT.
        """
        signed, _, signature = token.rpartition(".")
        header, claims = (json.loads(_decoded(part)) for part in signed.split("."))
        if not isinstance(header, dict) or not isinstance(claims, dict):
            raise ValueError("header and claims are no objects")
        return cls(header, claims, signed.encode(), _decoded(signature))


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
