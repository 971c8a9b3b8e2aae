"""A few RSA keys for all keys of service accounts, the same in every process.

To generate a key takes longer than a history may, and cannot be seeded.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from cryptography.hazmat.primitives.asymmetric import rsa

_EXPONENTS = (521, 607, 1279)
"""Exponents of Mersenne primes: those of 2 raised to them, less 1."""
_PUBLIC_EXPONENT = 65537


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
    primes = (2**exponent - 1 for exponent in _EXPONENTS)
    return tuple(itertools.starmap(_key, itertools.combinations(primes, 2)))


def _key(p: int, q: int) -> rsa.RSAPrivateKey:
    """Return the key of two primes."""
    d = pow(_PUBLIC_EXPONENT, -1, (p - 1) * (q - 1))
    return rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=rsa.rsa_crt_dmp1(d, p),
        dmq1=rsa.rsa_crt_dmq1(d, q),
        iqmp=rsa.rsa_crt_iqmp(p, q),
        public_numbers=rsa.RSAPublicNumbers(_PUBLIC_EXPONENT, p * q),
    ).private_key()
