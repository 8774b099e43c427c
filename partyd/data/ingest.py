"""Read a source into a table, in a process of its own: ``python -m partyd.data.ingest``, its order on standard input.

It prints one JSON object a line: ``{"done": bytes, "total": bytes, "rows": rows}`` now and then, and at the end
``{"table": {...}}``. It says on standard error, in one line, why a source cannot be read. The process ends with the one
that started it.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from partyd.data.blocks import BadRows, Block, Rows
from partyd.data.dense import DenseRows
from partyd.data.formats import Format
from partyd.data.orders import REFUSED, Kept, Order
from partyd.data.orphan import end_with_parent
from partyd.data.parquet_source import MAGIC, open_parquet
from partyd.data.sparse import SparseRows
from partyd.data.sql_source import open_query
from partyd.data.table import Table
from partyd.data.text import TextBlocks, opened
from partyd.data.writer import TableWriter
from partyd.errors import DataError
from partyd.layout import sync_dir

PROGRESS_EVERY_S = 0.2
MEND = "Mend them, or upload with --bad-rows skip"
Report = Callable[[int, int, int], None]
"""Takes what is done and how much there is (bytes, or rows where the source counts those), and the rows so far."""


def ingest(order: Order, report: Report) -> Kept:
    """Read a source into a folder; raises DataError, and then the folder is gone."""
    order.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return _ingest(order, report)
    except BaseException:
        shutil.rmtree(order.folder, ignore_errors=True)
        raise


def read_file(path: Path, form: Format, folder: Path) -> tuple[Table, Kept]:
    """Read a file into ``folder`` and open the table; for commands that run where the data lie."""
    kept = ingest(Order(folder=folder, path=path, form=form), lambda *_: None)
    return Table.load(folder), kept


def _ingest(order: Order, report: Report) -> Kept:
    name = order.shown_as or (order.path.name if order.path is not None else "the query")
    bad = BadRows(name, "row" if order.path is None else "line")
    with _opened(order, bad) as (rows, progress), TableWriter(order.folder, rows.columns, order.form) as writer:
        _write(rows.blocks(), writer, bad, order, lambda: report(*progress(), writer.rows))
        if bad.count and order.form.on_bad_row == "refuse":
            bad.refuse(MEND)
        if not writer.rows:
            raise DataError(f"{name} holds no rows{' below its header' if order.form.head else ''}")
        written = writer.finish(bad)
    sync_dir(order.folder)
    return Kept(
        count=written.schema.rows,
        table_schema=written.schema,
        digest=written.digest.hex(),
        bad_rows=bad.count,
        skipped=tuple(bad.named),
    )


def _write(
    blocks: Iterator[Block], writer: TableWriter, bad: BadRows, order: Order, report: Callable[[], None]
) -> None:
    """Write blocks until a bad row is refused; from then on only count."""
    told = time.monotonic()
    for block in blocks:
        if not bad.count or order.form.on_bad_row == "skip":
            writer.append(block)
        if time.monotonic() - told >= PROGRESS_EVERY_S:
            told = time.monotonic()
            report()
    report()


@contextlib.contextmanager
def _opened(order: Order, bad: BadRows) -> Iterator[tuple[Rows, Callable[[], tuple[int, int]]]]:
    """Give the rows of the source and a function that says how far it has been read."""
    form, columns, prefix = order.form, order.max_columns, order.sid_prefix
    if order.path is None:
        with open_query(order.url, order.query, order.table, form, bad, columns, prefix) as found:
            yield found, lambda: (0, 0)
        return
    path = order.path
    kind = form.input_format if form.input_format != "auto" else _kind_of(path, bad.where)
    if kind == "parquet":
        bad.word = "row"
        rows, total, done = open_parquet(path, form, bad, columns, prefix)
        yield rows, lambda: (done[0], total)
        return
    size = path.stat().st_size
    if kind == "dense":
        text = TextBlocks(path, form, bad.where)
        try:
            yield DenseRows(text, form, bad, columns, prefix), lambda: (text.position, size)
        finally:
            text.close()
        return
    sparse = SparseRows(path, form, bad, columns, prefix)
    try:
        yield sparse, lambda: (sparse.text.position, size)
    finally:
        sparse.text.close()


def _kind_of(path: Path, where: str) -> str:
    with opened(path, where) as file:
        return "parquet" if file.read(4) == MAGIC else "dense"


def _say(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def main() -> int:
    """Carry out the order on standard input."""
    end_with_parent()
    try:
        order = Order.model_validate_json(sys.stdin.read())
        kept = ingest(order, lambda done, total, rows: _say({"done": done, "total": total, "rows": rows}))
    except DataError as error:
        sys.stderr.write(f"{error}\n")
        return REFUSED
    except ValidationError:
        sys.stderr.write("the order to the process that reads a table is not valid; see the daemon's version\n")
        return REFUSED
    except (OSError, MemoryError) as error:
        sys.stderr.write(f"the table cannot be kept: {getattr(error, 'strerror', None) or 'memory does not suffice'}\n")
        return REFUSED
    _say({"table": kept.model_dump(mode="json")})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
