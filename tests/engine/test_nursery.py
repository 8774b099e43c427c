"""A nursery forks its own process, which a test run full of threads must not do: each test is a program of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import asyncio, os, signal, socket
from pathlib import Path
from partyd.algorithms.psi_points import blind_part
from partyd.engine.nursery import Nursery
from partyd.engine.pool import Pool
from partyd.errors import TaskFailed
from partyd.federation.engine import Inline
import msgpack

PARTS = [msgpack.packb([bytes(range(32)), b"%d" % i]) for i in range(6)]
EXPECTED = asyncio.run(Inline().map(blind_part, PARTS))

def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False

def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])

async def main(nursery):
    pool = Pool(2, nursery)
"""


def program(body: str, before: str = "nursery = Nursery.fork()") -> str:
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    text = f"{PROGRAM}{lines}\n{before}\nasyncio.run(main(nursery))\nprint('good')\n"
    return subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, timeout=60).stdout


@pytest.mark.parametrize("kills", [0, 1])
def test_forked_children_compute_and_end_with_their_pool(kills: int) -> None:
    body = f"""
assert await pool.map(blind_part, PARTS) == EXPECTED
pids = [child.process.pid for child in pool._children]
assert len(pids) == 2 and all(parent(pid) == nursery._pid for pid in pids)
for pid in pids[:{kills}]:
    os.kill(pid, signal.SIGKILL)
try:
    assert await pool.map(blind_part, PARTS) == EXPECTED and not {kills}
except TaskFailed as error:
    assert {kills} and "died while computing" in str(error)
assert await pool.map(blind_part, PARTS) == EXPECTED
pids += [child.process.pid for child in pool._children]
await pool.close()
assert not any(alive(pid) for pid in (*pids, nursery._pid))
"""
    assert program(body) == "good\n"


def test_a_dead_nursery_fails_the_map_and_says_so() -> None:
    body = """
os.kill(nursery._pid, signal.SIGKILL)
try:
    await pool.map(blind_part, PARTS)
except TaskFailed as error:
    assert "no process of the pool could be started" in str(error)
else:
    raise AssertionError
await pool.close()
"""
    assert program(body) == "good\n"


def test_children_do_not_hold_what_belongs_to_their_worker() -> None:
    body = """
assert await pool.map(blind_part, PARTS) == EXPECTED
theirs.close()
assert ours.recv(1) == b""
await pool.close()
"""
    before = "ours, theirs = socket.socketpair()\nnursery = Nursery.fork(close=[ours, theirs])"
    assert program(body, before) == "good\n"
