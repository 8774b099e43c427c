"""Schemas only go forward, in one transaction, with a copy kept."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from partyd.errors import ConfigError
from partyd.store import migrations
from tests.store.samples import begin, open_store, opened

NEXT = "ALTER TABLE jobs ADD COLUMN note TEXT; CREATE TABLE extra (a INTEGER) STRICT;"


def test_a_newer_store_is_refused_with_advice(tmp_path: Path) -> None:
    with opened(tmp_path):
        pass
    connection = apsw.Connection(str(tmp_path / "partyd.db"))
    connection.pragma("user_version", 9)
    connection.close()
    with pytest.raises(ConfigError, match="has schema 9, this partyd knows up to 1: install the newer"):
        open_store(tmp_path)


def test_a_step_keeps_a_copy_of_what_was(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.write_now(begin)
    path = tmp_path / "partyd.db"
    connection = apsw.Connection(str(path))
    steps = (*migrations.STEPS, NEXT)
    assert migrations.migrate(connection, path, steps) == 1
    assert migrations.migrate(connection, path, steps) == 2
    migrations.check_schema(connection, path, steps)
    assert connection.execute("SELECT job, note FROM jobs").fetchall() == [("job-1", None)]
    connection.close()
    copy = apsw.Connection(str(tmp_path / "partyd.db.schema-1"))
    assert migrations.version_of(copy) == 1
    assert copy.execute("SELECT count(*) FROM jobs").fetchall() == [(1,)]
    copy.close()


def test_a_failing_step_changes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path):
        pass
    path = tmp_path / "partyd.db"
    connection = apsw.Connection(str(path))
    with pytest.raises(apsw.SQLError):
        migrations.migrate(connection, path, (*migrations.STEPS, NEXT + " CREATE TABLE extra (b INTEGER);"))
    assert migrations.version_of(connection) == 1
    migrations.check_schema(connection, path)
    connection.close()
    with opened(tmp_path) as store:
        assert store.is_alive
