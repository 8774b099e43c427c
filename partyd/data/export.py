"""Write a table as CSV, in a process of its own: ``python -m partyd.data.export``, its order on standard input.

It prints ``{"done": rows, "total": rows, "rows": rows}`` now and then, and ``{"bytes": bytes}`` at the end. An archive
holds ``data/0.csv`` and ``data/0.meta`` (the header as JSON), as FATE's does.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from partyd.data.orders import REFUSED, ExportOrder, inner_draft
from partyd.data.orphan import end_with_parent
from partyd.data.render import csv_header, csv_lines
from partyd.data.table import Table
from partyd.errors import DataError

PROGRESS_EVERY_S = 0.2
LINES = 1 << 12


def export(order: ExportOrder, report: Callable[[int, int], None]) -> int:
    """Write the table and return the size of what was written; the target appears whole or not at all."""
    table = Table.load(order.folder)
    text = inner_draft(order.draft) if order.is_archive else order.draft
    try:
        _write(table, text, order.has_header, report)
        if order.is_archive:
            _pack(table, text, order.draft)
        with order.draft.open("rb") as file:
            os.fsync(file.fileno())
        order.draft.replace(order.target)
    finally:
        for path in (order.draft, text):
            path.unlink(missing_ok=True)
    return order.target.stat().st_size


def _write(table: Table, target: Path, has_header: bool, report: Callable[[int, int], None]) -> None:
    told, lines = time.monotonic(), csv_lines(table)
    with target.open("x", encoding="utf-8", newline="") as file:
        if not has_header:
            next(lines)
        for row, line in enumerate(lines):
            file.write(line)
            if row % LINES == 0 and time.monotonic() - told >= PROGRESS_EVERY_S:
                told = time.monotonic()
                report(row, len(table))


def _pack(table: Table, draft: Path, target: Path) -> None:
    header = csv_header(table).rstrip("\n").split(",")
    meta = json.dumps({"header": header}).encode()
    with tarfile.open(target, "w:gz", compresslevel=1) as archive:
        archive.add(draft, "data/0.csv", filter=_anonymous)
        about = tarfile.TarInfo("data/0.meta")
        about.size = len(meta)
        archive.addfile(about, io.BytesIO(meta))


def _anonymous(about: tarfile.TarInfo) -> tarfile.TarInfo:
    """Say nothing about this machine's users, and let whoever unpacks it read and write."""
    about.uid = about.gid = 0
    about.uname = about.gname = ""
    about.mode = 0o644
    return about


def _say(document: dict[str, int]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def main() -> int:
    """Carry out the order on standard input."""
    end_with_parent()
    try:
        order = ExportOrder.model_validate_json(sys.stdin.read())
        size = export(order, lambda done, total: _say({"done": done, "total": total, "rows": done}))
    except DataError as error:
        sys.stderr.write(f"{error}\n")
        return REFUSED
    except ValidationError:
        sys.stderr.write("the order to the process that writes a table is not valid; see the daemon's version\n")
        return REFUSED
    except OSError as error:
        sys.stderr.write(f"the table cannot be written: {error.strerror}\n")
        return REFUSED
    _say({"bytes": size})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
