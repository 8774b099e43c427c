"""Other Paillier libraries behind one face: each gives the same operations as cells to be timed.

`phe` with gmpy2 is always there. The others are not among this project's dependencies; a throw-away environment has
them beside partyd:

    python -m venv /tmp/bench-peers
    /tmp/bench-peers/bin/pip install . scikit-learn fate-utils==0.1.0 pypaillier==0.8.0 sf-heu==0.5.2b0
    /tmp/bench-peers/bin/python -m tests.bench.bench_paillier

They have no type stubs, so that their objects are ``Any`` inside this file.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import gmpy2
import numpy as np
import phe
from gmpy2 import mpz
from numpy.typing import NDArray

from tests.bench.interleaved import Cell

INSTALL = "pip install fate-utils==0.1.0 pypaillier==0.8.0 sf-heu==0.5.2b0"
FLOOR = "GMP floor"


@dataclass(frozen=True)
class Size:
    """How much one run of an operation does."""

    bits: int
    keys: int
    encrypt: int
    many: int
    factors: int
    heights: tuple[int, ...]
    columns: int
    histogram_rows: int
    features: int
    warm: int
    """Encryptions that a key has behind it: its tables grow with use, up to 8,000 (``fixed_base``)."""
    bins: int = 32


@dataclass(frozen=True)
class Peer:
    """A library: its name, the random exponent of its encryption, and what makes its cells."""

    name: str
    package: str
    obfuscation: Callable[[int], str]
    cells: Callable[[Size], Iterator[Cell]]

    @property
    def version(self) -> str:
        """The installed version; raises PackageNotFoundError where there is none."""
        return importlib.metadata.version(self.package)


def signed_words(bits: int, shape: int | tuple[int, ...], seed: int = 1) -> NDArray[np.int64]:
    """Return integers of exactly ``bits`` bits, about half of them negative."""
    chance = np.random.default_rng(seed)
    magnitude = chance.integers(1 << (bits - 1), 1 << bits, shape, dtype=np.int64)
    words: NDArray[np.int64] = magnitude * chance.choice(np.array([-1, 1]), shape)
    return words


def floats(shape: int | tuple[int, ...]) -> NDArray[np.float64]:
    """Return scaled features."""
    return np.random.default_rng(6).standard_normal(shape)


def chosen_bins(size: Size) -> NDArray[np.int64]:
    """Return each row's bin in each feature."""
    return np.random.default_rng(2).integers(0, size.bins, (size.histogram_rows, size.features))


def insist(found: object, wanted: object, who: str) -> None:
    """Raise AssertionError unless a library computed what it was asked for: a wrong answer may take any time."""
    assert found == wanted, f"{who} gives {found} instead of {wanted}"


def phe_cells(size: Size) -> Iterator[Cell]:
    """Yield what `phe` does; its numbers are Python objects, one a ciphertext."""
    cell = partial(Cell, who="phe + gmpy2")
    yield cell("keygen", count=1, run=lambda: phe.generate_paillier_keypair(n_length=size.bits), varies=True)
    public, private = phe.generate_paillier_keypair(n_length=size.bits)
    few = max(1, size.encrypt // 20)
    yield cell("encrypt", count=few, run=lambda: [public.encrypt(i) for i in range(few)])
    fresh = [public.encrypt(i) for i in range(few)]
    yield cell("decrypt", count=few, run=lambda: [private.decrypt(number) for number in fresh])
    many = [fresh[i % few] + i for i in range(size.many)]
    yield cell("add", count=size.many, run=lambda: [a + b for a, b in zip(many, many, strict=True)])
    yield cell("sum", count=size.many, run=lambda: sum(many[1:], many[0]))
    base = [fresh[i % few] for i in range(size.factors)]
    for bits in (20, 53):
        for sign, word in ((1, "positive"), (-1, "negative")):
            factors = (sign * np.abs(signed_words(bits, size.factors))).tolist()
            yield cell(
                f"times {bits} {word}",
                count=size.factors,
                run=partial(lambda xs: [a * x for a, x in zip(base, xs, strict=True)], factors),
            )
    yield from _phe_products(size, many)


def _phe_products(size: Size, numbers: list[phe.EncryptedNumber]) -> Iterator[Cell]:
    """Yield products of one column; what is yielded for a row of the table is per cell of the matrix."""
    tall = max(size.heights)
    rows, column = [numbers[i % len(numbers)] for i in range(tall)], floats(tall).tolist()
    run = partial(lambda a, x: sum((b * y for b, y in zip(a, x, strict=True)), 0), rows, column)
    yield Cell("product floats", "phe + gmpy2", tall, run)
    for bits in (30, 20):
        for height in size.heights:
            column, rows = signed_words(bits, height).tolist(), [numbers[i % len(numbers)] for i in range(height)]
            run = partial(lambda a, x: sum((b * y for b, y in zip(a, x, strict=True)), 0), rows, column)
            yield Cell(f"product {bits} {height}", "phe + gmpy2", height, run)


def floor_cells(size: Size) -> Iterator[Cell]:
    """Yield what GMP itself takes, called from a Python loop: the least that any code on top of it can take."""
    public, private = phe.generate_paillier_keypair(n_length=size.bits)
    n2, few = mpz(public.n) ** 2, max(1, size.encrypt // 20)
    state = gmpy2.random_state(3)
    numbers = [gmpy2.mpz_random(state, n2) for _ in range(size.many)]
    halves = [(mpz(prime) ** 2, mpz(prime) - 1) for prime in (private.p, private.q)]
    powers = [partial(gmpy2.powmod_base_list, [c % square for c in numbers[:few]], e, square) for square, e in halves]
    yield Cell("decrypt", FLOOR, few, lambda: [power() for power in powers])
    yield Cell("add", FLOOR, size.many, lambda: [a * b % n2 for a, b in zip(numbers, numbers, strict=True)])
    yield Cell("sum", FLOOR, size.many, partial(_product, numbers, n2))
    rows = [numbers[i % size.many] + i for i in range(size.histogram_rows)]
    bins = chosen_bins(size).T.tolist()
    yield Cell("histogram", FLOOR, size.histogram_rows * size.features, partial(_fill, rows, bins, size.bins, n2))


def _product(numbers: list[mpz], modulus: mpz) -> mpz:
    total = mpz(1)
    for number in numbers:
        total = total * number % modulus
    return total


def _fill(rows: list[mpz], bins: list[list[int]], count: int, modulus: mpz) -> None:
    """Multiply each row into its bin of each feature: one multiplication per feature-row."""
    for feature in bins:
        sums = [mpz(1)] * count
        for number, place in zip(rows, feature, strict=True):
            sums[place] = sums[place] * number % modulus


def fate_cells(size: Size) -> Iterator[Cell]:
    """Yield FATE's Rust, called as FATE's own tensors call it."""
    paillier = importlib.import_module("fate_utils").paillier
    cell = partial(Cell, who="fate_utils")
    yield cell("keygen", count=1, run=lambda: paillier.keygen(size.bits), varies=True)
    secret, key, coder = paillier.keygen(size.bits)
    few = max(1, size.encrypt // 20)
    plain = coder.encode_i64_vec(np.arange(few))
    yield cell("encrypt", count=few, run=lambda: key.encrypt_encoded(plain, True))
    fresh = key.encrypt_encoded(plain, True)
    insist(coder.decode_i64_vec(secret.decrypt_to_encoded(fresh)), list(range(few)), "fate_utils")
    yield cell("decrypt", count=few, run=lambda: secret.decrypt_to_encoded(fresh))

    def repeated(count: int) -> Any:
        return fresh.cat([fresh] * (-(-count // few) - 1)).slice(0, count)

    many, base = repeated(size.many), repeated(size.factors)
    yield cell("add", count=size.many, run=lambda: many.add(key, many))
    yield cell("sum", count=size.many, run=lambda: many.intervals_sum_with_step(key, [(0, size.many)], 1))
    for bits in (20, 53):
        for sign, word in ((1, "positive"), (-1, "negative")):
            factors = coder.encode_i64_vec(sign * np.abs(signed_words(bits, size.factors)))
            yield cell(f"times {bits} {word}", count=size.factors, run=partial(base.mul, key, factors))
    for bits in (30, 20):
        for height in size.heights:
            rows, column = repeated(height), coder.encode_i64_vec(signed_words(bits, height))
            run = partial(rows.rmatmul, key, column, [height, 1], [1, height])
            yield cell(f"product {bits} {height}", count=height, run=run)
    tall = max(size.heights)
    run = partial(repeated(tall).rmatmul, key, coder.encode_f64_vec(floats(tall)), [tall, 1], [1, tall])
    yield cell("product floats", count=tall, run=run)
    rows = repeated(size.histogram_rows)
    places = (chosen_bins(size) + size.bins * np.arange(size.features)).tolist()

    def histogram() -> None:
        paillier.CiphertextVector.zeros(size.bins * size.features).iupdate(rows, places, 1, key)

    yield cell("histogram", count=size.histogram_rows * size.features, run=histogram)


def pypaillier_cells(size: Size) -> Iterator[Cell]:
    """Yield pypaillier, with factors declared public as ours are; it makes safe primes."""
    paillier = importlib.import_module("paillier")
    cell = partial(Cell, who="pypaillier")
    yield cell("keygen", count=1, run=lambda: paillier.generate_keypair(size.bits), varies=True)
    public, secret = paillier.generate_keypair(size.bits)
    plain = list(range(max(1, size.encrypt // 2)))
    yield cell("encrypt", count=len(plain), run=lambda: paillier.encrypt_integers(public, plain))
    fresh = [bytes(blob) for blob in paillier.encrypt_integers(public, plain)]
    insist([int(number) for number in paillier.decrypt_many(secret, fresh)], plain, "pypaillier")
    few = fresh[: max(1, size.encrypt // 20)]
    yield cell("decrypt", count=len(few), run=lambda: paillier.decrypt_many(secret, few))
    many = (fresh * (-(-max(size.many, *size.heights) // len(fresh))))[: max(size.many, *size.heights)]
    pairs = [[i, (i + 1) % size.many] for i in range(size.many)]
    yield cell("add", count=size.many, run=lambda: paillier.add_blocks(public, many, pairs))
    yield cell("sum", count=size.many, run=lambda: paillier.add_many(public, many[: size.many]))
    for bits in (20, 53):
        for sign, word in ((1, "positive"), (-1, "negative")):
            factors = (sign * np.abs(signed_words(bits, size.factors))).tolist()
            run = partial(paillier.multiply_integers_public, public, many[: size.factors], factors)
            yield cell(f"times {bits} {word}", count=size.factors, run=run)

    def product(column: list[int]) -> None:
        scaled = paillier.multiply_integers_public(public, many[: len(column)], column)
        paillier.add_many(public, [bytes(blob) for blob in scaled])

    for bits in (30, 20):
        for height in size.heights:
            column = signed_words(bits, height).tolist()
            yield cell(f"product {bits} {height}", count=height, run=partial(product, column))
    rows = (fresh * (-(-size.histogram_rows // len(fresh))))[: size.histogram_rows]
    bins = chosen_bins(size)
    blocks = [np.flatnonzero(feature == b).tolist() for feature in bins.T for b in range(size.bins)]
    yield cell("histogram", count=bins.size, run=lambda: paillier.add_blocks(public, rows, blocks))


def heu_cells(size: Size) -> Iterator[Cell]:
    """Yield SecretFlow's HEU with its zpaillier schema; it makes safe primes."""
    heu, schema = importlib.import_module("heu.numpy"), importlib.import_module("heu.phe").SchemaType.ZPaillier
    cell = partial(Cell, who="sf-heu")
    yield cell("keygen", count=1, run=lambda: heu.setup(schema, size.bits), varies=True)
    kit = heu.setup(schema, size.bits)
    encryptor, decryptor, evaluator, coder = kit.encryptor(), kit.decryptor(), kit.evaluator(), kit.integer_encoder(1)

    def plain(values: NDArray[np.int64]) -> Any:
        return heu.array(np.ascontiguousarray(values), coder)

    values = np.arange(max(1, size.encrypt // 2))
    encoded, few = plain(values), max(1, size.encrypt // 20)
    yield cell("encrypt", count=len(values), run=lambda: encryptor.encrypt(encoded))
    fresh = encryptor.encrypt(encoded)
    insist(decryptor.decrypt(fresh).to_numpy(coder).tolist(), values.tolist(), "sf-heu")
    start, upright = fresh[:few], encryptor.encrypt(plain(values.reshape(-1, 1)))
    yield cell("decrypt", count=few, run=lambda: decryptor.decrypt(start))

    def repeated(count: int, source: Any = fresh) -> Any:
        index = [i % len(values) for i in range(count)]
        return source[index] if source is fresh else source[index, :]

    many, base = repeated(size.many), repeated(size.factors)
    yield cell("add", count=size.many, run=lambda: evaluator.add(many, many))
    yield cell("sum", count=size.many, run=lambda: evaluator.sum(many))
    for bits in (20, 53):
        for sign, word in ((1, "positive"), (-1, "negative")):
            factors = plain(sign * np.abs(signed_words(bits, size.factors)))
            yield cell(f"times {bits} {word}", count=size.factors, run=partial(evaluator.mul, base, factors))
    for bits in (30, 20):
        for height in size.heights:
            row = plain(signed_words(bits, (1, height)))
            run = partial(evaluator.matmul, row, repeated(height, upright))
            yield cell(f"product {bits} {height}", count=height, run=run)
    bins, everyone = chosen_bins(size).astype(np.int8), np.ones(size.histogram_rows, dtype=np.int8)
    rows = repeated(size.histogram_rows, upright)
    run = partial(evaluator.feature_wise_bucket_sum, rows, everyone, bins, size.bins, False)
    yield cell("histogram", count=bins.size, run=run)


PHE = Peer("phe + gmpy2", "phe", lambda bits: f"u^n for a random u of {bits} bits", phe_cells)
OTHERS = (
    Peer("fate_utils", "fate-utils", lambda bits: f"u^n for a random u of {bits} bits", fate_cells),
    Peer("pypaillier", "pypaillier", lambda bits: f"h^a, a of {bits // 2} bits", pypaillier_cells),
    Peer("sf-heu", "sf-heu", lambda bits: f"zpaillier: h^a, a of {bits // 2} bits", heu_cells),
)
