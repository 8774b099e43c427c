"""Output tables as the API shows and sends them: some rows of one, or all rows of all as CSV."""

from __future__ import annotations

import asyncio
import csv
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from aiohttp import web

from partyd.components.base import JsonObject, stored_tables
from partyd.errors import DataError
from partyd.layout import Layout, make_private_dir

log = structlog.get_logger()

CHUNK_BYTES = 1 << 18
MAX_CELLS = 200_000
"""Of a preview: a table with very many columns shows fewer rows."""
MAX_SAID = 4000


@dataclass(frozen=True)
class Preview:
    """Some rows of a table that has ``count`` in all."""

    count: int
    header: Sequence[str]
    rows: Sequence[Sequence[str | float | None]]
    metadata: JsonObject


def read_previews(place: Path, begin: int, limit: int) -> list[Preview]:
    """Return rows of every table that an output port has, from row ``begin``; raises DataError."""
    return [_preview(folder, begin, limit) for folder in stored_tables(place)]


def _preview(folder: Path, begin: int, limit: int) -> Preview:
    import numpy as np  # here, for it is large and a daemon seldom shows a table

    from partyd.data.render import csv_lines
    from partyd.data.table import Table

    table = Table.load(folder)
    schema = table.schema
    rows_at_most = max(1, MAX_CELLS // max(1, len(schema.features)))
    end = min(len(table), begin + min(limit, rows_at_most))
    part = table.take(np.arange(min(begin, end), end))
    header, *rows = csv.reader(csv_lines(part))
    ids = 1 + (table.match_ids is not None)
    metadata = {
        "header": header,
        "sample_id_name": schema.sample_id,
        "match_id_name": schema.match_id,
        "label_name": schema.label,
        "weight_name": schema.weight,
        "columns": list(schema.features),
    }
    return Preview(len(table), header, [[*row[:ids], *map(_cell, row[ids:])] for row in rows], metadata)


def _cell(text: str) -> str | float | None:
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() and "." not in text and "e" not in text.lower() else number


async def send_tables(
    request: web.Request, layout: Layout, outputs: Mapping[str, Path], name: str
) -> web.StreamResponse:
    """Send the tables of some outputs as a ``tar.gz``, which a process writes while it is sent; raises DataError."""
    spool = layout.state_dir / "downloads"
    await asyncio.to_thread(make_private_dir, spool)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "partyd.tables.table_tar",
        str(spool),
        *(f"{key}={folder}" for key, folder in outputs.items()),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        return await _sent(request, process, name)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _sent(request: web.Request, process: asyncio.subprocess.Process, name: str) -> web.StreamResponse:
    assert process.stdout is not None
    assert process.stderr is not None
    chunk = await process.stdout.read(CHUNK_BYTES)
    if not chunk:
        said = (await process.stderr.read(MAX_SAID)).decode("utf-8", "replace").strip()
        await process.wait()
        raise DataError(f"the output cannot be written as CSV: {said or 'see the log of the daemon'}")
    response = web.StreamResponse(headers={"Content-Disposition": f'attachment; filename="{name}.tar.gz"'})
    response.content_type = "application/gzip"
    await response.prepare(request)
    while chunk:
        await response.write(chunk)
        chunk = await process.stdout.read(CHUNK_BYTES)
    if await process.wait() != 0:
        said = (await process.stderr.read(MAX_SAID)).decode("utf-8", "replace").strip()
        log.error("download_broke_off", name=name, error=said)
        if request.transport is not None:
            request.transport.abort()  # the status is sent: only a broken connection can still say that this failed
        return response
    await response.write_eof()
    return response
