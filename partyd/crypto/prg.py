"""A pseudorandom stream from a seed and a path of labels: where all repeatable randomness comes from.

The key is HKDF-SHA256 (RFC 5869) of the seed with the labels as info; the stream is ChaCha20 (RFC 8439) of zeros
under that key with nonce 0. Two different paths of labels give independent streams, and the same path gives the same
stream again after a restart (architecture section 4, rule 3). So one path belongs to one purpose: whoever asks
``child`` twice for the same label gets the same numbers twice.
"""

from __future__ import annotations

import math
import secrets

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from partyd.errors import CryptoError

SALT = b"partyd prg 1"
SEED_BYTES = 32
STREAM_LIMIT = 1 << 38
"""Bytes before ChaCha20's 32-bit block counter would wrap."""


class Prg:
    """Give random bytes and numbers that depend on ``seed`` and ``labels`` alone.

    Raises CryptoError for a seed below 16 bytes, and when 2^38 bytes were taken.
    """

    def __init__(self, seed: bytes, *labels: str) -> None:
        if len(seed) < 16:
            raise CryptoError(f"a seed of {len(seed)} bytes can be guessed; give 16 bytes or more")
        self._seed, self._labels, self._left = seed, labels, STREAM_LIMIT
        key = HKDF(SHA256(), 32, SALT, _path(labels)).derive(seed)
        self._stream = Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor()

    @classmethod
    def fresh(cls) -> Prg:
        """Return a stream from the operating system's entropy, for randomness that nobody needs to repeat."""
        return cls(secrets.token_bytes(SEED_BYTES), "fresh")

    def child(self, label: str) -> Prg:
        """Return the stream of the path one label longer; how much of this stream was taken does not matter."""
        return Prg(self._seed, *self._labels, label)

    def take(self, n: int) -> bytes:
        """Return the next ``n`` bytes of the stream."""
        self._left -= n
        if n < 0 or self._left < 0:
            raise CryptoError(f"cannot take {n} bytes: a stream gives 2^38 in all; derive a child per purpose")
        return self._stream.update(bytes(n))

    def uint64(self, shape: int | tuple[int, ...]) -> NDArray[np.uint64]:
        """Return uniform 64-bit words (little endian in the stream)."""
        count = math.prod(shape) if isinstance(shape, tuple) else shape
        return np.frombuffer(self.take(8 * count), dtype="<u8").astype(np.uint64).reshape(shape)

    def integers(self, bits: int, count: int) -> list[int]:
        """Return ``count`` integers uniform in [0, 2^bits)."""
        width, spare = -(-bits // 8), -bits % 8
        data = self.take(width * count)
        return [int.from_bytes(data[i * width : (i + 1) * width], "little") >> spare for i in range(count)]

    def below(self, bound: int, count: int) -> list[int]:
        """Return ``count`` integers uniform in [0, bound), by rejection."""
        if bound < 1:
            raise CryptoError(f"no integer lies in [0, {bound}); the bound must be positive")
        bits, accepted = (bound - 1).bit_length(), list[int]()
        if bits == 0:
            return [0] * count
        while len(accepted) < count:
            accepted += [value for value in self.integers(bits, count - len(accepted)) if value < bound]
        return accepted

    def permutation(self, n: int) -> NDArray[np.int64]:
        """Return a uniform order of 0..n-1: the order of distinct random words, drawn again if two agree."""
        while True:
            words = self.uint64(n)
            order = np.argsort(words, kind="stable")
            ranked = words[order]
            if not np.any(ranked[1:] == ranked[:-1]):
                return order.astype(np.int64)

    def uniform(self, low: float, high: float, n: int) -> NDArray[np.float64]:
        """Return floats in [low, high) on a grid of 2^53 steps; for initial weights, never for hiding a value."""
        return low + (high - low) * ((self.uint64(n) >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def _path(labels: tuple[str, ...]) -> bytes:
    """Write labels so that no two paths agree: each behind its length."""
    words = [label.encode() for label in labels]
    return b"".join(len(word).to_bytes(4, "big") + word for word in words)
