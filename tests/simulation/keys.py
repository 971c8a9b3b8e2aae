"""A few RSA keys for all keys of service accounts: to generate one takes longer than a history may."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from cryptography.hazmat.primitives.asymmetric import rsa

_NUMBER = 3


@contextmanager
def pooled_keys() -> Iterator[None]:
    """Take private keys from a pool, within the block."""
    generate = rsa.generate_private_key
    keys = itertools.cycle(_pool())
    rsa.generate_private_key = lambda *_, **__: next(keys)
    try:
        yield
    finally:
        rsa.generate_private_key = generate


@cache
def _pool() -> tuple[rsa.RSAPrivateKey, ...]:
    return tuple(rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(_NUMBER))
