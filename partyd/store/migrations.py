"""Bring a database's schema up to date: forward only, all steps in one transaction.

Step ``n`` (counted from 0) leads from version ``n`` to ``n + 1``. Steps of a released version are never edited.
Before an existing store is changed, a copy is made with ``VACUUM INTO`` beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import apsw

from partyd.errors import ConfigError, StoreCorrupt

STEPS: tuple[str, ...] = ((resources.files("partyd.store") / "schema_1.sql").read_text("utf-8"),)
APPLICATION_ID = 0x50545944
"""``PTYD``: tells our files from other SQLite databases."""


def version_of(connection: apsw.Connection) -> int:
    """Return the schema's version, 0 for an empty file."""
    return int(connection.pragma("user_version") or 0)


def migrate(connection: apsw.Connection, path: Path, steps: Sequence[str] = STEPS) -> int:
    """Apply the steps that are missing and return the version found before.

    Raises ConfigError for a store written by a newer partyd.
    """
    refuse_newer(connection, path, steps)
    found = version_of(connection)
    if found == len(steps):
        return found
    if found:
        _keep_copy(connection, path.with_name(f"{path.name}.schema-{found}"))
    with connection:
        for step in steps[found:]:
            connection.execute(step)
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", len(steps))
    return found


def refuse_newer(connection: apsw.Connection, path: Path, steps: Sequence[str] = STEPS) -> None:
    """Raise ConfigError for a store written by a newer partyd."""
    found = version_of(connection)
    if found > len(steps):
        raise ConfigError(
            f"{path} has schema {found}, this partyd knows up to {len(steps)}: install the newer partyd again, "
            "or restore a backup made by this version"
        )


def _keep_copy(connection: apsw.Connection, copy: Path) -> None:
    copy.unlink(missing_ok=True)
    connection.execute("VACUUM INTO ?", (str(copy),))


def check_schema(connection: apsw.Connection, path: Path, steps: Sequence[str] = STEPS) -> None:
    """Compare the schema as stored with the one its version should have; raises StoreCorrupt."""
    version = version_of(connection)
    expected = apsw.Connection(":memory:")
    try:
        for step in steps[:version]:
            expected.execute(step)
        is_same = _listing(connection) == _listing(expected)
    finally:
        expected.close()
    if not is_same or (version and connection.pragma("application_id") != APPLICATION_ID):
        raise StoreCorrupt(f"{path}: its schema is not that of version {version}")


def _listing(connection: apsw.Connection) -> list[tuple[str, ...]]:
    query = "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema ORDER BY 1, 2"
    return [tuple(str(value) for value in row) for row in connection.execute(query)]
