"""Is this store what was written? The checks at opening (reliability.md §4 "store corrupt").

After a clean stop the database's SHA-256 is compared with the one noted then, and SQLite's ``quick_check`` runs.
After any other stop, or if the digest differs, everything is read: SQLite's ``integrity_check``, the sum of every
row, the chain of the audit log. Always: the schema against the version's own, the number of commits against the high-
water mark, and that every blob referred to is there with its size (its content is checked when it is read).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import apsw

from partyd.errors import StoreCorrupt
from partyd.federation.rows import BlobRef
from partyd.store import faults, highwater, migrations
from partyd.store.blobs import Blobs
from partyd.store.files import Files, digest_of
from partyd.store.layout import Layout
from partyd.store.tables import SUMMED, Row, blob_references
from partyd.store.transaction import Reader


def take_clean_mark(layout: Layout, files: Files) -> bool:
    """Say whether the last daemon stopped in order and left this very database; the mark is gone afterwards."""
    try:
        mark = json.loads(layout.clean.read_bytes())
    except FileNotFoundError:
        return False
    except ValueError:
        mark = None
    files.unlink(layout.clean)
    files.sync_dir(layout.directory)
    is_whole = isinstance(mark, dict) and not (layout.log.exists() and layout.log.stat().st_size)
    return is_whole and mark.get("sha256") == digest_of(layout.database)


def leave_clean_mark(layout: Layout, files: Files) -> None:
    """Note that the database is closed, and its digest."""
    files.publish(layout.clean, json.dumps({"sha256": digest_of(layout.database)}).encode("ascii"))


def check_structure(connection: apsw.Connection, layout: Layout, *, is_clean: bool) -> None:
    """Check pages and schema of an existing store; raises StoreCorrupt with what is wrong."""
    migrations.refuse_newer(connection, layout.database)
    _check_pages(connection, layout.database, "quick_check" if is_clean else "integrity_check")
    migrations.check_schema(connection, layout.database)


def check_content(
    connection: apsw.Connection, layout: Layout, blobs: Blobs, clock: Callable[[], float], *, is_clean: bool
) -> None:
    """Check rows, events, commits and blobs of a store with the present schema; raises StoreCorrupt."""
    reader = Reader(connection, blobs, clock)
    if not is_clean:
        _check_rows(connection)
        reader.verify_events()
    _check_commits(layout, reader)
    _check_blobs(connection, blobs)


def _check_pages(connection: apsw.Connection, path: Path, kind: str) -> None:
    found = [str(line) for (line,) in connection.execute(f"PRAGMA {kind}(20)")]
    if found != ["ok"]:
        raise StoreCorrupt(f"{path} fails SQLite's {kind}: {'; '.join(found)[:500]}")


def _check_rows(connection: apsw.Connection) -> None:
    for table in SUMMED:
        for values in connection.execute(table.select("")):
            Row(table, values)


def _check_commits(layout: Layout, reader: Reader) -> None:
    noted = highwater.recorded(layout.commits)
    if noted is None:
        return
    store_id, commits = noted
    if store_id != reader.meta("store_id"):
        raise StoreCorrupt(
            f"{layout.database} belongs to another store than {layout.commits}: files of two stores are mixed"
        )
    if commits > reader.counter("commits"):
        raise StoreCorrupt(
            f"{layout.database} ends at commit {reader.counter('commits')}, but commit {commits} was acknowledged: "
            f"the log {layout.log.name} was damaged, truncated or removed"
        )


def _check_blobs(connection: apsw.Connection, blobs: Blobs) -> None:
    for digest, size in blob_references(connection):
        if not blobs.has(BlobRef(digest, size)):
            raise StoreCorrupt(f"blob {blobs.path(digest)} of {size} bytes is missing or has another size")


def quarantine(layout: Layout, why: Exception) -> StoreCorrupt:
    """Copy the damaged database aside and return the error that tells the operator what to do."""
    try:
        copy = f"a copy for examination is in {_copy_aside(layout)}"
    except OSError as error:
        copy = f"no copy could be made ({error})"
    return StoreCorrupt(
        f"the store {layout.database} cannot be trusted: {why}; {copy}; nothing was repaired. "
        f"Move {layout.directory} away and restore the newest backup with "
        f"'partyd restore BACKUP --state {layout.directory}': peers send again what it lacks"
    )


def _copy_aside(layout: Layout) -> Path:
    """Copy database, log and high-water mark; the same damage met again (a restart) is copied once."""
    name = digest_of(layout.database)[:12] if layout.database.exists() else "missing"
    target = layout.quarantine / name
    target.mkdir(parents=True, exist_ok=True)
    for path in (layout.database, layout.log, layout.commits):
        if path.exists():
            shutil.copy2(path, target / path.name)
    return target


def require_database(layout: Layout) -> bool:
    """Say whether a store exists here; raises StoreCorrupt if all but its database does."""
    if layout.database.exists() and layout.database.stat().st_size:
        return True
    require_new(layout)
    return False


def require_new(layout: Layout) -> None:
    """Raise StoreCorrupt if commits were acknowledged here, though the database is empty."""
    if highwater.recorded(layout.commits) is not None:
        raise StoreCorrupt(f"{layout.database} is missing or empty, though this directory held a store")


def as_damage(error: apsw.Error) -> StoreCorrupt | None:
    """Return ``error`` as damage if that is what it shows while a store is opened and checked."""
    return StoreCorrupt(f"{type(error).__name__}: {error}") if faults.means_damage(error) else None
