from __future__ import annotations

import itertools
import threading

import pytest

from partyd.crypto.encoding import Encoded, encode
from partyd.crypto.obfuscators import CAPACITY, ObfuscatorPool, encrypted, public_of
from partyd.crypto.paillier import PrivateKey, PublicKey
from partyd.crypto.prg import Prg
from partyd.crypto.work import decryption_s, obfuscator_s, product_s, table_s
from partyd.errors import EncodingOverflow


def full(pool: ObfuscatorPool) -> ObfuscatorPool:
    while pool.fill():
        pass
    return pool


@pytest.mark.parametrize("private", [True, False])
def test_obfuscators_are_encryptions_of_zero_each_given_out_once(insecure_key: PrivateKey, private: bool) -> None:
    pool = ObfuscatorPool(insecure_key if private else insecure_key.public)
    pool.want(50)
    taken = full(pool).take(30) + pool.take(30)
    assert len(taken) == len(set(taken)) == 50
    assert all(pow(r, int((insecure_key.p - 1) * (insecure_key.q - 1)), insecure_key.public.n2) == 1 for r in taken)
    assert pool.take(1) == []


def test_no_more_is_made_than_is_wanted_or_has_room(insecure_key: PrivateKey) -> None:
    pool = ObfuscatorPool(insecure_key, capacity=20)
    assert pool.fill() == 0
    pool.want(7)
    assert (pool.missing, len(full(pool))) == (7, 7)
    assert len(pool.take(3)) == 3
    assert (pool.wanted, pool.missing) == (4, 0)
    pool.want(1000)
    assert (pool.missing, len(full(pool)), pool.missing) == (16, 20, 0)
    pool.want(-1)
    assert (pool.wanted, pool.missing, len(pool)) == (0, 0, 20)
    assert len(pool.take(1000)) == 20


def test_a_piece_is_small_whatever_the_key(insecure_key: PrivateKey, full_size_key: PrivateKey) -> None:
    for key in (full_size_key, full_size_key.public, PublicKey(int(full_size_key.public.n), "full")):
        pool = ObfuscatorPool(key)
        pool.want(CAPACITY)
        assert pool._piece == max(1, int(0.006 / obfuscator_s(key)))
    quick = ObfuscatorPool(insecure_key)
    quick.want(3)
    assert quick.fill() == 3


def test_two_pools_of_one_key_share_nothing(insecure_key: PrivateKey) -> None:
    pools = [ObfuscatorPool(insecure_key) for _ in range(2)]
    for pool in pools:
        pool.want(100)
    assert len({r for pool in pools for r in full(pool).take(100)}) == 200


def test_threads_never_get_the_same(insecure_key: PrivateKey) -> None:
    pool, got, start = ObfuscatorPool(insecure_key), list[int](), threading.Barrier(4)
    pool.want(400)

    def take_and_fill() -> None:
        start.wait()
        for _ in range(60):
            pool.want(400)
            pool.fill()
            got.extend(int(r) for r in pool.take(5))

    threads = [threading.Thread(target=take_and_fill) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == len(set(got)) > 400


def test_an_encryption_under_an_obfuscator_is_that_of_the_formula(insecure_key: PrivateKey) -> None:
    key = insecure_key.public
    values = [0.0, 1.0, -1.0, 2.0**32, -(2.0**32), 1e-12]
    encoded, obfuscators = encode(values), key.obfuscators(len(values), Prg(bytes(32), "o"))
    vector = encrypted(key, encoded, obfuscators)
    formula = [(1 + m * key.n) * r % key.n2 for m, r in zip(encoded.integers, obfuscators, strict=True)]
    assert vector.raw() == formula
    assert vector.raw() == key.encrypt(values, Prg(bytes(32), "o")).raw()
    assert vector.fresh
    edge = [key.capacity, -key.capacity]
    extreme = encrypted(key, Encoded(edge, 0, key.capacity), obfuscators[:2])
    assert insecure_key.decrypt_integers(extreme) == edge
    with pytest.raises(EncodingOverflow):
        encrypted(key, Encoded([], 0, key.capacity + 1), [])


def test_a_vector_is_fresh_until_it_is_let_go_or_computed_with(insecure_key: PrivateKey) -> None:
    vector = insecure_key.encrypt([1.0, 2.0])
    assert vector.fresh
    assert not (vector + vector).fresh
    assert not vector[:1].fresh
    vector.rerandomised()
    assert not vector.fresh


def test_estimates_are_in_the_order_of_what_was_measured(full_size_key: PrivateKey) -> None:
    n = int(full_size_key.public.n)
    ways = [obfuscator_s(PublicKey(n, way)) for way in ("djn256", "djn448", "djn_half", "full")]
    assert all(a < b for a, b in itertools.pairwise(ways))
    assert 1e-4 < ways[1] < 1e-3
    assert 1e-3 < decryption_s(full_size_key) < 1e-2
    assert obfuscator_s(PrivateKey(int(full_size_key.p), int(full_size_key.q), "full")) < ways[3]
    assert table_s(PublicKey(n, "full")) == 0 < table_s(full_size_key)
    assert product_s(PublicKey(n**2)) > 2 * product_s(PublicKey(n))
    assert public_of(full_size_key) is full_size_key.public is public_of(full_size_key.public)
