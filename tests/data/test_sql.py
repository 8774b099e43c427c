"""Tables and queries of databases: SQLite for the rules, a real PostgreSQL for the stream."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from partyd.data import sql_source
from partyd.data.formats import Format
from partyd.data.ingest import ingest
from partyd.data.orders import Kept, Order
from partyd.data.table import Table
from partyd.errors import DataError
from tests.data.mariadb import mariadb
from tests.data.postgres import Postgres, postgres

pytestmark = [pytest.mark.needs("sqlalchemy")]


def read(folder: Path, url: str, **said: object) -> tuple[Table, Kept]:
    target = folder / f"out{len(list(folder.iterdir()))}"
    order = Order.model_validate({"folder": target, "url": url, "shown_as": "source crm", **said})
    kept = ingest(order, lambda *_: None)
    return Table.load(target), kept


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    path = tmp_path / "crm.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE users (id TEXT, y INTEGER, age REAL, city TEXT)")
        rows = [("u1", 1, 30.5, "1"), ("u2", 0, None, "2"), ("u3", 1, 20, " 3 ")]
        database.executemany("INSERT INTO users VALUES (?, ?, ?, ?)", rows)
    database.close()
    return f"sqlite:///{path}"


def test_a_table_and_a_query(tmp_path: Path, sqlite: str) -> None:
    table, kept = read(tmp_path, sqlite, table="users")
    assert (table.schema.label, table.schema.features, kept.count) == ("y", ("age", "city"), 3)
    assert np.array_equal(table.features, [[30.5, 1], [np.nan, 2], [20, 3]], equal_nan=True)
    query = "SELECT id, age FROM users WHERE city <> ':x' AND y = 1 ORDER BY id;"
    table, _ = read(tmp_path, sqlite, query=query)
    assert (table.ids.tolist(), table.schema.features) == ([b"u1", b"u3"], ("age",))


def test_rows_come_in_batches(tmp_path: Path, sqlite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_source, "BATCH_ROWS", 1)
    table, _ = read(tmp_path, sqlite, table="users")
    assert len(table) == 3


def test_bad_rows_are_named_by_row(tmp_path: Path, sqlite: str) -> None:
    query = "SELECT id, 'x' || age AS a FROM users WHERE y = 1 UNION SELECT NULL, 1"
    with pytest.raises(DataError, match=r"source crm: row 1: an id is empty.*row 2: a holds 'x30\.5'"):
        read(tmp_path, sqlite, query=query)
    with pytest.raises(DataError, match="no rows"):
        read(tmp_path, sqlite, query="SELECT id, age FROM users WHERE 1 = 0")


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM users",
        "DROP TABLE users",
        "SELECT id, age FROM users; DROP TABLE users",
        "SELECT 1) ; DROP TABLE users; --",
        "PRAGMA query_only = OFF",
        "",
        "SELECT id FROM nobody",
    ],
)
def test_nothing_but_reading_is_done(tmp_path: Path, sqlite: str, query: str) -> None:
    with pytest.raises(DataError):
        read(tmp_path, sqlite, query=query)
    assert len(read(tmp_path, sqlite, table="users")[0]) == 3


def test_a_tables_name_is_a_name(tmp_path: Path, sqlite: str) -> None:
    for name in ('users"; DROP TABLE users; --', "users WHERE 1=1", "nobody"):
        with pytest.raises(DataError, match="source crm"):
            read(tmp_path, sqlite, table=name)
    assert len(read(tmp_path, sqlite, table="users")[0]) == 3


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "cannot be read; write it as"),
        ("oracle://u:very-secret@h/d", "no database that partyd reads"),
        ("postgresql://u:very-secret@/d?host=/nonexistent", "source crm"),
        ("mysql://u:very-secret@127.0.0.1:1/d", "source crm"),
        ("sqlite:////nonexistent/very-secret.db", "unable to open"),
    ],
)
@pytest.mark.needs("psycopg", "pymysql")
def test_a_password_is_never_said(tmp_path: Path, url: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as error:
        read(tmp_path, url, table="users")
    assert "very-secret" not in str(error.value)


def test_without_sqlalchemy_the_mend_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(DataError, match=r"pip install 'partyd\[sql\]'"):
        read(tmp_path, "sqlite://", table="users")


# -- a real server


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        running.psql(
            """
            CREATE TABLE big AS SELECT 'u' || i AS id, i % 2 = 0 AS y, i::float8 / 3 AS a, (i % 7)::numeric AS b,
                CASE WHEN i % 1000 = 0 THEN NULL ELSE i END AS c FROM generate_series(1, 200000) AS i;
            CREATE SCHEMA crm; CREATE TABLE crm."Odd Name" AS SELECT 1 AS id, 2::smallint AS a;
            CREATE TABLE uuids AS SELECT gen_random_uuid() AS id, date '2024-01-01' AS day, 1.5 AS a;
            """
        )
        yield running


@pytest.mark.needs("postgresql", "psycopg")
def test_a_real_postgresql(tmp_path: Path, server: Postgres) -> None:
    table, kept = read(tmp_path, server.url, query="SELECT * FROM big ORDER BY 1", form=Format(label="y"))
    assert (kept.count, table.schema.features, kept.table_schema.missing) == (200_000, ("a", "b", "c"), {"c": 200})
    place = table.ids.tolist().index(b"u7")
    assert table.features[place].tolist() == [7 / 3, 0, 7]
    assert table.require_label()[place] == 0
    table, _ = read(tmp_path, server.url, table="crm.Odd Name")
    assert (table.ids.tolist(), table.features.tolist()) == ([b"1"], [[2]])
    table, _ = read(tmp_path, server.url, query="SELECT id, a FROM uuids")
    assert len(table.ids[0]) == 36
    with pytest.raises(DataError, match="row 1: day holds '2024-01-01', which is no number"):
        read(tmp_path, server.url, table="uuids")


@pytest.mark.needs("postgresql", "psycopg")
@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM big RETURNING id, a",
        "WITH gone AS (DELETE FROM big RETURNING id, a) SELECT * FROM gone",
        "SELECT id, a FROM big FOR UPDATE",
        "SELECT setval('s', 1) AS id, 1 AS a",
    ],
)
def test_a_real_postgresql_is_only_read(tmp_path: Path, server: Postgres, query: str) -> None:
    server.psql("CREATE SEQUENCE IF NOT EXISTS s")
    with pytest.raises(DataError, match="source crm"):
        read(tmp_path, server.url, query=query)
    assert len(read(tmp_path, server.url, query="SELECT id, a FROM big")[0]) == 200_000


PEAK = """
import resource, sys
from pathlib import Path
from partyd.data.ingest import ingest
from partyd.data.orders import Order
kept = ingest(Order(folder=Path(sys.argv[1]), url=sys.argv[2], query=sys.argv[3]), lambda *_: None)
print(kept.count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.needs("postgresql", "psycopg")
def test_memory_does_not_grow_with_the_result(tmp_path: Path, server: Postgres) -> None:
    peaks = []
    for rows in (20_000, 400_000):
        query = f"SELECT 'u' || i AS id, i AS a, i AS b, i AS c, i AS d FROM generate_series(1, {rows}) AS i"
        command = [sys.executable, "-c", PEAK, str(tmp_path / str(rows)), server.url, query]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
        count, peak_mib = map(int, done.stdout.split())
        assert count == rows
        peaks.append(peak_mib)
    assert peaks[1] < peaks[0] + 100


@pytest.mark.needs("mariadbd", "pymysql")
def test_a_real_mariadb(tmp_path: Path) -> None:
    with mariadb() as server:
        server.run(
            """
            CREATE DATABASE crm; USE crm;
            CREATE TABLE users (id VARCHAR(20), y BOOLEAN, a DECIMAL(10, 3), b DOUBLE);
            INSERT INTO users SELECT CONCAT('u', seq), seq % 2, seq / 8, seq FROM seq_1_to_30000;
            UPDATE users SET b = NULL WHERE y = 0;
            CREATE USER reader@localhost IDENTIFIED BY 'a-secret-word'; GRANT ALL ON crm.* TO reader@localhost;
            """
        )
        table, kept = read(tmp_path, server.url, table="users", form=Format(label="y"))
        assert (kept.count, kept.table_schema.missing) == (30_000, {"b": 15_000})
        assert table.features[table.ids.tolist().index(b"u9")].tolist() == [1.125, 9]
        for query in ("DELETE FROM users", "SELECT id, a FROM users; DELETE FROM users", "SELECT id, b FROM nobody"):
            with pytest.raises(DataError, match=r"source crm|one SELECT") as error:
                read(tmp_path, server.url, query=query)
            assert "a-secret-word" not in str(error.value)
        assert read(tmp_path, server.url, query="SELECT id, a FROM users WHERE y = 1")[1].count == 15_000


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1) AS a INTO OUTFILE '/tmp/x' -- ",
        "SELECT 1) AS a /*!50000INTO OUTFILE '/tmp/x'*/ -- ",
        "SELECT 1 AS id\nInTo\tcopy",
    ],
)
def test_a_query_that_would_write_is_refused(tmp_path: Path, sqlite: str, query: str) -> None:
    with pytest.raises(DataError, match="leave INTO out"):
        read(tmp_path, sqlite, query=query)


def test_a_name_with_into_in_it_is_a_name(tmp_path: Path, sqlite: str) -> None:
    assert len(read(tmp_path, sqlite, query="SELECT id, age AS pinto_into_x FROM users")[0]) == 3
