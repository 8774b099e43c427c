"""Blinded identifiers for private set intersection: H(id)^a on Curve25519, by x-coordinates alone.

Two parties blind with secrets a and b; a b H(id) = b a H(id) is equal for equal ids and, under the Diffie-Hellman
assumption, random otherwise (Meadows 1986; Huberman, Franklin and Hogg 1999). Nearly all of the work is scalar
multiplication, so this module uses the fastest one at hand, libsodium's Montgomery ladder (RFC 7748, X25519), which
takes and gives u-coordinates: an element here is the pair {P, -P} of points of the subgroup of prime order, written
as its u in 32 bytes, little endian.

- ``H``: SHA-512 over domain, id and counter, reduced to 255 bits, counted up until it is the u of a point of the
  curve (and not of its twist): a random oracle onto the curve's u-coordinates. It takes two tries on average; how
  many shows in time to those who can time this process. The ladder's scalar is a multiple of 8, which takes every
  result into the subgroup.
- A peer's element must be canonical, on the curve and not on its twist (Euler's criterion on u^3 + A u^2 + u), and not
  of small order (the ladder, whose scalar is a multiple of the cofactor 8, gives zero for those, which libsodium
  refuses). A point P + T outside the subgroup, with T of small order, gives s (P + T) = s P, as s T = 0: the very
  answer that P gives, so its sender learns nothing that P would not have told, and its repetition shows when results
  are compared. Whether a point lies in the subgroup is for that reason not asked, which would cost as much as two
  multiplications.

An element is 32 bytes, a set of elements their concatenation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import gmpy2
from gmpy2 import mpz
from nacl import bindings, exceptions

from partyd.crypto.prg import Prg
from partyd.errors import CryptoError

ELEMENT_BYTES = 32
SCALAR_BYTES = 32
P = mpz(2) ** 255 - 19
A = 486662
MASK = (1 << 255) - 1
COUNTERS = tuple(bytes([i]) for i in range(256))


def random_scalar(prg: Prg) -> bytes:
    """Return a secret to blind with; the ladder fixes five of its bits (RFC 7748, section 5)."""
    return prg.take(SCALAR_BYTES)


def hash_to_element(data: bytes, domain: bytes) -> bytes:
    """Return u of the curve's point that ``data`` stands for in ``domain``; only to be multiplied, never to be sent."""
    prefix = b"partyd blinding 1" + len(domain).to_bytes(4, "big") + domain + data
    for counter in COUNTERS:
        u = int.from_bytes(hashlib.sha512(prefix + counter).digest()[:32], "little") & MASK
        if 1 < u < P - 1 and _is_on_curve(u):
            return u.to_bytes(32, "little")
    raise CryptoError("256 hashes in a row missed the curve, which does not happen; check the hash function")


def blind(ids: Iterable[bytes], scalar: bytes, domain: bytes) -> bytes:
    """Return the blinded element of each id, in order; the caller shuffles and removes repeated ids first."""
    return b"".join([_ladder(scalar, hash_to_element(data, domain)) for data in ids])


def reblind(elements: bytes, scalar: bytes, count: int | None = None) -> bytes:
    """Return a peer's elements multiplied by ``scalar``.

    Raises CryptoError unless they are ``count`` distinct elements, each canonical, on the curve, not of small order.
    """
    return b"".join([_ladder(scalar, element) for element in _checked(elements, count)])


def _is_on_curve(u: int | mpz) -> bool:
    return bool(gmpy2.jacobi(u * (u * (u + A) + 1), P) == 1)


def _ladder(scalar: bytes, element: bytes) -> bytes:
    try:
        return bytes(bindings.crypto_scalarmult(scalar, element))
    except (exceptions.RuntimeError, exceptions.TypeError) as error:
        raise CryptoError("an element of small order was multiplied; refuse the sender's message") from error


def _checked(elements: bytes, count: int | None) -> Sequence[bytes]:
    if len(elements) % ELEMENT_BYTES or (count is not None and len(elements) != count * ELEMENT_BYTES):
        raise CryptoError(f"{len(elements)} bytes are not {'whole' if count is None else count} elements of 32 bytes")
    each = [elements[at : at + ELEMENT_BYTES] for at in range(0, len(elements), ELEMENT_BYTES)]
    if len(set(each)) != len(each):
        raise CryptoError("the same element stands twice in a set; refuse the sender's message")
    for element in each:
        u = mpz.from_bytes(element, "little")
        if not 1 < u < P - 1:
            raise CryptoError("an element is not canonical, or of small order; refuse the sender's message")
        if not _is_on_curve(u):
            raise CryptoError("an element is not on the curve; refuse the sender's message")
    return each
