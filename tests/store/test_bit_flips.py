"""Damaged files are noticed or harmless (F11); the campaign makes 1,000."""

from __future__ import annotations

import shutil
from pathlib import Path

import apsw
import pytest

from partyd.errors import StoreCorrupt
from partyd.store import BlobRef
from partyd.store.highwater import recorded
from tests.campaigns import bit_flips
from tests.store.samples import THERE, begin, open_store, opened, outgoing, post

Made = tuple[Path, Path, bit_flips.Dump]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return bit_flips.make(tmp_path_factory.mktemp("flips"))


@pytest.mark.parametrize("seed", range(100))
def test_a_flip_is_noticed_or_harmless(made: Made, seed: int, tmp_path: Path) -> None:
    source = made[:2][seed % 2]
    assert bit_flips.outcome(source, made[2], seed, tmp_path / "state") in {"detected", "harmless"}


def test_the_undamaged_copies_say_what_was_written(made: Made, tmp_path: Path) -> None:
    for source in made[:2]:
        with opened(source) as store:
            assert store.read_now(bit_flips.dump) == made[2]


def _kill(directory: Path, target: Path) -> None:
    """Leave ``target`` as a kill -9 would, with three commits in the log."""
    with opened(directory) as store:
        for number in range(3):
            store.write_now(post(number, b"x" * 100))
        shutil.copytree(directory, target)


def test_a_truncated_log_is_noticed(tmp_path: Path) -> None:
    _kill(tmp_path / "live", tmp_path / "state")
    log = tmp_path / "state" / "partyd.db-wal"
    log.write_bytes(log.read_bytes()[:-4096])
    with pytest.raises(StoreCorrupt, match=r"was acknowledged: the log partyd\.db-wal"):
        open_store(tmp_path / "state")


def test_a_removed_log_is_noticed(tmp_path: Path) -> None:
    _kill(tmp_path / "live", tmp_path / "state")
    (tmp_path / "state" / "partyd.db-wal").unlink()
    with pytest.raises(StoreCorrupt):
        open_store(tmp_path / "state")


def test_a_removed_database_is_noticed_and_nothing_is_created(tmp_path: Path) -> None:
    with opened(tmp_path):
        pass
    (tmp_path / "partyd.db").unlink()
    with pytest.raises(StoreCorrupt, match="missing or empty"):
        open_store(tmp_path)
    assert not (tmp_path / "partyd.db").exists()


def test_files_of_two_stores_are_noticed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with opened(tmp_path / name):
            pass
    (tmp_path / "a" / "commits").write_bytes((tmp_path / "b" / "commits").read_bytes())
    with pytest.raises(StoreCorrupt, match="files of two stores are mixed"):
        open_store(tmp_path / "a")


def test_the_error_says_where_the_copy_is_and_how_to_restore(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.write_now(begin)
    database = tmp_path / "partyd.db"
    broken = b"\0" * 100 + database.read_bytes()[100:]
    database.write_bytes(broken)
    for _ in range(2):
        with pytest.raises(StoreCorrupt, match="partyd restore BACKUP --state") as raised:
            open_store(tmp_path)
    copies = list((tmp_path / "quarantine").glob("*/partyd.db"))
    assert [copy.read_bytes() for copy in copies] == [broken]
    assert str(copies[0].parent) in str(raised.value)
    assert str(database) in str(raised.value)


def test_a_missing_blob_is_noticed_at_start_and_a_changed_one_when_read(tmp_path: Path) -> None:
    body = b"b" * 100_000
    with opened(tmp_path) as store:
        store.write_now(lambda t: t.post(outgoing(1), b"", body))
        row = store.read_now(lambda r: r.unacknowledged(THERE))[0]
        assert isinstance(row.body, BlobRef)
        path = store.blobs.path(row.body.digest)
    path.write_bytes(b"B" + body[1:])
    with opened(tmp_path) as store, pytest.raises(StoreCorrupt, match="content is not what its name says"):
        store.read_now(lambda r: r.read_body(row.body))
    path.write_bytes(body[1:])
    with pytest.raises(StoreCorrupt, match="missing or has another size"):
        open_store(tmp_path)


def test_a_changed_value_is_noticed_after_an_unclean_stop_and_when_read(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.write_now(begin)
    connection = apsw.Connection(str(tmp_path / "partyd.db"))
    connection.execute("UPDATE jobs SET status = 'success'")
    connection.close()
    with pytest.raises(StoreCorrupt, match="row job-1 of table jobs is damaged"):
        open_store(tmp_path)


def test_a_value_changed_under_a_running_store_is_noticed(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.write_now(begin)
        connection = apsw.Connection(str(tmp_path / "partyd.db"))
        connection.execute("UPDATE jobs SET status = 'success'")
        connection.close()
        with pytest.raises(StoreCorrupt, match="sum does not match"):
            store.read_now(lambda r: r.jobs())


def test_a_changed_schema_is_noticed(tmp_path: Path) -> None:
    with opened(tmp_path):
        pass
    connection = apsw.Connection(str(tmp_path / "partyd.db"))
    connection.execute("DROP INDEX inbox_control")
    connection.close()
    with pytest.raises(StoreCorrupt, match="schema is not that of version 1"):
        open_store(tmp_path)


def test_a_damaged_high_water_mark_is_no_proof_and_no_harm(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.write_now(begin)
    (tmp_path / "commits").write_bytes(b"\xff" * 28)
    assert recorded(tmp_path / "commits") is None
    with opened(tmp_path) as store:
        assert len(store.read_now(lambda r: r.jobs())) == 1
    assert recorded(tmp_path / "commits") is not None
