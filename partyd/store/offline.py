"""Look into a store without being its daemon: a connection that cannot write, also while the daemon works."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from partyd.errors import ConfigError
from partyd.store.blobs import Blobs
from partyd.store.faults import from_sqlite
from partyd.store.layout import Layout
from partyd.store.opening import Connector
from partyd.store.transaction import Reader


@contextmanager
def reading(directory: Path) -> Iterator[Reader]:
    """Give a store's content as of now; raises ConfigError when there is none, StoreCorrupt or StoreError."""
    layout = Layout(directory)
    if not layout.database.exists():
        raise ConfigError(f"{layout.database} does not exist: the daemon makes it at its first start")
    try:
        connection = Connector(layout).reading()
        try:
            connection.execute("BEGIN")
            yield Reader(connection, Blobs(layout.blobs, layout.spool), time.time)
        finally:
            connection.close()
    except apsw.Error as error:
        raise from_sqlite(error, f"reading {layout.database}") from error
