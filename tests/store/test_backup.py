"""Backups are one moment of a working store; a restored one is noticed by its new identity."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from partyd.errors import ConfigError, StoreCorrupt
from partyd.store import Store, restore
from partyd.store.backup import EPOCH_JUMP
from tests.store.samples import arrive, begin, body_of, finish_round, opened, outgoing, rounds_in

ROUNDS = 12


def _fill(store: Store, first: int = 1, last: int = ROUNDS) -> None:
    store.write_now(begin)
    for number in range(first, last + 1):
        store.write_now(arrive(number))
        store.write_now(finish_round(number))


def test_backup_and_restore(tmp_path: Path) -> None:
    with opened(tmp_path / "state", clock=lambda: 1000.0) as store:
        _fill(store)
        manifest = asyncio.run(store.backup_to(tmp_path / "backup"))
        _fill(store, ROUNDS + 1, ROUNDS + 3)
        assert (manifest.store_id, manifest.boot_epoch) == (store.store_id.hex(), 1000)
        old = store.store_id
    assert restore(tmp_path / "backup", tmp_path / "new", clock=lambda: 3000.0) == manifest
    with opened(tmp_path / "new", clock=lambda: 3000.0) as store:
        assert store.store_id != old
        assert store.boot_epoch > 3000 + EPOCH_JUMP
        assert store.read_now(rounds_in) == ROUNDS
        assert store.write_now(lambda t: t.post(outgoing(99), b"", b"x")).seq == ROUNDS + 1


def test_a_backup_is_one_moment_while_others_write(tmp_path: Path) -> None:
    async def run(store: Store) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(store.backup_to(tmp_path / "backup"))
            for number in range(ROUNDS + 1, ROUNDS + 20):
                await store.write(arrive(number))
                await store.write(finish_round(number))

    with opened(tmp_path / "state") as store:
        _fill(store)
        asyncio.run(run(store))
    restore(tmp_path / "backup", tmp_path / "new")
    with opened(tmp_path / "new") as store:
        assert store.read_now(rounds_in) >= ROUNDS


def test_a_backup_outlives_the_collection_of_blobs(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as store:
        store.write_now(lambda t: t.post(outgoing(5), b"", body_of(5)))
        asyncio.run(store.backup_to(tmp_path / "backup"))
        store.write_now(lambda t: t.acknowledge(outgoing(5).destination, [1]))
        assert asyncio.run(store.collect_blobs(grace_s=0)) == 1
    restore(tmp_path / "backup", tmp_path / "new")
    with opened(tmp_path / "new") as store:
        row = store.read_now(lambda r: r.unacknowledged(outgoing(5).destination))[0]
        assert store.read_now(lambda r: r.read_body(row.body)) == body_of(5)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as store:
        asyncio.run(store.backup_to(tmp_path / "backup"))
        with pytest.raises(ConfigError, match="exists"):
            asyncio.run(store.backup_to(tmp_path / "backup"))
        with pytest.raises(ConfigError, match="not empty"):
            restore(tmp_path / "backup", tmp_path / "state")
    assert not (tmp_path / "backup.partial").exists()


def test_a_damaged_blob_stops_the_backup(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as store:
        store.write_now(lambda t: t.post(outgoing(5), b"", body_of(5)))
        blob = next((tmp_path / "state" / "blobs").glob("??/*"))
        blob.write_bytes(b"x" * blob.stat().st_size)
        with pytest.raises(StoreCorrupt, match="no backup was made"):
            asyncio.run(store.backup_to(tmp_path / "backup"))
    assert not (tmp_path / "backup").exists()


def test_a_damaged_backup_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as store:
        _fill(store, last=5)
        asyncio.run(store.backup_to(tmp_path / "backup"))
    database, manifest = tmp_path / "backup" / "partyd.db", tmp_path / "backup" / "manifest.json"
    whole = database.read_bytes()
    database.write_bytes(whole[:-1] + b"\x01")
    with pytest.raises(StoreCorrupt, match="not what the manifest says"):
        restore(tmp_path / "backup", tmp_path / "new")
    database.write_bytes(whole)
    fields = json.loads(manifest.read_text())
    fields["files"]["../outside"] = fields["files"]["partyd.db"]
    manifest.write_text(json.dumps(fields))
    with pytest.raises(StoreCorrupt, match="lies outside"):
        restore(tmp_path / "backup", tmp_path / "new")
    manifest.write_text("{")
    with pytest.raises(StoreCorrupt, match="is damaged"):
        restore(tmp_path / "backup", tmp_path / "new")
    manifest.unlink()
    with pytest.raises(ConfigError, match="holds no manifest"):
        restore(tmp_path / "backup", tmp_path / "new")
    assert not (tmp_path / "new").exists()
