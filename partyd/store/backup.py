"""Copies of a whole store, made while it works, and their return.

A backup directory holds ``partyd.db`` (made by ``VACUUM INTO``: one consistent moment), the blobs it refers to, and
``manifest.json`` with the SHA-256 of every file. A restored store gets a new ``store_id``, so that peers notice in the
handshake and rewind, and a boot epoch far above what the lost store may have used since.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import apsw
from pydantic import BaseModel, ConfigDict, ValidationError

from partyd.errors import ConfigError, StoreCorrupt, StoreError
from partyd.store import faults, migrations, tables
from partyd.store.blobs import Blobs
from partyd.store.files import Files, digest_of
from partyd.store.layout import Layout
from partyd.store.opening import Connector
from partyd.store.transaction import Transaction

MANIFEST = "manifest.json"
EPOCH_JUMP = 3600


class FileEntry(BaseModel):
    """One file of a backup."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    sha256: str
    size: int


class Manifest(BaseModel):
    """What a backup holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    store_id: str
    boot_epoch: int
    schema_version: int
    commits: int
    created_at: float
    files: dict[str, FileEntry]


def write_backup(
    connector: Connector, blobs: Blobs, target: Path, clock: Callable[[], float], files: Files
) -> Manifest:
    """Copy the store into the new directory ``target`` and return the manifest; blocks, so call it from a thread.

    Raises ConfigError if ``target`` exists, StoreFull or StoreError if it cannot be written; then nothing is left of
    it.
    """
    if target.exists():
        raise ConfigError(f"{target} exists: name a new directory for the backup")
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        manifest = _fill(connector, blobs, partial, clock, files)
        files.rename(partial, target)
        files.sync_dir(target.parent)
    except apsw.Error as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise faults.from_sqlite(error, f"writing the backup {target}") from error
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise faults.from_system(error, f"writing the backup {target}") from error
    return manifest


def _fill(connector: Connector, blobs: Blobs, partial: Path, clock: Callable[[], float], files: Files) -> Manifest:
    files.make_dir(partial)
    database = partial / "partyd.db"
    with blobs.held():
        _copy_database(connector, database)
        files.sync_file(database)
        copy = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            transaction = Transaction(copy, blobs, clock)
            digests = sorted(transaction.blob_references())
            entries = {"partyd.db": FileEntry(sha256=digest_of(database), size=database.stat().st_size)}
            entries |= {f"blobs/{digest[:2]}/{digest}": _copy_blob(blobs, digest, partial, files) for digest in digests}
            manifest = Manifest(
                store_id=(transaction.meta("store_id") or b"").hex(),
                boot_epoch=transaction.counter("boot_epoch"),
                schema_version=migrations.version_of(copy),
                commits=transaction.counter("commits"),
                created_at=float(clock()),
                files=entries,
            )
        finally:
            copy.close()
    files.publish(partial / MANIFEST, manifest.model_dump_json(indent=1).encode("utf-8"))
    return manifest


def _copy_database(connector: Connector, database: Path) -> None:
    connection = connector.reading()
    try:
        connection.execute("VACUUM INTO ?", (str(database),))
    finally:
        connection.close()


def _copy_blob(blobs: Blobs, digest: str, partial: Path, files: Files) -> FileEntry:
    """Link a blob into the backup, or copy it to another file system; its content is checked."""
    source, copy = blobs.path(digest), partial / "blobs" / digest[:2] / digest
    files.make_dir(copy.parent)
    try:
        os.link(source, copy)
    except OSError:
        shutil.copyfile(source, copy)
        files.sync_file(copy)
    if digest_of(copy) != digest:
        raise StoreCorrupt(f"blob {source} is damaged, so no backup was made: restore an earlier one")
    files.sync_dir(copy.parent)
    return FileEntry(sha256=digest, size=copy.stat().st_size)


def read_manifest(backup: Path) -> Manifest:
    """Read and check a backup against its manifest; raises ConfigError or StoreCorrupt."""
    try:
        manifest = Manifest.model_validate_json((backup / MANIFEST).read_bytes())
    except FileNotFoundError as error:
        raise ConfigError(f"{backup} holds no {MANIFEST}: name a directory made by 'partyd backup'") from error
    except ValidationError as error:
        raise StoreCorrupt(f"{backup / MANIFEST} is damaged: use another backup") from error
    for name, entry in manifest.files.items():
        _check_entry(backup, name, entry)
    return manifest


def _check_entry(backup: Path, name: str, entry: FileEntry) -> None:
    path = backup / name
    if ".." in Path(name).parts or not path.is_relative_to(backup):
        raise StoreCorrupt(f"{backup / MANIFEST} names {name[:200]!r}, which lies outside: use another backup")
    if not path.is_file() or path.stat().st_size != entry.size or digest_of(path) != entry.sha256:
        raise StoreCorrupt(f"{path} is not what the manifest says: use another backup")


def restore(
    backup: Path, directory: Path, *, clock: Callable[[], float], random_bytes: Callable[[int], bytes]
) -> Manifest:
    """Make ``directory`` a store from a backup, under a new store id; blocks.

    Raises ConfigError if ``directory`` holds anything, StoreCorrupt if the backup does not match its manifest.
    """
    if directory.exists() and any(directory.iterdir()):
        raise ConfigError(f"{directory} is not empty: move it away first, restoring never overwrites")
    manifest = read_manifest(backup)
    layout, files = Layout(directory), Files()
    try:
        for name in sorted(manifest.files):
            copy = directory / name
            files.make_dir(copy.parent)
            shutil.copyfile(backup / name, copy)
            files.sync_file(copy)
            files.sync_dir(copy.parent)
        _rename_store(layout, files, clock, random_bytes)
    except OSError as error:
        raise faults.from_system(error, f"restoring {backup} to {directory}") from error
    return manifest


def _rename_store(
    layout: Layout, files: Files, clock: Callable[[], float], random_bytes: Callable[[int], bytes]
) -> None:
    connection = apsw.Connection(str(layout.database))
    try:
        tables.register(connection)
        transaction = Transaction(connection, Blobs(layout.blobs, layout.spool), clock)
        with connection:
            transaction.set_meta("store_id", random_bytes(16))
            transaction.set_counter("boot_epoch", max(transaction.counter("boot_epoch"), int(clock())) + EPOCH_JUMP)
    except apsw.Error as error:
        raise StoreError(f"{layout.database} cannot be given a new identity: {error}") from error
    finally:
        connection.close()
    files.sync_file(layout.database)
    files.sync_dir(layout.directory)
