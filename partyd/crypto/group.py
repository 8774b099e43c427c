"""A group of prime order with addition, for oblivious transfer: the large subgroup of edwards25519.

libsodium (through PyNaCl) does the arithmetic. Its multiplication without clamping refuses every encoding that is
not canonical, not on the curve, of small order, or outside the subgroup of prime order, so no bad point gets an
answer. Scalars are uniform modulo the group's order. Blinded identifiers need no addition and use ``blinding``,
which is faster.

``hash_to_point`` is a random oracle into the group: both halves of SHA-512 over the length-prefixed domain and the
data go through libsodium's Elligator 2 map, which clears the cofactor, and the two points are added (the
construction of RFC 9380, section 3, hash_to_curve, with libsodium's own field hashing: not interchangeable with the
RFC's suites).

A point is 32 bytes, a vector of points their concatenation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from nacl import bindings, exceptions

from partyd.crypto.prg import Prg
from partyd.errors import CryptoError

POINT_BYTES = 32
SCALAR_BYTES = 32
IDENTITY = b"\x01" + bytes(31)


def hash_to_point(data: bytes, domain: bytes) -> bytes:
    """Return the point that ``data`` stands for in ``domain``; nobody knows its logarithm."""
    digest = hashlib.sha512(len(domain).to_bytes(4, "big") + domain + data).digest()
    left, right = (bindings.crypto_core_ed25519_from_uniform(half) for half in (digest[:32], digest[32:]))
    return bytes(bindings.crypto_core_ed25519_add(left, right))


def random_scalar(prg: Prg) -> bytes:
    """Return a scalar uniform in 1..order-1, up to 2^-250."""
    while True:
        scalar = bytes(bindings.crypto_core_ed25519_scalar_reduce(prg.take(64)))
        if any(scalar):
            return scalar


def multiply(scalar: bytes, point: bytes) -> bytes:
    """Return scalar * point; raises CryptoError for a point that is not one of the group's, or is its identity."""
    try:
        return bytes(bindings.crypto_scalarmult_ed25519_noclamp(scalar, point))
    except (exceptions.RuntimeError, exceptions.TypeError) as error:
        raise CryptoError("a point is not a valid element of the group; refuse the sender's message") from error


def multiply_base(scalar: bytes) -> bytes:
    """Return scalar * G; raises CryptoError for the scalar zero."""
    try:
        return bytes(bindings.crypto_scalarmult_ed25519_base_noclamp(scalar))
    except (exceptions.RuntimeError, exceptions.TypeError) as error:
        raise CryptoError("a scalar is not valid; draw it with random_scalar") from error


def add(left: bytes, right: bytes) -> bytes:
    """Return the sum of two points; raises CryptoError unless both are on the curve."""
    try:
        return bytes(bindings.crypto_core_ed25519_add(left, right))
    except (exceptions.RuntimeError, exceptions.TypeError) as error:
        raise CryptoError("a point is not on the curve; refuse the sender's message") from error


def subtract(left: bytes, right: bytes) -> bytes:
    """Return the difference of two points; raises CryptoError unless both are on the curve."""
    try:
        return bytes(bindings.crypto_core_ed25519_sub(left, right))
    except (exceptions.RuntimeError, exceptions.TypeError) as error:
        raise CryptoError("a point is not on the curve; refuse the sender's message") from error


def check_points(points: bytes, count: int | None = None) -> None:
    """Raise CryptoError unless ``points`` are ``count`` valid, distinct elements of the group, none the identity."""
    each = _distinct(points, count)
    if not all(bindings.crypto_core_ed25519_is_valid_point(point) for point in each):
        raise CryptoError("a point is not a valid element of the group; refuse the sender's message")


def _distinct(points: bytes, count: int | None) -> Sequence[bytes]:
    if len(points) % POINT_BYTES or (count is not None and len(points) != count * POINT_BYTES):
        raise CryptoError(f"{len(points)} bytes are not {'whole' if count is None else count} points of 32 bytes")
    each = [points[at : at + POINT_BYTES] for at in range(0, len(points), POINT_BYTES)]
    if len(set(each)) != len(each):
        raise CryptoError("the same point stands twice in a set; refuse the sender's message")
    return each
