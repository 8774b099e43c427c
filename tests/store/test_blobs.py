"""Blobs are named by what they hold, durable before their name stands, and collected when nobody refers to them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from partyd.errors import StoreCorrupt, StoreError
from partyd.store import BlobRef, Blobs
from tests.store.disk import watched
from tests.store.samples import opened, outgoing

DATA = b"data" * 1000
REF = BlobRef(hashlib.sha256(DATA).hexdigest(), len(DATA))


class Ticks:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
def blobs(tmp_path: Path, ticks: Ticks) -> Iterator[Blobs]:
    blobs = Blobs(tmp_path / "blobs", tmp_path / "spool", monotonic=ticks)
    blobs.prepare()
    yield blobs
    assert list((tmp_path / "spool").iterdir()) == []


def test_write_and_read(blobs: Blobs) -> None:
    assert blobs.write(DATA) == blobs.write(DATA) == REF.digest
    assert blobs.path(REF.digest).read_bytes() == DATA
    assert blobs.path(REF.digest).parent.name == REF.digest[:2]
    assert blobs.read(REF) == blobs.read(DATA) == DATA
    assert b"".join(blobs.chunks(REF, 7)) == DATA
    assert blobs.has(REF)
    assert not blobs.has(BlobRef(REF.digest, 1))


def test_content_is_synced_before_the_name(tmp_path: Path) -> None:
    with watched() as (watch, files, _):
        blobs = Blobs(tmp_path / "blobs", tmp_path / "spool", files)
        blobs.prepare()
        start = len(watch.ops)
        blobs.write(DATA)
    kinds = [op.kind for op in watch.ops[start:]]
    assert kinds == ["create", "write", "sync_dir", "sync", "rename", "sync_dir"]


def test_adopting_a_spooled_file(blobs: Blobs) -> None:
    for _ in range(2):
        spooled = blobs.spool_path()
        spooled.write_bytes(DATA)
        assert blobs.adopt(spooled, REF.digest) == REF
        assert not spooled.exists()
    assert blobs.read(REF) == DATA
    with pytest.raises(StoreError, match="adopting"):
        blobs.adopt(blobs.spool_path(), REF.digest)


def test_the_spool_is_emptied_at_the_start(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.blobs.spool_path().write_bytes(b"half a body")
    with opened(tmp_path):
        assert list((tmp_path / "spool").iterdir()) == []


def test_damage_is_noticed(blobs: Blobs) -> None:
    with pytest.raises(StoreCorrupt, match="missing"):
        blobs.verify(REF)
    blobs.write(DATA)
    blobs.verify(REF)
    with pytest.raises(StoreCorrupt, match="not what its name says"):
        blobs.verify(BlobRef(REF.digest, REF.size + 1))
    blobs.path(REF.digest).write_bytes(b"DATA" + DATA[4:])
    with pytest.raises(StoreCorrupt, match="not what its name says"):
        blobs.verify(REF)
    assert blobs.write(DATA) == REF.digest
    blobs.verify(REF)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63])
def test_only_digests_are_names(blobs: Blobs, name: str) -> None:
    with pytest.raises(StoreError, match="no SHA-256"):
        blobs.path(name)


def test_fresh_blobs_are_not_collected(blobs: Blobs, ticks: Ticks) -> None:
    blobs.write(DATA)
    other = blobs.write(b"other")
    assert blobs.collect([], grace_s=10) == 0
    ticks.now = 9
    blobs.keep(REF)
    ticks.now = 11
    assert blobs.collect([], grace_s=10) == 1
    assert blobs.has(REF)
    assert not blobs.path(other).exists()
    ticks.now = 20
    assert blobs.collect([REF.digest], grace_s=10) == 0
    assert blobs.collect([], grace_s=10) == 1


def test_the_store_collects_what_no_row_needs(tmp_path: Path) -> None:
    body = b"b" * 100_000
    with opened(tmp_path) as store:
        store.write_now(lambda t: t.post(outgoing(1), b"", body))
        orphan = store.blobs.write(b"orphan")
        assert asyncio.run(store.collect_blobs()) == 0
        assert asyncio.run(store.collect_blobs(grace_s=0)) == 1
        assert not store.blobs.path(orphan).exists()
        store.write_now(lambda t: t.acknowledge(outgoing(1).destination, [1]))
        store.blobs.write(b"orphan 2")
    with opened(tmp_path):
        assert list((tmp_path / "blobs").glob("??/*")) == []
