"""Parts of the work on ciphertext vectors, from bytes to bytes: what another process of the same owner computes.

Each function is told the key, which its process keeps decoded, and a partition: a header (what is asked, how many
ciphertexts or numbers, and one more number), then the numbers in fixed width, big endian, then random bytes. Whoever
cuts a vector into partitions draws all randomness itself and gives each its share (`Draws`), so that the results do not
depend on the cut. A partition that is not exactly as long as its header says is refused: these bytes never come from a
peer, so that would be our own mistake.

Private keys go to children of the worker alone, through a pipe that nobody else holds.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from partyd.crypto.ciphers import CipherVector
from partyd.crypto.encoding import Encoded
from partyd.crypto.histogram import Prepared, histograms
from partyd.crypto.multiexp import products_of_powers
from partyd.crypto.obfuscators import Key, encrypted, public_of
from partyd.crypto.packing import pack
from partyd.crypto.paillier import Obfuscation, PrivateKey, PublicKey
from partyd.crypto.prg import Prg
from partyd.errors import LocalProtocolError

KEY_HEAD = struct.Struct(">BBBH")
VERSION = 1
MODES: tuple[Obfuscation, ...] = ("full", "djn_half", "djn256", "djn448")
HEAD = struct.Struct(">BII")
ENCRYPT, HIDE, DECRYPT, MULTIPLY, PACK, HISTOGRAMS, SUMS, RESIDUES = range(1, 9)
BIN_TYPE = np.dtype("<i4")
WORD_TYPE = np.dtype("<i8")


class Drawn(Prg):
    """A stream that gives out what was drawn elsewhere."""

    def __init__(self, data: bytes) -> None:
        self.rest = data

    def take(self, n: int) -> bytes:
        """Return the next ``n`` bytes; raises LocalProtocolError when there are fewer."""
        data, self.rest = self.rest[:n], self.rest[n:]
        if len(data) != n:
            raise LocalProtocolError(f"a partition has {len(data)} random bytes where {n} are taken")
        return data


@dataclass(frozen=True)
class Draws:
    """The random bytes of ``count`` obfuscators, drawn as ``key.obfuscators`` draws them, to be cut up."""

    streams: tuple[tuple[bytes, int], ...]
    """Bytes, and how many of them an obfuscator takes."""

    @classmethod
    def of(cls, key: Key, count: int, rng: Prg) -> Draws:
        """Draw for ``count`` obfuscators under ``key``."""
        public = public_of(key)
        if public.obfuscation != "full":
            width = public.exponent_bytes
            return cls(((rng.take(count * width), width),))
        moduli = (key.p, key.q) if isinstance(key, PrivateKey) else (key.n,)
        return cls(tuple(_below(int(modulus) - 1, count, rng) for modulus in moduli))

    def share(self, start: int, stop: int) -> bytes:
        """Return what the obfuscators from ``start`` to ``stop`` take."""
        return b"".join(data[start * width : stop * width] for data, width in self.streams)


def _below(bound: int, count: int, rng: Prg) -> tuple[bytes, int]:
    """Return numbers below ``bound`` as the bytes of which ``Prg.below`` would make them at the first attempt."""
    bits = (bound - 1).bit_length()
    width, spare = -(-bits // 8), -bits % 8
    return b"".join((value << spare).to_bytes(width, "little") for value in rng.below(bound, count)), width


# -- keys and numbers as bytes ----------------------------------------------------------------


def key_to_bytes(key: Key) -> bytes:
    """Return a key for a child of this process; a private one must go nowhere else."""
    public, secret = public_of(key), isinstance(key, PrivateKey)
    head = KEY_HEAD.pack(VERSION, secret, MODES.index(public.obfuscation), public.bits)
    if isinstance(key, PrivateKey):
        size = -(-public.bits // 16)
        return head + int(key.p).to_bytes(size, "big") + int(key.q).to_bytes(size, "big")
    return head + int(key.n).to_bytes(-(-public.bits // 8), "big")


@lru_cache(maxsize=4)
def key_from_bytes(data: bytes) -> Key:
    """Read what ``key_to_bytes`` wrote, once: the tables of a key stay with it."""
    version, secret, mode, bits = KEY_HEAD.unpack(data[: KEY_HEAD.size].ljust(KEY_HEAD.size, b"\0"))
    body = data[KEY_HEAD.size :]
    size = -(-bits // 16) if secret else -(-bits // 8)
    if version != VERSION or not size or len(body) != size * (1 + secret):
        raise LocalProtocolError("a process of the pool was given a key in another form than its own version's")
    numbers = [int.from_bytes(body[i : i + size], "big") for i in range(0, len(body), size)]
    return PrivateKey(numbers[0], numbers[1], MODES[mode]) if secret else PublicKey(numbers[0], MODES[mode])


def written(values: Sequence[mpz], width: int) -> bytes:
    """Return numbers in ``width`` bytes each."""
    return b"".join([value.to_bytes(width, "big") for value in values])


def read(data: bytes, width: int) -> list[mpz]:
    """Return numbers of ``width`` bytes each."""
    return [mpz.from_bytes(data[i : i + width], "big") for i in range(0, len(data), width)]


def signed_written(integers: Sequence[int], width: int) -> bytes:
    """Return integers of either sign in ``width`` bytes each."""
    return b"".join([value.to_bytes(width, "big", signed=True) for value in integers])


def signed_read(data: bytes, width: int) -> list[int]:
    """Return what ``signed_written`` wrote."""
    return [int.from_bytes(data[i : i + width], "big", signed=True) for i in range(0, len(data), width)]


def plaintext_bytes(key: PublicKey) -> int:
    """Return the width of a plaintext with its sign."""
    return key.bits // 8 + 1


def asked(what: int, count: int, detail: int, *bodies: bytes) -> bytes:
    """Return a partition."""
    return HEAD.pack(what, count, detail) + b"".join(bodies)


def _opened(what: int, partition: bytes) -> tuple[int, int, bytes]:
    """Return count, detail and body; raises LocalProtocolError for a partition of another function."""
    found, count, detail = HEAD.unpack(partition[: HEAD.size].ljust(HEAD.size, b"\0"))
    if found != what:
        raise LocalProtocolError(f"a partition asks for part {found}, this is {what}")
    return count, detail, partition[HEAD.size :]


def _cut(body: bytes, *sizes: int) -> list[bytes]:
    """Return pieces of these sizes and the rest."""
    pieces, at = [], 0
    for size in sizes:
        pieces.append(body[at : at + size])
        at += size
    if len(body) < at:
        raise LocalProtocolError(f"a partition has {len(body)} bytes where its header speaks of {at}")
    return [*pieces, body[at:]]


def _ciphertexts(key: PublicKey, body: bytes, count: int, exponent: int = 0, bound: int = 1) -> CipherVector:
    if len(body) != count * key.ciphertext_bytes:
        raise LocalProtocolError(f"{len(body)} bytes are not {count} ciphertexts under {key!r}")
    return CipherVector(key, read(body, key.ciphertext_bytes), exponent, bound)


# -- the parts --------------------------------------------------------------------------------


def encrypt_part(shared: bytes, partition: bytes) -> bytes:
    """Encrypt: the header's second number is the width of an integer; then integers, then random bytes."""
    count, width, body = _opened(ENCRYPT, partition)
    if not width:
        raise LocalProtocolError("a partition has integers of no width")
    key, (integers, draws) = key_from_bytes(shared), _cut(body, count * width)
    encoded = Encoded(signed_read(integers, width), 0, 0)
    vector = encrypted(public_of(key), encoded, _obfuscators(key, count, draws))
    return written(vector.raw(), vector.key.ciphertext_bytes)


def hide_part(shared: bytes, partition: bytes) -> bytes:
    """Multiply ciphertexts by fresh encryptions of zero: ciphertexts, then random bytes."""
    count, _, body = _opened(HIDE, partition)
    key = key_from_bytes(shared)
    public = public_of(key)
    ciphertexts, draws = _cut(body, count * public.ciphertext_bytes)
    pairs = zip(read(ciphertexts, public.ciphertext_bytes), _obfuscators(key, count, draws), strict=True)
    return written([c * r % public.n2 for c, r in pairs], public.ciphertext_bytes)


def decrypt_part(shared: bytes, partition: bytes) -> bytes:
    """Decrypt: the header's second number is the bits of the vector's bound. Raises as ``decrypt_integers`` does."""
    count, bound_bits, body = _opened(DECRYPT, partition)
    key = _private(shared)
    vector = _ciphertexts(key.public, body, count, bound=(1 << bound_bits) - 1)
    return signed_written(key.decrypt_integers(vector), plaintext_bytes(key.public))


def residues_part(shared: bytes, partition: bytes) -> bytes:
    """Decrypt as ``decrypt_residues`` does."""
    count, _, body = _opened(RESIDUES, partition)
    key = _private(shared)
    return signed_written(
        key.decrypt_residues(_ciphertexts(key.public, body, count, bound=1)), plaintext_bytes(key.public)
    )


def _private(shared: bytes) -> PrivateKey:
    key = key_from_bytes(shared)
    if not isinstance(key, PrivateKey):
        raise LocalProtocolError("a process of the pool was given a public key to decrypt with")
    return key


def multiply_part(shared: bytes, partition: bytes) -> bytes:
    """Return the product over rows of c_i^(x_ij) for each column j: ciphertexts, then words row by row."""
    rows, columns, body = _opened(MULTIPLY, partition)
    key = public_of(key_from_bytes(shared))
    ciphertexts, words, rest = _cut(body, rows * key.ciphertext_bytes, rows * columns * WORD_TYPE.itemsize)
    _insist_on_the_end(rest)
    matrix = np.frombuffer(words, WORD_TYPE).astype(np.int64).reshape(rows, columns)
    return written(products_of_powers(read(ciphertexts, key.ciphertext_bytes), matrix, key.n), key.ciphertext_bytes)


def pack_part(shared: bytes, partition: bytes) -> bytes:
    """Pack a run of entries; the header's second number is the bits of their bound."""
    count, bound_bits, body = _opened(PACK, partition)
    key = public_of(key_from_bytes(shared))
    packed = pack(_ciphertexts(key, body, count, bound=(1 << bound_bits) - 1))
    return written(packed.raw(), key.ciphertext_bytes)


def vector_to_bytes(vector: CipherVector) -> bytes:
    """Return the key and the ciphertexts of a vector, for many histograms to share."""
    key, body = key_to_bytes(vector.key), written(vector.raw(), vector.key.ciphertext_bytes)
    return HEAD.pack(HISTOGRAMS, len(vector), len(key)) + key + body


@lru_cache(maxsize=2)
def _prepared(shared: bytes) -> Prepared:
    """Read what ``vector_to_bytes`` wrote, made ready for many passes."""
    count, key_size, body = _opened(HISTOGRAMS, shared)
    key_bytes, ciphertexts = _cut(body, key_size)
    return Prepared(_ciphertexts(public_of(key_from_bytes(key_bytes)), ciphertexts, count))


def histograms_part(shared: bytes, partition: bytes) -> bytes:
    """Return the histograms of a run of features over chosen rows: row numbers, then the bins of each of these rows.

    The header's numbers are bins and rows; the features are as many as the rest has room for.
    """
    n_bins, rows, body = _opened(HISTOGRAMS, partition)
    prepared = _prepared(shared)
    numbers, bins = _cut(body, rows * BIN_TYPE.itemsize)
    chosen = np.frombuffer(numbers, BIN_TYPE).astype(np.intp)
    codes = _bins(bins, rows)
    table = np.full((len(prepared), codes.shape[1]), -1, np.int32)
    table[chosen] = codes
    found = histograms(prepared, table, n_bins, chosen)
    return written(found.vector.raw(), found.vector.key.ciphertext_bytes)


def sums_part(shared: bytes, partition: bytes) -> bytes:
    """Return the histograms of a run of rows over all features: ciphertexts, then the bins of each row.

    The header's numbers are bins and rows.
    """
    n_bins, rows, body = _opened(SUMS, partition)
    key = public_of(key_from_bytes(shared))
    ciphertexts, bins = _cut(body, rows * key.ciphertext_bytes)
    found = histograms(_ciphertexts(key, ciphertexts, rows), _bins(bins, rows), n_bins)
    return written(found.vector.raw(), key.ciphertext_bytes)


def _obfuscators(key: Key, count: int, draws: bytes) -> list[mpz]:
    stream = Drawn(draws)
    made = key.obfuscators(count, stream)
    _insist_on_the_end(stream.rest)
    return made


def _bins(body: bytes, rows: int) -> NDArray[np.int32]:
    """Return the bins of ``rows`` rows, of as many features as there are."""
    if not rows or len(body) % (BIN_TYPE.itemsize * rows):
        raise LocalProtocolError(f"{len(body)} bytes are not the bins of {rows} rows")
    return np.frombuffer(body, BIN_TYPE).astype(np.int32).reshape(rows, -1)


def _insist_on_the_end(rest: bytes) -> None:
    if rest:
        raise LocalProtocolError(f"a partition has {len(rest)} bytes more than its header speaks of")


def bins_of(codes: NDArray[np.int64]) -> bytes:
    """Return bins row by row."""
    return np.ascontiguousarray(codes, BIN_TYPE).tobytes()


def words_of(matrix: NDArray[np.int64]) -> bytes:
    """Return a matrix row by row."""
    return np.ascontiguousarray(matrix, WORD_TYPE).tobytes()
