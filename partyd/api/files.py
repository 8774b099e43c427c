"""Files that the API sends: written to the disk first, so that an error is still an answer and memory stays small."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from typing import BinaryIO

from aiohttp import web

from partyd.layout import Layout, make_private_dir

CHUNK_BYTES = 1 << 18


async def send_written(
    request: web.Request, layout: Layout, write: Callable[[BinaryIO], object], name: str, content_type: str
) -> web.StreamResponse:
    """Let ``write`` fill a nameless file in a thread, then send it; what it raises becomes the answer."""
    folder = layout.state_dir / "downloads"

    def written() -> tuple[BinaryIO, int]:
        make_private_dir(folder)
        stream = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed after it was sent
        try:
            write(stream)
            size = stream.tell()
            stream.seek(0)
        except BaseException:
            stream.close()
            raise
        return stream, size

    stream, size = await asyncio.to_thread(written)
    try:
        return await send_stream(request, stream, size, name, content_type)
    finally:
        stream.close()


async def send_stream(
    request: web.Request, stream: BinaryIO, size: int, name: str, content_type: str
) -> web.StreamResponse:
    """Send an open file of ``size`` bytes under a name."""
    safe = "".join(mark if mark.isascii() and (mark.isalnum() or mark in "._-") else "_" for mark in name)
    response = web.StreamResponse(headers={"Content-Disposition": f'attachment; filename="{safe}"'})
    response.content_type = content_type
    response.content_length = size
    await response.prepare(request)
    while chunk := await asyncio.to_thread(stream.read, CHUNK_BYTES):
        await response.write(chunk)
    await response.write_eof()
    return response
