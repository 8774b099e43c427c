from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest

from partyd.crypto.histogram import histograms
from partyd.crypto.packing import pack
from partyd.crypto.paillier import CipherVector, PrivateKey, PublicKey, generate_keypair
from partyd.crypto.prg import Prg
from partyd.engine.pool import name_of
from partyd.errors import CryptoError, EncodingOverflow
from partyd.federation import cipher_engine
from partyd.federation.cipher_engine import CipherEngine
from partyd.federation.engine import Inline

RANDOM = np.random.default_rng(5)
VALUES = RANDOM.normal(size=23)


@cache
def key() -> PrivateKey:
    return generate_keypair(512, Prg(bytes(32), "insecure"), insecure_for_tests=True)[1]


class Cut(Inline):
    """An engine of several processes that computes in this one, and tells how it was asked."""

    def __init__(self, parallelism: int) -> None:
        self.parallelism = parallelism
        self.asked: list[tuple[str, int]] = []

    async def map(
        self, function: Callable[..., bytes], partitions: Sequence[bytes], shared: bytes = b""
    ) -> list[bytes]:
        assert shared
        self.asked.append((name_of(function).rpartition(":")[2], len(partitions)))
        return await super().map(function, partitions, shared)


@pytest.fixture(params=[1, 2, 3, 8])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Cut:
    monkeypatch.setattr(cipher_engine, "WORTH_S", 0.0)
    monkeypatch.setattr(cipher_engine, "TABLES_PAY", 0.0)
    return Cut(request.param)


def stream() -> Prg:
    return Prg(bytes(32), "engine")


def same(found: CipherVector, expected: CipherVector) -> None:
    assert found.raw() == expected.raw()
    assert (found.key, found.exponent, found.bound) == (expected.key, expected.exponent, expected.bound)


def parted(engine: Cut, function: str) -> None:
    """The work was done in parts if there is more than one process."""
    assert [name for name, _ in engine.asked] == [function] * (engine.parallelism > 1)
    assert all(count <= 2 * engine.parallelism for _, count in engine.asked)


def keys(way: str) -> list[PrivateKey | PublicKey]:
    n, p, q = int(key().public.n), int(key().p), int(key().q)
    return [PrivateKey(p, q, way), PublicKey(n, way)]  # type: ignore[arg-type]


@pytest.mark.parametrize("way", ["djn448", "full"])
@pytest.mark.parametrize("which", [0, 1])
def test_encryption_is_that_of_the_plain_call(engine: Cut, way: str, which: int) -> None:
    ours, ciphers = keys(way)[which], CipherEngine(engine)
    vector = asyncio.run(ciphers.encrypt(ours, VALUES, stream(), exponent=-30, magnitude=16.0))
    same(vector, ours.encrypt(VALUES, stream(), exponent=-30, magnitude=16.0))
    parted(engine, "encrypt_part")
    assert vector.fresh
    integers = asyncio.run(ciphers.encrypt_integers(ours, [1, -1, 2**40 - 1], 40, stream(), exponent=-3))
    same(integers, ours.encrypt_integers([1, -1, 2**40 - 1], 40, stream(), exponent=-3))
    with pytest.raises(EncodingOverflow):
        asyncio.run(ciphers.encrypt_integers(ours, [2**40], 40))
    with pytest.raises(EncodingOverflow):
        asyncio.run(ciphers.encrypt_integers(ours, [], 512))


def test_hiding_is_that_of_the_plain_call(engine: Cut) -> None:
    vector, ciphers = key().encrypt(VALUES, stream()), CipherEngine(engine)
    assert asyncio.run(ciphers.rerandomised(vector)) == key().encrypt(VALUES, stream()).rerandomised()
    assert engine.asked == []
    assert not vector.fresh
    assert asyncio.run(ciphers.rerandomised(vector, stream())) == vector.rerandomised(stream())
    parted(engine, "hide_part")


def test_decryption_is_that_of_the_plain_call(engine: Cut) -> None:
    vector, ciphers = key().encrypt(VALUES), CipherEngine(engine)
    assert asyncio.run(ciphers.decrypt_integers(key(), vector)) == key().decrypt_integers(vector)
    parted(engine, "decrypt_part")
    assert np.array_equal(asyncio.run(ciphers.decrypt(key(), vector)), key().decrypt(vector))
    lying = CipherVector(vector.key, vector.raw(), vector.exponent, 3)
    with pytest.raises(CryptoError, match="exceeds the 2 bits"):
        asyncio.run(ciphers.decrypt_integers(key(), lying))
    other = generate_keypair(512, Prg(bytes(32), "other"), insecure_for_tests=True)[1]
    with pytest.raises(CryptoError, match="another key"):
        asyncio.run(ciphers.decrypt_integers(other, vector))


def test_residues_are_those_of_the_plain_call(engine: Cut) -> None:
    vector, ciphers = key().encrypt(VALUES), CipherEngine(engine)
    found = asyncio.run(ciphers.decrypt_residues(key(), vector))
    assert found == [value % int(key().public.n) for value in key().decrypt_integers(vector)]
    parted(engine, "residues_part")
    other = generate_keypair(512, Prg(bytes(32), "other"), insecure_for_tests=True)[1]
    with pytest.raises(CryptoError, match="another key"):
        asyncio.run(ciphers.decrypt_residues(other, vector))


@pytest.mark.parametrize("shape", [(5, 23), (1, 23), (40, 23)])
def test_a_product_is_that_of_the_plain_call(engine: Cut, shape: tuple[int, int]) -> None:
    vector, matrix, ciphers = key().encrypt(VALUES), RANDOM.normal(size=shape), CipherEngine(engine)
    same(asyncio.run(ciphers.premultiplied(vector, matrix, -20)), vector.premultiplied(matrix, -20))
    parted(engine, "multiply_part")
    whole = (matrix * 100).astype(np.int64)
    same(asyncio.run(ciphers.premultiplied(vector, whole)), whole @ vector)
    for bad, error in ((matrix[:, 1:], CryptoError), (matrix[0], CryptoError), (matrix * 2.0**40, EncodingOverflow)):
        with pytest.raises(error):
            asyncio.run(ciphers.premultiplied(vector, bad))
    short = key().encrypt_integers([0] * 23, 480)
    with pytest.raises(EncodingOverflow):
        asyncio.run(ciphers.premultiplied(short, matrix))


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("rows", [None, np.array([3, 20, 7, 7, 0]), np.array([], dtype=np.intp)])
def test_histograms_are_those_of_the_plain_call(
    engine: Cut, monkeypatch: pytest.MonkeyPatch, rows: np.ndarray[Any, Any] | None, large: bool
) -> None:
    if large:
        monkeypatch.setattr(cipher_engine, "SHARED_BYTES", 0)
    vector, bins, ciphers = key().encrypt(VALUES), RANDOM.integers(-1, 4, size=(23, 6)), CipherEngine(engine)
    found, expected = asyncio.run(ciphers.histograms(vector, bins, 4, rows)), histograms(vector, bins, 4, rows)
    assert found.shape == expected.shape == (6, 4)
    same(found.vector, expected.vector)
    if rows is None or len(rows):
        parted(engine, "sums_part" if large else "histograms_part")
    beyond = [] if rows is not None and not len(rows) else [bins + 4]
    for bad in (bins[:, 0], bins[1:], *beyond):
        with pytest.raises(CryptoError):
            asyncio.run(ciphers.histograms(vector, bad, 4, rows))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 23])
def test_packing_is_that_of_the_plain_call(engine: Cut, count: int) -> None:
    vector, ciphers = key().encrypt_integers(list(range(-11, 12))[:count], 90), CipherEngine(engine)
    found, expected = asyncio.run(ciphers.pack(vector)), pack(vector)
    same(found, expected)


def test_small_work_stays_in_this_process() -> None:
    engine = Cut(8)
    ciphers, vector = CipherEngine(engine), key().encrypt(VALUES)

    async def work() -> None:
        await ciphers.rerandomised(await ciphers.encrypt(key().public, VALUES) + vector)
        await ciphers.decrypt_integers(key(), await ciphers.premultiplied(vector, RANDOM.normal(size=(3, 23))))
        await ciphers.pack((await ciphers.histograms(vector, RANDOM.integers(0, 2, size=(23, 2)), 2)).vector)

    asyncio.run(work())
    assert engine.asked == []


def test_large_work_goes_out_in_partitions_that_are_not_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, vector = Cut(2), key().encrypt(VALUES)
    monkeypatch.setattr(cipher_engine, "WORTH_S", 0.0)
    monkeypatch.setattr(cipher_engine, "MOST_ROWS", 5)
    ciphers = CipherEngine(engine)
    assert asyncio.run(ciphers.decrypt_integers(key(), vector)) == key().decrypt_integers(vector)
    assert engine.asked == [("decrypt_part", 5)]


def test_children_make_obfuscators_only_where_their_tables_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, public = Cut(2), key().public
    monkeypatch.setattr(cipher_engine, "WORTH_S", 1e-6)
    ciphers = CipherEngine(engine)
    asyncio.run(ciphers.encrypt(public, VALUES))
    assert engine.asked == []
    ciphers.expect(public, 10**7)
    asyncio.run(ciphers.encrypt(public, VALUES))
    ciphers.expect(public, 0)
    asyncio.run(ciphers.encrypt(public, VALUES))
    assert engine.asked == [("encrypt_part", 4)] * 2


# -- the pool -------------------------------------------------------------------------------------


def filled(ciphers: CipherEngine, wanted: int, of: PrivateKey | PublicKey) -> None:
    ciphers.expect(of, wanted)
    while ciphers.fill():
        assert ciphers.lacks or len(ciphers._pools) >= 1


@pytest.mark.parametrize("warm", [0, 5, 23, 60])
def test_what_the_pool_lacks_is_computed(engine: Cut, warm: int) -> None:
    ciphers = CipherEngine(engine)
    filled(ciphers, warm, key())
    vector = asyncio.run(ciphers.encrypt(key().public, VALUES))
    assert np.allclose(key().decrypt(vector), VALUES, atol=1e-11)
    same(vector[:0], key().encrypt(VALUES[:0]))
    sum_ = vector + vector
    sent = asyncio.run(ciphers.rerandomised(sum_))
    assert np.allclose(key().decrypt(sent.under(key().public)), 2 * VALUES, atol=1e-11)
    ratios = {
        int(a * pow(b, -1, key().public.n2) % key().public.n2) for a, b in zip(sent.values, sum_.raw(), strict=True)
    }
    assert len(ratios) == 23


def test_the_same_numbers_are_never_encrypted_the_same_without_a_stream(engine: Cut) -> None:
    ciphers = CipherEngine(engine)
    filled(ciphers, 10, key())
    seen = [asyncio.run(ciphers.encrypt(key().public, VALUES)).raw() for _ in range(3)]
    assert len({int(c) for some in seen for c in some}) == 3 * 23


def test_a_stream_is_asked_for_its_own_randomness_alone() -> None:
    ciphers = CipherEngine(Inline())
    filled(ciphers, 30, key())
    same(asyncio.run(ciphers.encrypt(key(), VALUES, stream())), key().encrypt(VALUES, stream()))
    ((_, pool),) = ciphers._pools.items()
    assert len(pool) == 30


def test_obfuscators_of_one_kind_do_not_stand_for_another_and_old_keys_are_forgotten() -> None:
    ciphers = CipherEngine(Inline())
    weak, strong = PublicKey(int(key().public.n), "djn256"), PublicKey(int(key().public.n), "full")
    filled(ciphers, 30, weak)
    asyncio.run(ciphers.encrypt(strong, VALUES))
    ((_, pool),) = ciphers._pools.items()
    assert len(pool) == 30
    for i in range(cipher_engine.MOST_KEYS):
        ciphers.expect(generate_keypair(128, Prg(bytes(32), f"insecure {i}"), insecure_for_tests=True)[0], 1)
    assert len(ciphers._pools) == cipher_engine.MOST_KEYS
    assert pool not in ciphers._pools.values()


def test_filling_says_when_there_is_nothing_more_to_do() -> None:
    ciphers = CipherEngine(Inline())
    assert not ciphers.lacks
    assert not ciphers.fill()
    ciphers.expect(key(), 3)
    assert ciphers.lacks
    assert ciphers.fill()
    assert not ciphers.lacks
    assert not ciphers.fill()
