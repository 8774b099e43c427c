"""Runs the processes that read and write tables: the daemon's loop never parses a file."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import structlog
from pydantic import BaseModel, ValidationError

from partyd.data.orders import REFUSED, ExportOrder, Kept, Order
from partyd.errors import DataError, PartydError

log = structlog.get_logger()

MAX_LINE_BYTES = 64 << 20
MAX_SAID = 8000


@dataclass(frozen=True)
class Progress:
    """How far a process has come: ``done`` of ``total`` in the unit of its source, and rows; 0 of 0 is unknown."""

    done: int = 0
    total: int = 0
    rows: int = 0

    @property
    def share(self) -> float:
        """What is done, between 0 and 1."""
        return min(1.0, self.done / self.total) if self.total > 0 else 0.0


Tell = Callable[[Progress], None]


def unheard(_: Progress) -> None:
    """Listen to no progress."""


async def read(order: Order, tell: Tell = unheard) -> Kept:
    """Read a source into a table; raises DataError. Cancelling ends the process; what it wrote is for the caller."""
    last = await _run("ingest", order, tell)
    try:
        return Kept.model_validate(last.get("table"))
    except ValidationError as error:
        raise DataError("the process that read the table answered with something else; upload it again") from error


async def write(order: ExportOrder, tell: Tell = unheard) -> None:
    """Write a table as a file; raises DataError. Cancelling ends the process."""
    await _run("export", order, tell)


async def _run(module: Literal["ingest", "export"], order: BaseModel, tell: Tell) -> dict[str, Any]:
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("NOTIFY_SOCKET", None)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"partyd.data.{module}",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=MAX_LINE_BYTES,
        env=environment,
    )
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_order(process, order.model_dump_json().encode()))
            last = group.create_task(_listen(process, tell))
            said = group.create_task(_last_words(process))
        status = await process.wait()
    except ExceptionGroup as group:
        raise next((error for error in group.exceptions if isinstance(error, PartydError)), group) from group
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if status == REFUSED and said.result():
        raise DataError(said.result())
    if status:
        log.error("table_process_died", module=module, status=status, said=said.result())
        raise DataError(f"the process that had the table in hand ended with status {status}; see the daemon's log")
    return last.result()


async def _order(process: asyncio.subprocess.Process, order: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(order)
    try:
        await process.stdin.drain()
    except ConnectionError:
        return  # it has ended already; its status says why
    process.stdin.close()


async def _listen(process: asyncio.subprocess.Process, tell: Tell) -> dict[str, Any]:
    """Pass progress on and return the last line, which holds the result."""
    assert process.stdout is not None
    last: dict[str, Any] = {}
    async for line in process.stdout:
        last = json.loads(line)
        if "done" in last:
            tell(Progress(int(last["done"]), int(last["total"]), int(last["rows"])))
    return last


async def _last_words(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    said = b""
    while piece := await process.stderr.read(MAX_SAID):
        said = (said + piece)[-MAX_SAID:]
    return said.decode("utf-8", "replace").strip()
