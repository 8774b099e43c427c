from __future__ import annotations

import asyncio
import importlib
import os
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from partyd.engine import pool as pool_module
from partyd.engine.pool import Pool, find
from partyd.errors import CryptoError, LocalProtocolError, TaskFailed
from partyd.federation.engine import Inline

psi = importlib.import_module("partyd.algorithms.psi")  # the package has the algorithm of the same name
SCALAR = bytes(range(32))


def with_pool(work: Callable[[Pool], Any], parallelism: int = 2) -> Any:
    async def run() -> Any:
        pool = Pool(parallelism)
        try:
            return await work(pool)
        finally:
            children = pool._children
            await pool.close()
            assert all(child.process.returncode is not None for child in children)

    return asyncio.run(run())


def parts(count: int = 9) -> list[bytes]:
    import msgpack

    return [msgpack.packb([SCALAR, *(b"%d-%d" % (part, row) for row in range(part + 1))]) for part in range(count)]


def outside(partition: bytes) -> bytes:
    return partition


@pytest.mark.parametrize("parallelism", [1, 2, 3])
def test_the_result_is_the_same_in_the_same_order_as_in_one_process(parallelism: int) -> None:
    expected = asyncio.run(Inline().map(psi.blind_part, parts()))
    assert with_pool(lambda pool: pool.map(psi.blind_part, parts()), parallelism) == expected
    assert with_pool(lambda pool: pool.map(psi.blind_part, parts(1)), parallelism) == expected[:1]
    assert with_pool(lambda pool: pool.map(psi.blind_part, []), parallelism) == []


@pytest.mark.parametrize("parallelism", [1, 2])
@pytest.mark.parametrize("function", [outside, lambda partition: partition, os.fsencode, psi.Found.to_bytes])
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
        with pytest.raises(TaskFailed, match=r"CryptoError: .*whole elements"):
            await pool.map(psi.reblind_part, [bytes(33), bytes(33), bytes(33)])
        assert await pool.map(psi.blind_part, parts()) == await Inline().map(psi.blind_part, parts())

    with_pool(work)


def test_a_killed_child_fails_the_map_and_another_takes_its_place() -> None:
    async def work(pool: Pool) -> None:
        await pool.map(psi.blind_part, parts(3))
        for child in list(pool._children):
            os.kill(child.process.pid, signal.SIGKILL)
        with pytest.raises(TaskFailed, match=r"died while computing partyd\.algorithms\.psi:blind_part"):
            await pool.map(psi.blind_part, parts())
        for _ in range(2):
            assert await pool.map(psi.blind_part, parts()) == await Inline().map(psi.blind_part, parts())
        assert len(pool._children) == 2

    with_pool(work)


def test_a_map_that_was_cancelled_leaves_no_answer_for_the_next_one() -> None:
    async def work(pool: Pool) -> None:
        await pool.map(psi.blind_part, parts(3))
        for turns in range(1, 30, 4):
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


def test_a_child_serves_until_its_owner_closes_the_pipe() -> None:
    import socket

    ours, theirs = socket.socketpair()
    name = b"partyd.algorithms.psi:reblind_part"
    ours.sendall(pool_module.PREFIX.pack(len(name), 33) + name + bytes(33))
    ours.shutdown(socket.SHUT_WR)
    pool_module.serve(theirs)
    theirs.close()
    failed, length = pool_module.PREFIX.unpack(ours.recv(pool_module.PREFIX.size, socket.MSG_WAITALL))
    assert failed == 1
    assert ours.recv(length, socket.MSG_WAITALL).startswith(b"CryptoError")
    ours.close()
