"""Shamir's sharing of a 32-byte secret: any ``threshold`` of the shares give it back, fewer say nothing about it.

A. Shamir, "How to share a secret", CACM 22 (1979). The secret is the value at 0 of a polynomial of degree threshold - 1
over the field of integers modulo PRIME, whose other coefficients are uniform; the share of point i is the value at i.
Every secret of 32 bytes lies below PRIME, so none is refused and none is made to wrap around. A share takes 33 bytes,
for PRIME is a little above 2^256.

Shares carry no proof. Whoever puts them together compares the result with something it knows of the secret (a digest,
a public key): one wrong share gives another secret, and nothing here notices. Python's integers take a time that
depends on their value; an onlooker who measures this process to the nanosecond is outside the model.
"""

from __future__ import annotations

from collections.abc import Mapping

from partyd.crypto.prg import Prg
from partyd.errors import BadValue, CryptoError

PRIME = 2**256 + 297
"""The smallest prime above 2^256."""
SECRET_BYTES = 32
SHARE_BYTES = 33
MOST_SHARES = 1 << 10


def split(secret: bytes, threshold: int, count: int, prg: Prg) -> dict[int, bytes]:
    """Return ``count`` shares of ``secret`` by their points 1..count; the coefficients come from ``prg``."""
    if len(secret) != SECRET_BYTES:
        raise CryptoError(f"a secret of {len(secret)} bytes cannot be shared; give {SECRET_BYTES}")
    if not 1 <= threshold <= count <= MOST_SHARES:
        raise CryptoError(f"{threshold} of {count} shares make no sharing; 1 <= threshold <= count <= {MOST_SHARES}")
    coefficients = [int.from_bytes(secret, "big"), *prg.below(PRIME, threshold - 1)]
    return {point: _value_at(point, coefficients).to_bytes(SHARE_BYTES, "big") for point in range(1, count + 1)}


def join(shares: Mapping[int, bytes], threshold: int) -> bytes:
    """Return the secret of ``shares``, of which the ``threshold`` of the lowest points are used.

    Raises BadValue for too few shares, for a point or share outside the field, and for a sum that is no secret.
    """
    if len(shares) < threshold or threshold < 1:
        raise BadValue(f"{len(shares)} shares do not open a secret that needs {max(threshold, 1)}")
    if not all(1 <= point <= MOST_SHARES for point in shares):
        raise BadValue(f"a share's point lies outside 1..{MOST_SHARES}")
    chosen = {point: _element(shares[point]) for point in sorted(shares)[:threshold]}
    secret = sum(value * _weight(point, chosen) for point, value in chosen.items()) % PRIME
    if secret >> (8 * SECRET_BYTES):
        raise BadValue("the shares give no secret of 32 bytes; one of them is wrong")
    return secret.to_bytes(SECRET_BYTES, "big")


def _value_at(point: int, coefficients: list[int]) -> int:
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * point + coefficient) % PRIME
    return value


def _weight(point: int, points: Mapping[int, int]) -> int:
    """Return Lagrange's weight of ``point`` for the value at 0."""
    over, under = 1, 1
    for other in points:
        if other != point:
            over, under = over * other % PRIME, under * (other - point) % PRIME
    return over * pow(under, -1, PRIME) % PRIME


def _element(share: bytes) -> int:
    value = int.from_bytes(share, "big")
    if len(share) != SHARE_BYTES or value >= PRIME:
        raise BadValue(f"a share is not {SHARE_BYTES} bytes of a number below the prime")
    return value
