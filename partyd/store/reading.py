"""The one thread that reads: a read-only connection, each caller's work on its own snapshot."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import apsw

from partyd.errors import PartydError
from partyd.store import faults
from partyd.store.blobs import Blobs
from partyd.store.lanes import Item, Lane, settle_all
from partyd.store.transaction import Reader


class Reading:
    """Owns the reading connection."""

    def __init__(self, reopen: Callable[[], apsw.Connection], blobs: Blobs, clock: Callable[[], float]) -> None:
        self._connection: apsw.Connection | None = reopen()
        self._reopen = reopen
        self._blobs = blobs
        self._clock = clock
        self.lane: Lane[Reader] = Lane("partyd-store-reader", self._serve, self._finish)

    def _serve(self, item: Item[Reader]) -> None:
        try:
            self._read(item)
        except (apsw.Error, PartydError) as error:
            item.error = item.error or faults.translated(error, "reading")
        settle_all([item])

    def _read(self, item: Item[Reader]) -> None:
        connection = self._connection = self._connection or self._reopen()
        connection.execute("BEGIN")
        item.run(Reader(connection, self._blobs, self._clock))
        if item.error is not None:
            raw, item.error = item.error, faults.translated(item.error, "reading", connection.system_errno)
            if isinstance(raw, apsw.IOError):
                self._close(connection)
                return
        connection.execute("ROLLBACK")

    def _close(self, connection: apsw.Connection) -> None:
        self._connection = None
        with suppress(apsw.Error):
            connection.close()

    def _finish(self) -> None:
        if self._connection is not None:
            self._connection.close()
