"""Open a state directory: connections with our settings, recovery, checks, a new boot epoch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import apsw

from partyd.errors import ConfigError, StoreCorrupt, StoreError
from partyd.store import faults, highwater, integrity, migrations, tables
from partyd.store.blobs import Blobs
from partyd.store.files import Files
from partyd.store.layout import Layout
from partyd.store.transaction import Transaction
from partyd.store.writer import BUSY_TIMEOUT_MS

LOG_KEEP_BYTES = 64 << 20
CACHE_KIB = 8192


@dataclass(frozen=True)
class Connector:
    """Opens connections to one database; tests name a VFS of their own."""

    layout: Layout
    vfs: str | None = None

    def writing(self) -> apsw.Connection:
        """Return a connection for the writer: durable at COMMIT, deleted content overwritten."""
        connection = self._open(apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
        try:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.pragma("foreign_keys", True)
            connection.pragma("secure_delete", True)
            connection.pragma("journal_mode", "wal")
            connection.pragma("synchronous", "full")
            connection.pragma("journal_size_limit", LOG_KEEP_BYTES)
            connection.wal_autocheckpoint(0)
        except apsw.Error:
            connection.close()
            raise
        return connection

    def reading(self) -> apsw.Connection:
        """Return a connection that cannot write."""
        return self._open(apsw.SQLITE_OPEN_READONLY)

    def _open(self, flags: int) -> apsw.Connection:
        connection = apsw.Connection(str(self.layout.database), flags=flags, vfs=self.vfs)
        try:
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
            connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
            connection.pragma("cell_size_check", True)
            connection.pragma("cache_size", -CACHE_KIB)
            tables.register(connection)
        except apsw.Error:
            connection.close()
            raise
        return connection


@dataclass(frozen=True)
class Boot:
    """What this start of the store is known by."""

    connection: apsw.Connection
    store_id: bytes
    boot_epoch: int


def boot(
    connector: Connector, blobs: Blobs, files: Files, clock: Callable[[], float], random_bytes: Callable[[int], bytes]
) -> Boot:
    """Recover, check and migrate the store, and commit a boot epoch above every earlier one.

    Raises StoreCorrupt if the store must not be used, StoreFull or StoreError if the disk fails, ConfigError if a newer
    partyd wrote it.
    """
    layout = connector.layout
    try:
        is_old = integrity.require_database(layout)
        is_clean = is_old and integrity.take_clean_mark(layout, files)
        if not layout.database.exists():
            files.create(layout.database, b"")  # for its owner alone, which SQLite would not see to
        connection = _checked(connector, blobs, clock, is_clean=is_clean)
    except apsw.Error as error:
        damage = integrity.as_damage(error)
        raise (
            integrity.quarantine(layout, damage) if damage else faults.from_sqlite(error, f"opening {layout.database}")
        ) from error
    except StoreCorrupt as error:
        raise integrity.quarantine(layout, error) from error
    except OSError as error:
        raise faults.from_system(error, f"opening {layout.database}") from error
    try:
        return _begin(connection, layout, blobs, files, clock, random_bytes)
    except apsw.Error as error:
        told = faults.from_sqlite(error, f"starting {layout.database}", connection.system_errno)
        _close(connection)
        raise told from error
    except (OSError, StoreError) as error:
        _close(connection)
        raise faults.translated(error, f"starting {layout.database}") from error


def _checked(connector: Connector, blobs: Blobs, clock: Callable[[], float], *, is_clean: bool) -> apsw.Connection:
    connection = connector.writing()
    try:
        if migrations.version_of(connection):
            integrity.check_structure(connection, connector.layout, is_clean=is_clean)
            migrations.migrate(connection, connector.layout.database)
            integrity.check_content(connection, connector.layout, blobs, clock, is_clean=is_clean)
        else:
            integrity.require_new(connector.layout)
            migrations.migrate(connection, connector.layout.database)
    except UnicodeDecodeError as error:
        _close(connection)
        raise StoreCorrupt(f"a text is damaged ({error.reason})") from error
    except (apsw.Error, StoreError, ConfigError, OSError):
        _close(connection)
        raise
    return connection


def _begin(
    connection: apsw.Connection,
    layout: Layout,
    blobs: Blobs,
    files: Files,
    clock: Callable[[], float],
    random_bytes: Callable[[int], bytes],
) -> Boot:
    transaction = Transaction(connection, blobs, clock)
    with connection:
        store_id = transaction.meta("store_id") or random_bytes(16)
        transaction.set_meta("store_id", store_id)
        boot_epoch = max(transaction.counter("boot_epoch") + 1, int(clock()))
        transaction.set_counter("boot_epoch", boot_epoch)
        commits = transaction.counter("commits") + 1
        transaction.set_counter("commits", commits)
    files.sync_dir(layout.directory)
    highwater.record(files, layout.commits, store_id, commits)
    blobs.collect(transaction.blob_references(), grace_s=0)
    return Boot(connection, store_id, boot_epoch)


def _close(connection: apsw.Connection) -> None:
    with suppress(apsw.Error):
        connection.close()
