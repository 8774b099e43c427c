"""The arithmetic of ciphertext vectors on all cores, with obfuscators computed while the party waits.

`CipherEngine` does what the methods of vectors and keys do, and returns the same bits, however the work is divided:
rows, features or ciphertexts are cut into partitions for the engine's processes (`partyd.crypto.parts`), the key goes
to each of them once, and sums and products are exact. Work of less than `WORTH_S` stays in this process.

With an ``rng`` an encryption is what the plain call would make of it. Without one its obfuscators come from the
operating system's entropy, out of the key's pool as long as that lasts: this is what a protocol wants, for a repeated
round may then encrypt other numbers, or the same ones in another order, and reuse nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from gmpy2 import mpz
from numpy.typing import ArrayLike, NDArray

from partyd.crypto import parts, work
from partyd.crypto.buckets import Bins, Codes, checked_bins, checked_rows
from partyd.crypto.ciphers import Ciphertexts, CipherVector, Plain
from partyd.crypto.encoding import (
    EXPONENT,
    MAGNITUDE,
    MATRIX_EXPONENT,
    Encoded,
    declared,
    decode,
    encode,
    encode_factors,
)
from partyd.crypto.histogram import histograms
from partyd.crypto.matrix import CipherMatrix
from partyd.crypto.multiexp import product_of
from partyd.crypto.obfuscators import Key, ObfuscatorPool, encrypted, public_of
from partyd.crypto.packing import pack, slots
from partyd.crypto.paillier import Obfuscation, PrivateKey, PublicKey
from partyd.crypto.prg import Prg
from partyd.federation.costs import Costs, counted
from partyd.federation.engine import Engine

WORTH_S = 0.02
"""From so much work on, processes pay: a map takes some milliseconds beside its work."""
TABLES_PAY = 10.0
"""How many times the making of a table a process must have ahead of it before it is asked for obfuscators."""
MOST_KEYS = 4
MOST_ROWS = 1 << 14
"""Ciphertexts in a partition: 8 MiB under a 2048-bit key."""
SHARED_BYTES = 64 << 20
"""A vector above that is not sent to every process whole."""


Name = tuple[mpz, Obfuscation]


class CipherEngine:
    """Computes with ciphertexts on ``engine``; one for each party of a task."""

    def __init__(self, engine: Engine, costs: Costs | None = None) -> None:
        self.costs = costs or Costs()
        self._engine = engine
        self._pools: OrderedDict[Name, ObfuscatorPool] = OrderedDict()
        self._has_tables: set[Name] = set()

    # -- obfuscators ahead of time --------------------------------------------------------

    def expect(self, key: Key, wanted: int) -> None:
        """Say how many obfuscators of ``key`` will be taken from here on; see ``ObfuscatorPool.want``."""
        name = _name(key)
        if name not in self._pools:
            self._pools[name] = ObfuscatorPool(key)
        self._pools.move_to_end(name)
        self._pools[name].want(wanted)
        while len(self._pools) > MOST_KEYS:
            self._pools.popitem(last=False)

    @property
    def lacks(self) -> bool:
        """Whether obfuscators are wanted that are not there."""
        return any(pool.missing for pool in self._pools.values())

    def fill(self) -> bool:
        """Compute some milliseconds' worth of obfuscators; return whether any were missing."""
        return any(pool.fill() > 0 for pool in reversed(self._pools.values()))

    # -- encryption and decryption --------------------------------------------------------

    async def encrypt(
        self,
        key: Key,
        values: ArrayLike,
        rng: Prg | None = None,
        *,
        exponent: int = EXPONENT,
        magnitude: float = MAGNITUDE,
    ) -> CipherVector:
        """Encrypt as ``PublicKey.encrypt`` does."""
        return await self._encrypted(key, encode(values, exponent, magnitude), rng)

    async def encrypt_integers(
        self, key: Key, integers: Sequence[int], bits: int, rng: Prg | None = None, *, exponent: int = 0
    ) -> CipherVector:
        """Encrypt as ``PublicKey.encrypt_integers`` does."""
        return await self._encrypted(key, declared(integers, bits, exponent), rng)

    @counted("encrypt")
    async def rerandomised(self, vector: CipherVector, rng: Prg | None = None) -> Ciphertexts:
        """Return what may be sent, as ``CipherVector.rerandomised`` does."""
        if vector.fresh:
            return vector.rerandomised()
        key, values, width = vector.key, vector.raw(), vector.key.ciphertext_bytes
        ready = self._ready(key, len(vector), rng)
        own, rest = values[: len(ready)], values[len(ready) :]

        def hidden(some: Sequence[mpz], obfuscators: Sequence[mpz]) -> bytes:
            return parts.written([v * r % key.n2 for v, r in zip(some, obfuscators, strict=True)], width)

        def part(start: int, stop: int, draws: parts.Draws) -> bytes:
            given = parts.written(rest[start:stop], width)
            return parts.asked(parts.HIDE, stop - start, 0, given, draws.share(start, stop))

        body = hidden(own, ready)
        if self._obfuscates_elsewhere(key, len(rest)):
            body += await self._with_draws(parts.hide_part, part, key, len(rest), rng)
        else:
            body += hidden(rest, key.obfuscators(len(rest), rng or Prg.fresh()))
        return Ciphertexts(key.fingerprint, vector.exponent, vector.bound_bits, len(vector), body)

    async def decrypt(self, key: PrivateKey, vector: CipherVector) -> NDArray[np.float64]:
        """Return the hidden numbers as ``PrivateKey.decrypt`` does."""
        return decode(await self.decrypt_integers(key, vector), vector.exponent)

    @counted("decrypt")
    async def decrypt_integers(self, key: PrivateKey, vector: CipherVector) -> list[int]:
        """Return the hidden integers as ``PrivateKey.decrypt_integers`` does."""
        count = len(vector)
        if vector.key != key.public or not self._elsewhere(count * work.decryption_s(key)):
            return key.decrypt_integers(vector)

        def part(start: int, stop: int) -> bytes:
            body = parts.written(values[start:stop], key.public.ciphertext_bytes)
            return parts.asked(parts.DECRYPT, stop - start, vector.bound_bits, body)

        values = vector.raw()
        found = await self._map(parts.decrypt_part, parts.key_to_bytes(key), part, count)
        return parts.signed_read(found, parts.plaintext_bytes(key.public))

    @counted("decrypt")
    async def decrypt_residues(self, key: PrivateKey, vector: CipherVector) -> list[int]:
        """Return what is hidden modulo n as ``PrivateKey.decrypt_residues`` does."""
        count, values = len(vector), vector.raw()
        if vector.key != key.public or not self._elsewhere(count * work.decryption_s(key)):
            return key.decrypt_residues(vector)

        def part(start: int, stop: int) -> bytes:
            body = parts.written(values[start:stop], key.public.ciphertext_bytes)
            return parts.asked(parts.RESIDUES, stop - start, 0, body)

        found = await self._map(parts.residues_part, parts.key_to_bytes(key), part, count)
        return parts.signed_read(found, parts.plaintext_bytes(key.public))

    # -- sums and products ----------------------------------------------------------------

    async def premultiplied(
        self, vector: CipherVector, matrix: Plain, exponent: int = MATRIX_EXPONENT, magnitude: float = MAGNITUDE
    ) -> CipherVector:
        """Return ``matrix @ vector`` as ``CipherVector.premultiplied`` does."""
        key, rows = vector.key, len(vector)
        fits = matrix.ndim == 2 and matrix.shape[1] == rows
        if not fits or not self._elsewhere(_products_s(key, rows, len(matrix))):
            return vector.premultiplied(matrix, exponent, magnitude)
        factors = encode_factors(matrix, exponent, magnitude)
        bound = vector.bound * factors.bound * rows
        key.insist_on_room(bound)
        words, values, width = factors.words.T, vector.raw(), key.ciphertext_bytes

        def part(start: int, stop: int) -> bytes:
            body = parts.written(values[start:stop], width), parts.words_of(words[start:stop])
            return parts.asked(parts.MULTIPLY, stop - start, len(matrix), *body)

        found = parts.read(await self._map(parts.multiply_part, parts.key_to_bytes(key), part, rows, 1), width)
        columns = [found[j :: len(matrix)] for j in range(len(matrix))]
        products = [product_of(column, key.n2) for column in columns]
        return CipherVector(key, products, vector.exponent + factors.exponent, bound)

    async def histograms(
        self, vector: CipherVector, bins: Bins, n_bins: int, rows: NDArray[np.intp] | None = None
    ) -> CipherMatrix:
        """Return the sums by bin of each feature as ``histogram.histograms`` does.

        The vector goes to each process once and is kept there: for the nodes of a tree, give the same one with ``rows``
        again and again.
        """
        key, chosen = vector.key, checked_rows(rows, len(vector))
        features = bins.shape[1] if bins.ndim == 2 else 0
        if features < 2 or not self._elsewhere(len(chosen) * features * work.product_s(key) / 2):
            return histograms(vector, bins, n_bins, rows)
        codes = checked_bins(bins, len(vector), n_bins, chosen)
        bound = vector.bound * max(len(chosen), 1)
        key.insist_on_room(bound)
        small = len(vector) * key.ciphertext_bytes <= SHARED_BYTES
        sums = await (self._by_feature if small else self._by_row)(vector, chosen, codes, n_bins)
        return CipherMatrix(CipherVector(key, sums, vector.exponent, bound), (features, n_bins))

    async def pack(self, vector: CipherVector) -> CipherVector:
        """Return the entries of ``vector``, several to a ciphertext, as ``packing.pack`` does."""
        key, each, width = vector.key, slots(vector), vector.key.ciphertext_bytes
        if not self._elsewhere(work.power_s(key, len(vector) * vector.bound_bits)):
            return pack(vector)
        values, one = vector.raw(), CipherVector(key, [mpz(1)] * min(each, len(vector)), vector.exponent, vector.bound)

        def part(start: int, stop: int) -> bytes:
            some = values[start * each : stop * each]
            return parts.asked(parts.PACK, len(some), vector.bound_bits, parts.written(some, width))

        found = await self._map(parts.pack_part, parts.key_to_bytes(key), part, -(-len(vector) // each))
        return CipherVector(key, parts.read(found, width), vector.exponent, pack(one).bound)

    # -- inside ---------------------------------------------------------------------------

    async def _by_feature(self, vector: CipherVector, chosen: Codes, codes: Codes, n_bins: int) -> list[mpz]:
        """Return histograms, each process having the whole vector and some of the features."""
        numbers = np.asarray(chosen, parts.BIN_TYPE).tobytes()

        def part(start: int, stop: int) -> bytes:
            return parts.asked(parts.HISTOGRAMS, n_bins, len(chosen), numbers, parts.bins_of(codes[:, start:stop]))

        shared = parts.vector_to_bytes(vector)
        found = await self._map(parts.histograms_part, shared, part, codes.shape[1], 1)
        return parts.read(found, vector.key.ciphertext_bytes)

    async def _by_row(self, vector: CipherVector, chosen: Codes, codes: Codes, n_bins: int) -> list[mpz]:
        """Return histograms as the products of those of runs of rows, for a vector that is large."""
        key, values, size = vector.key, vector.raw(), codes.shape[1] * n_bins

        def part(start: int, stop: int) -> bytes:
            some = [values[row] for row in chosen[start:stop].tolist()]
            bodies = parts.written(some, key.ciphertext_bytes), parts.bins_of(codes[start:stop])
            return parts.asked(parts.SUMS, n_bins, stop - start, *bodies)

        body = await self._map(parts.sums_part, parts.key_to_bytes(key), part, len(chosen), 1)
        found = parts.read(body, key.ciphertext_bytes)
        return [product_of(found[cell::size], key.n2) for cell in range(size)]

    @counted("encrypt")
    async def _encrypted(self, key: Key, encoded: Encoded, rng: Prg | None) -> CipherVector:
        public, count = public_of(key), len(encoded.integers)
        public.insist_on_room(encoded.bound)
        ready = self._ready(public, count, rng)
        left = count - len(ready)
        if not self._obfuscates_elsewhere(key, left):
            ready += key.obfuscators(left, rng or Prg.fresh())
            return encrypted(public, encoded, ready)
        own, rest = encoded.integers[: len(ready)], encoded.integers[len(ready) :]
        width = encoded.bound.bit_length() // 8 + 1

        def part(start: int, stop: int, draws: parts.Draws) -> bytes:
            given = parts.signed_written(rest[start:stop], width)
            return parts.asked(parts.ENCRYPT, stop - start, width, given, draws.share(start, stop))

        body = await self._with_draws(parts.encrypt_part, part, key, left, rng)
        values = encrypted(public, Encoded(own, encoded.exponent, encoded.bound), ready).raw()
        values += parts.read(body, public.ciphertext_bytes)
        return CipherVector(public, values, encoded.exponent, encoded.bound, _fresh=True)

    def _ready(self, key: PublicKey, count: int, rng: Prg | None) -> list[mpz]:
        """Return obfuscators from the pool, none for a caller who wants those of a stream."""
        pool = self._pools.get(_name(key)) if rng is None else None
        return [] if pool is None else pool.take(count)

    def _elsewhere(self, seconds: float) -> bool:
        return self._engine.parallelism > 1 and 0 < seconds >= WORTH_S

    def _obfuscates_elsewhere(self, key: Key, count: int) -> bool:
        """Return whether so many obfuscators are better made by several processes, their tables counted."""
        name, each = _name(key), work.obfuscator_s(key)
        pool = self._pools.get(name)
        ahead = max(count, pool.wanted if pool is not None else 0) * each
        pays = name in self._has_tables or ahead >= TABLES_PAY * self._engine.parallelism * work.table_s(key)
        return pays and self._elsewhere(count * each)

    async def _with_draws(
        self,
        function: Callable[[bytes, bytes], bytes],
        part: Callable[[int, int, parts.Draws], bytes],
        key: Key,
        count: int,
        rng: Prg | None,
    ) -> bytes:
        """Map over elements that take an obfuscator each."""
        self._has_tables.add(_name(key))
        draws = parts.Draws.of(key, count, rng or Prg.fresh())
        return await self._map(function, parts.key_to_bytes(key), lambda a, b: part(a, b, draws), count)

    async def _map(
        self,
        function: Callable[[bytes, bytes], bytes],
        shared: bytes,
        part: Callable[[int, int], bytes],
        count: int,
        each: int = 2,
    ) -> bytes:
        """Cut ``count`` elements into ``each`` partitions a process, or more where these would be large; join."""
        cuts = max(min(count, each * self._engine.parallelism), -(-count // MOST_ROWS))
        edges = [count * i // cuts for i in range(cuts + 1)]
        partitions = [part(start, stop) for start, stop in pairwise(edges)]
        return b"".join(await self._engine.map(function, partitions, shared))


def _name(key: Key) -> Name:
    """Return what tells keys apart: obfuscators of one kind do not stand for those of another."""
    public = public_of(key)
    return public.n, public.obfuscation


def _products_s(key: PublicKey, rows: int, columns: int) -> float:
    """Return about how long a product with a matrix takes: six products an entry, and two entries' for a row."""
    return work.product_s(key) * 6.0 * rows * (columns + 2)
