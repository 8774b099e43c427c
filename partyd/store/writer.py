"""The one thread that writes: group commit, and all checkpoints of the write-ahead log.

Items that wait together share one transaction and so one fsync; each has its own SAVEPOINT, so that an exception
undoes only its own item. Outcomes are handed out after COMMIT, which with ``synchronous=FULL`` returns when the log
is on disk (reliability.md §0 (6)). After an I/O error the connection is opened anew: what SQLite's cache holds is
then no longer trusted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import apsw

from partyd.errors import PartydError, StoreError
from partyd.store import faults
from partyd.store.blobs import Blobs
from partyd.store.lanes import Item, Lane, fail, settle_all
from partyd.store.transaction import Transaction

BUSY_TIMEOUT_MS = 5000


@dataclass(frozen=True)
class GroupCommit:
    """How much one transaction may gather, and how long the log may grow before it is checkpointed or truncated."""

    items: int = 64
    seconds: float = 0.005
    checkpoint_pages: int = 1000
    truncate_pages: int = 16_000


class Writer:
    """Owns the writing connection."""

    def __init__(
        self,
        connection: apsw.Connection,
        reopen: Callable[[], apsw.Connection],
        acknowledge: Callable[[int], None],
        blobs: Blobs,
        clock: Callable[[], float],
        *,
        group: GroupCommit | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection: apsw.Connection | None = None
        self._reopen = reopen
        self._acknowledge = acknowledge
        self._blobs = blobs
        self._clock = clock
        self._group = group or GroupCommit()
        self._monotonic = monotonic
        self._log_pages = 0
        self._wipe = False
        self.lane: Lane[Transaction] = Lane("partyd-store-writer", self._serve, self._finish)
        self._use(connection)

    def _use(self, connection: apsw.Connection) -> None:
        self._connection = connection
        connection.set_wal_hook(self._count_pages)

    def _count_pages(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        self._log_pages = pages
        return int(apsw.SQLITE_OK)

    def _serve(self, first: Item[Transaction]) -> None:
        batch = [first]
        is_done = False
        try:
            self._commit(batch)
            is_done = True
        except (apsw.Error, OSError, PartydError) as error:
            self._abandon(batch, error)
            is_done = True
        finally:
            if not is_done:
                fail(batch, StoreError("the store's writer died during a commit; partyd must be started again"))
            settle_all(batch)
        self._checkpoint()

    def _commit(self, batch: list[Item[Transaction]]) -> None:
        connection = self._opened()
        deadline = self._monotonic() + self._group.seconds
        transaction = Transaction(connection, self._blobs, self._clock)
        connection.execute("BEGIN IMMEDIATE")
        self._run(connection, transaction, batch[0])
        while (
            len(batch) < self._group.items and self._monotonic() < deadline and (item := self.lane.more()) is not None
        ):
            batch.append(item)
            self._run(connection, transaction, item)
        commits = transaction.counter("commits") + 1
        transaction.set_counter("commits", commits)
        connection.execute("COMMIT")
        self._wipe = self._wipe or transaction.wipes_log
        self._acknowledge(commits)

    def _run(self, connection: apsw.Connection, transaction: Transaction, item: Item[Transaction]) -> None:
        connection.execute("SAVEPOINT item")
        item.run(transaction)
        if item.error is None:
            connection.execute("RELEASE item")
            return
        item.error = faults.translated(item.error, "writing", connection.system_errno)
        if not connection.in_transaction:
            raise _undone(item.error)
        connection.execute("ROLLBACK TO item")
        connection.execute("RELEASE item")

    def _abandon(self, batch: list[Item[Transaction]], error: Exception) -> None:
        """Undo the whole batch and tell every caller; the next batch starts afresh."""
        connection = self._connection
        told = faults.translated(error, "committing", connection.system_errno if connection else 0)
        fail(batch, told)
        if connection is None:
            return
        if isinstance(error, apsw.FullError):
            with suppress(apsw.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                return
        self._connection = None
        with suppress(apsw.Error):
            connection.close()

    def _opened(self) -> apsw.Connection:
        if self._connection is None:
            self._use(self._reopen())
        if self._connection is None:
            raise StoreError("the store's database cannot be opened again")
        return self._connection

    def _checkpoint(self) -> None:
        """Move the log into the database when it has grown, after callers have their answers.

        Never waits for a reader (a backup may take minutes): what fails now is tried again after the next commit.
        """
        connection = self._connection
        if connection is None or not (self._wipe or self._log_pages >= self._group.checkpoint_pages):
            return
        truncates = self._wipe or self._log_pages >= self._group.truncate_pages
        mode = apsw.SQLITE_CHECKPOINT_TRUNCATE if truncates else apsw.SQLITE_CHECKPOINT_PASSIVE
        with suppress(apsw.FullError, apsw.IOError, apsw.BusyError, apsw.LockedError):
            connection.set_busy_timeout(0)
            connection.wal_checkpoint(mode=mode)
            self._wipe = False
            self._log_pages = 0
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)

    def _finish(self) -> None:
        if self._connection is None:
            return
        with suppress(apsw.FullError, apsw.IOError, apsw.BusyError, apsw.LockedError):
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        with suppress(apsw.FullError, apsw.IOError):
            self._connection.close()


def _undone(error: BaseException) -> StoreError:
    if isinstance(error, StoreError):
        return error
    return StoreError(f"SQLite undid the whole transaction: {error}")
