"""partyd's own Paillier as cells to be timed: on one core, and on all of them through the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from functools import partial

import numpy as np

from partyd.crypto.ciphers import CipherVector
from partyd.crypto.histogram import histograms
from partyd.crypto.obfuscators import CAPACITY
from partyd.crypto.packing import pack, slot_bits, slots, unpack
from partyd.crypto.paillier import Obfuscation, PrivateKey, PublicKey, generate_keypair
from partyd.federation.cipher_engine import CipherEngine
from partyd.federation.engine import Engine, Inline
from tests.bench.interleaved import Cell
from tests.bench.paillier_peers import Size, chosen_bins, floats, insist, signed_words

ONE = "partyd"
Ask = Callable[[CipherEngine], Coroutine[object, object, object]]
ALL = "partyd, all cores"
ALONE = "partyd, one process beside them"
OBFUSCATIONS: tuple[Obfuscation, ...] = ("djn448", "djn_half", "djn256", "full")
PLAIN_BITS = 53
"""Declared size of the plaintexts."""
SUM_BITS = 100
"""Declared size of the sums that are packed."""


def hiding(key: PublicKey) -> str:
    """Say what hides a plaintext: the random exponent's length, or the random base's."""
    if key.obfuscation == "full":
        return f"u^n for a random u of {key.bits} bits"
    return f"h^a, a of {8 * key.exponent_bytes} bits{' (default)' if key.obfuscation == OBFUSCATIONS[0] else ''}"


def keypair(bits: int, obfuscation: Obfuscation = "djn448") -> PrivateKey:
    """Make a key; one below the floor is only ever made for the smoke run."""
    return generate_keypair(bits, obfuscation=obfuscation, insecure_for_tests=bits < 2048)[1]


def distinct(key: PublicKey, count: int) -> CipherVector:
    """Return ciphertexts that share no memory, without the time that as many encryptions take."""
    few = key.encrypt_integers(range(16), PLAIN_BITS)
    return few[np.arange(count) % 16].add_integers(range(count), PLAIN_BITS)


def one_core(size: Size, private: PrivateKey) -> Iterator[Cell]:
    """Yield the operations on vectors, in this process."""
    key, cell = private.public, partial(Cell, who=ONE)
    yield cell("keygen", count=size.keys, run=lambda: [keypair(size.bits) for _ in range(size.keys)], varies=True)
    yield from _encryptions(size, private)
    few = key.encrypt_integers(range(max(1, size.encrypt // 20)), PLAIN_BITS)
    insist(private.decrypt_integers(few), list(range(len(few))), ONE)
    yield cell("decrypt", count=len(few), run=lambda: private.decrypt_integers(few))
    many = distinct(key, size.many)
    key.encrypt_integers(range(size.warm), PLAIN_BITS)
    yield cell("rerandomise", count=size.encrypt, run=distinct(key, size.encrypt).rerandomised)
    yield cell("add", count=size.many, run=lambda: many + many)
    yield cell("sum", count=size.many, run=many.sum)
    base = many[: size.factors]
    for bits in (20, 53):
        for sign, word in ((1, "positive"), (-1, "negative")):
            factors = sign * np.abs(signed_words(bits, size.factors))
            yield cell(f"times {bits} {word}", count=size.factors, run=partial(base.times, factors, magnitude=2.0**53))
    for bits in (30, 20):
        for height in size.heights:
            for name, width in ((f"product {bits} {height}", size.columns), (f"product {bits} {height} alone", 1)):
                matrix, rows = signed_words(bits, (width, height)), distinct(key, height)
                yield cell(name, count=matrix.size, run=partial(rows.premultiplied, matrix))

    tall = distinct(key, max(size.heights))
    for name, width in (("product floats", size.columns), ("product floats alone", 1)):
        columns = floats((width, len(tall)))
        yield cell(name, count=columns.size, run=partial(tall.premultiplied, columns))
    yield from _packing(max(1, size.encrypt // 20), private)
    bins, rows = chosen_bins(size), distinct(key, size.histogram_rows)
    yield cell("histogram", count=bins.size, run=partial(histograms, rows, bins, size.bins))


def _packing(ciphertexts: int, private: PrivateKey) -> Iterator[Cell]:
    """Yield packing of sums and the decryption of what was packed, both counted by the sum."""
    sums = private.public.encrypt_integers(range(ciphertexts), SUM_BITS)
    each, width = slots(sums), slot_bits(sums)
    sums = sums[np.arange(each * ciphertexts) % ciphertexts]
    packed = pack(sums)

    def decrypt() -> list[int]:
        return unpack(private.decrypt_integers(packed), each, width, len(sums))

    insist(decrypt(), private.decrypt_integers(sums), ONE)
    yield Cell("pack", ONE, len(sums), partial(pack, sums))
    yield Cell("decrypt packed", ONE, len(sums), decrypt)


def _encryptions(size: Size, private: PrivateKey) -> Iterator[Cell]:
    """Yield encryption by both holders with each obfuscator, under keys that have their tables of powers."""
    for obfuscation in OBFUSCATIONS:
        owner = PrivateKey(int(private.p), int(private.q), obfuscation)
        count = max(1, size.encrypt // 20) if obfuscation == "full" else size.encrypt
        for name, holder in ((f"encrypt {obfuscation}", owner.public), (f"encrypt private {obfuscation}", owner)):
            holder.encrypt_integers(range(1 if obfuscation == "full" else size.warm), PLAIN_BITS)
            yield Cell(name, ONE, count, partial(holder.encrypt_integers, range(count), PLAIN_BITS))


def warm_pool(size: Size, key: PublicKey, loop: asyncio.Runner) -> Iterator[Cell]:
    """Yield encryption with obfuscators that were computed before, which is what is not timed."""
    engine, count = CipherEngine(Inline()), min(size.many, CAPACITY)

    def fill() -> None:
        engine.expect(key, count)
        while engine.fill():
            pass

    def encrypt() -> CipherVector:
        return loop.run(engine.encrypt_integers(key, range(count), PLAIN_BITS))

    yield Cell("encrypt pool", ONE, count, encrypt, prepare=fill)


def all_cores(size: Size, private: PrivateKey, pool: Engine, loop: asyncio.Runner) -> Iterator[Cell]:
    """Yield what the engine's processes share, and the same done by one, in pieces long enough to be worth sharing.

    Each process has its tables beforehand: a party says how much it will encrypt (``expect``).
    """
    key, engines = private.public, {ALL: CipherEngine(pool), ALONE: CipherEngine(Inline())}
    count, tall = 4 * size.encrypt, max(size.heights)
    integers, some, few = range(count), distinct(key, count), distinct(key, max(1, size.encrypt // 5))
    matrix, rows = signed_words(30, (size.columns, tall)), distinct(key, tall)
    bins, many = chosen_bins(size), distinct(key, size.histogram_rows)
    sums = key.encrypt_integers(range(8), SUM_BITS)[np.arange(size.encrypt) % 8]
    work: dict[str, tuple[int, Ask]] = {
        "encrypt djn448": (count, lambda engine: engine.encrypt_integers(key, integers, PLAIN_BITS)),
        "encrypt private djn448": (count, lambda engine: engine.encrypt_integers(private, integers, PLAIN_BITS)),
        "rerandomise": (count, lambda engine: engine.rerandomised(some)),
        "decrypt": (len(few), lambda engine: engine.decrypt_integers(private, few)),
        "pack": (len(sums), lambda engine: engine.pack(sums)),
        f"product 30 {tall}": (matrix.size, lambda engine: engine.premultiplied(rows, matrix)),
        "histogram": (bins.size, lambda engine: engine.histograms(many, bins, size.bins)),
    }
    for who, engine in engines.items():
        engine.expect(key, 1 << 30)
        for row, (units, ask) in work.items():
            uses = size.warm * pool.parallelism if row.startswith("encrypt") else 1
            for _ in range(-(-uses // units)):
                loop.run(ask(engine))
            yield Cell(row, who, units, partial(_wait_for, loop, ask, engine), on_the_wall=True)


def _wait_for(loop: asyncio.Runner, ask: Ask, engine: CipherEngine) -> None:
    loop.run(ask(engine))
