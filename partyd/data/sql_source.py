"""Tables and queries of a database, read in a stream through SQLAlchemy; needs the extra ``sql``.

The URL comes from the site's own configuration. Whatever is asked for is wrapped in ``SELECT * FROM (...)`` and run in
a transaction that may only read, through a cursor at the server: neither this process nor the driver holds the result.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from partyd.data.blocks import BadRows, Columns
from partyd.data.formats import Format
from partyd.data.typed import TypedRows, Values
from partyd.errors import DataError

if TYPE_CHECKING:
    from sqlalchemy import CursorResult
    from sqlalchemy.engine import Connection, Engine

BATCH_ROWS = 10_000
DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql"}
"""What a URL without a driver means."""
KNOWN = ("postgresql+psycopg", "mysql+pymysql", "mariadb+pymysql", "sqlite")
_INTO = re.compile(r"(?<![a-z_])into(?![a-z_0-9])", re.IGNORECASE)
"""A read-only transaction lets MySQL write files all the same; also as ``/*!50000INTO*/``, which it carries out."""


@contextlib.contextmanager
def open_query(
    url: str, query: str, table: str, form: Format, bad: BadRows, max_columns: int, sid_prefix: str
) -> Iterator[TypedRows]:
    """Give the rows of a query or table; raises DataError that names the source and never its password."""
    try:
        from sqlalchemy import exc
    except ImportError as error:
        raise DataError(
            "reading from a database needs SQLAlchemy and a driver: pip install 'partyd[sql]' where partyd runs"
        ) from error
    try:
        with _connected(url) as connection:
            result = connection.execution_options(stream_results=True, yield_per=BATCH_ROWS).execute(
                _statement(connection, query, table)
            )
            columns = Columns.find(list(result.keys()), form, bad.where, max_columns)
            yield TypedRows(columns, _batches(result), form, bad, sid_prefix)
    except exc.SQLAlchemyError as error:
        raise DataError(f"{bad.where}: {_said(error, url)}") from error


@contextlib.contextmanager
def _connected(url: str) -> Iterator[Connection]:
    engine = _engine(url)
    try:
        with engine.connect() as connection:
            _only_read(connection)
            yield connection
            connection.rollback()
    finally:
        engine.dispose()


def _engine(url: str) -> Engine:
    from sqlalchemy import create_engine, exc, make_url
    from sqlalchemy.pool import NullPool

    try:
        parsed = make_url(url.strip())
    except exc.ArgumentError:
        raise DataError(
            "the source's URL cannot be read; write it as postgresql://USER:PASSWORD@HOST/DATABASE"
        ) from None
    name = DRIVERS.get(parsed.drivername, parsed.drivername)
    if name not in KNOWN:
        raise DataError(f"{name[:40]!r} is no database that partyd reads; known: {', '.join(KNOWN)}")
    try:
        return create_engine(parsed.set(drivername=name), poolclass=NullPool, hide_parameters=True)
    except ImportError as error:
        raise DataError(f"the driver of {name} is not installed: pip install 'partyd[sql]'") from error


def _only_read(connection: Connection) -> None:
    from sqlalchemy import text

    match connection.dialect.name:
        case "sqlite":
            connection.execute(text("PRAGMA query_only = ON"))
        case "postgresql":
            connection.execute(text("SET TRANSACTION READ ONLY"))
        case _:
            connection.execute(text("SET SESSION TRANSACTION READ ONLY"))
            connection.rollback()


def _statement(connection: Connection, query: str, table: str) -> Any:
    from sqlalchemy import literal_column, select, text

    if table:
        parts = [connection.dialect.identifier_preparer.quote_identifier(part) for part in table.split(".")]
        return select(literal_column("*")).select_from(text(".".join(parts)))
    body = query.strip().removesuffix(";")
    if ";" in body:
        raise DataError("a query is one SELECT without ';'")
    if _INTO.search(body):
        raise DataError("a query is a SELECT that writes nothing: leave INTO out")
    # no parameters are bound: a colon in the query is the query's own
    return text(f"SELECT * FROM (\n{body.replace(':', chr(92) + ':')}\n) AS partyd_source")  # noqa: S608


def _batches(result: CursorResult[Any]) -> Iterator[list[Values]]:
    for rows in result.partitions(BATCH_ROWS):
        yield [list(column) for column in zip(*rows, strict=True)]


def _said(error: Exception, url: str) -> str:
    """Return the first line of what the database said, without the password, should it be there."""
    from sqlalchemy import make_url

    said = str(getattr(error, "orig", None) or error).strip().split("\n")[0][:400]
    password = make_url(url.strip()).password
    return said.replace(str(password), "***") if password else said
