from __future__ import annotations

import asyncio
import importlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partyd.algorithms.psi_result import Found
from partyd.crypto import parts as parts_module
from partyd.crypto.paillier import PublicKey, generate_keypair
from partyd.crypto.prg import Prg
from partyd.engine.child import SHELF_ITEMS, find
from partyd.engine.pool import Pool
from partyd.errors import CryptoError, LocalProtocolError, TaskFailed
from partyd.federation.engine import Inline

psi = importlib.import_module("partyd.algorithms.psi_points")  # the package has the algorithm of the same name
SCALAR = bytes(range(32))


def with_pool(work: Callable[[Pool], Any], parallelism: int = 2) -> Any:
    pids: list[int] = []

    async def run() -> Any:
        pool = Pool(parallelism)
        try:
            return await work(pool)
        finally:
            pids.extend(child.process.pid for child in pool._children)
            await pool.close()

    result = asyncio.run(run())
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    return result


def parts(count: int = 9) -> list[bytes]:
    import msgpack

    return [msgpack.packb([SCALAR, *(b"%d-%d" % (part, row) for row in range(part + 1))]) for part in range(count)]


def shared_key(which: int = 0) -> bytes:
    public, _ = generate_keypair(256, Prg(bytes(32), f"insecure {which}"), insecure_for_tests=True)
    return parts_module.key_to_bytes(public)


def product_of_powers(key: bytes, x: int) -> bytes:
    """Ask for 3^x modulo n^2."""
    public = parts_module.key_from_bytes(key)
    assert isinstance(public, PublicKey)
    base = (3).to_bytes(public.ciphertext_bytes, "big")
    return parts_module.asked(parts_module.MULTIPLY, 1, 1, base, parts_module.words_of(np.array([[x]])))


def outside(partition: bytes) -> bytes:
    return partition


@pytest.mark.parametrize("parallelism", [1, 2, 3])
def test_the_result_is_the_same_in_the_same_order_as_in_one_process(parallelism: int) -> None:
    expected = asyncio.run(Inline().map(psi.blind_part, parts()))
    assert with_pool(lambda pool: pool.map(psi.blind_part, parts()), parallelism) == expected
    assert with_pool(lambda pool: pool.map(psi.blind_part, parts(1)), parallelism) == expected[:1]
    assert with_pool(lambda pool: pool.map(psi.blind_part, []), parallelism) == []


@pytest.mark.parametrize("parallelism", [1, 2])
@pytest.mark.parametrize("function", [outside, lambda partition: partition, os.fsencode, Found.to_bytes])
def test_functions_from_elsewhere_are_refused(parallelism: int, function: Any) -> None:
    with pytest.raises(LocalProtocolError):
        with_pool(lambda pool: pool.map(function, [b"a", b"b"]), parallelism)


@pytest.mark.parametrize(
    "name", ["os:system", "partyd", "partyd.types:", "partyd.types:Nothing", "partyd.types:Role.x"]
)
def test_a_child_finds_functions_of_partyd_alone(name: str) -> None:
    with pytest.raises(LocalProtocolError):
        find(name)


def test_what_a_function_raises_is_told_and_the_pool_can_be_used_again() -> None:
    async def work(pool: Pool) -> None:
        with pytest.raises(CryptoError, match="whole elements"):
            await pool.map(psi.reblind_part, [bytes(33), bytes(33), bytes(33)])
        assert await pool.map(psi.blind_part, parts()) == await Inline().map(psi.blind_part, parts())

    with_pool(work)


def test_a_killed_child_fails_the_map_and_another_takes_its_place() -> None:
    async def work(pool: Pool) -> None:
        await pool.map(psi.blind_part, parts(3))
        for child in list(pool._children):
            os.kill(child.process.pid, signal.SIGKILL)
        with pytest.raises(TaskFailed, match=r"died while computing partyd\.algorithms\.psi_points:blind_part"):
            await pool.map(psi.blind_part, parts())
        for _ in range(2):
            assert await pool.map(psi.blind_part, parts()) == await Inline().map(psi.blind_part, parts())
        assert len(pool._children) == 2

    with_pool(work)


def test_a_map_that_was_cancelled_leaves_no_answer_for_the_next_one() -> None:
    async def work(pool: Pool) -> None:
        await pool.map(psi.blind_part, parts(3))
        for turns in range(1, 30, 7):
            cut_short = asyncio.create_task(pool.map(psi.blind_part, parts(6)))
            for _ in range(turns):
                await asyncio.sleep(0)
            cut_short.cancel()
            await asyncio.wait([cut_short])
            assert await pool.map(psi.blind_part, parts(4)) == await Inline().map(psi.blind_part, parts(4))

    with_pool(work)


def test_blinding_is_the_same_on_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psi, "PART_ROWS", 64)
    ids = np.array([b"id-%d" % i for i in range(300)]).tolist()
    inline = asyncio.run(psi.blind(Inline(), ids, SCALAR))
    twice = asyncio.run(psi.reblind(Inline(), inline, SCALAR[::-1], 300))
    monkeypatch.setattr(psi, "MANY", 100)
    assert with_pool(lambda pool: psi.blind(pool, ids, SCALAR)) == inline
    assert with_pool(lambda pool: psi.reblind(pool, inline, SCALAR[::-1], 300)) == twice


@pytest.mark.parametrize("many", [1, 1 << 30])
def test_a_repeated_or_invalid_element_is_refused_however_many_there_are(
    monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    good = asyncio.run(psi.blind(Inline(), [b"%d" % i for i in range(8)], SCALAR))
    monkeypatch.setattr(psi, "MANY", many)
    monkeypatch.setattr(psi, "PART_ROWS", 2)
    for bad in (good[:-32] + good[:32], good[:-1], good[:-32] + bytes(32), good[:-32] + b"\xff" * 32):
        with pytest.raises(CryptoError):
            asyncio.run(psi.reblind(Inline(), bad, SCALAR, 8))


def test_what_is_shared_comes_first_and_goes_to_a_child_that_does_not_have_it() -> None:
    keys = [shared_key(i) for i in range(SHELF_ITEMS + 1)]

    async def work(pool: Pool) -> None:
        for i, key in enumerate([keys[0], *keys, *keys]):
            partitions = [product_of_powers(key, x) for x in range(i, i + 4)]
            expected = await Inline().map(parts_module.multiply_part, partitions, key)
            assert await pool.map(parts_module.multiply_part, partitions, key) == expected

    with_pool(work)


def test_maps_at_the_same_time_share_the_children_there_may_be() -> None:
    async def work(pool: Pool) -> None:
        expected = await Inline().map(psi.blind_part, parts(4))
        found = await asyncio.gather(*(pool.map(psi.blind_part, parts(4)) for _ in range(4)))
        assert found == [expected] * 4
        assert len(pool._children) == 2
        with pytest.raises(TaskFailed, match=r"blind_part: .*Error"):
            await pool.map(psi.blind_part, [b"\xc1", b"\xc1"])  # no msgpack at all: no error of ours

    with_pool(work)
