"""Files and forms that a request brings: bounded in size, number and patience, and on the disk as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import BodyPartReader, web

from partyd.api.replies import ARGUMENT, BadRequest, FateCode, Refusal, check_text
from partyd.errors import StoreFull

CHUNK_BYTES = 1 << 20
MAX_FIELD_BYTES = 1 << 20
MAX_FIELDS = 64
IDLE_S = 300.0
"""How long a sender may say nothing before its file is given up."""


@dataclass(frozen=True)
class Spool:
    """Where a file goes that a request brings, and how much of it."""

    path: Path
    most_bytes: int
    mend: str
    """What to do about a file that is larger."""
    is_low: Callable[[], bool]
    """Whether the disk is almost full."""

    async def fill(self, pieces: AsyncIterator[bytes]) -> None:
        """Write a new file; raises Refusal for one that is too large or stops coming, StoreFull without space."""
        size = 0
        stream = await asyncio.to_thread(self.path.open, "xb")
        with stream:
            async for piece in _patiently(pieces):
                size += len(piece)
                if size > self.most_bytes:
                    raise Refusal(
                        f"the file is larger than {self.most_bytes >> 20} MiB; {self.mend}",
                        status=413,
                        number=FateCode.INVALID_PARAMETER,
                    )
                if self.is_low():
                    raise StoreFull("the disk is almost full; free some space, then send the file again")
                await asyncio.to_thread(stream.write, piece)


async def read_form(request: web.Request, spool: Spool) -> tuple[dict[str, str], str]:
    """Return a form's fields and its file's name, empty where it has none; the file goes to the disk.

    Raises BadRequest for anything twice, too many fields, a form within, or text that nothing can hold.
    """
    if not request.content_type.startswith("multipart/"):
        raise BadRequest("send a form (multipart/form-data) with fields and one file")
    fields: dict[str, str] = {}
    file_name = ""
    try:
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader) or not part.name or len(fields) >= MAX_FIELDS:
                raise BadRequest("the form must hold fields and one file, as FATE's client sends them")
            is_file = part.name == "file" or part.filename is not None
            if part.name in fields or (is_file and file_name):
                raise BadRequest(f"the form holds the field {part.name[:80]!r} twice; send it once")
            if is_file:
                file_name = (part.filename or "the uploaded file")[:200]
                await spool.fill(_pieces(part))
            else:
                fields[part.name] = await _text(part)
    except ValueError as error:
        raise BadRequest(f"the form cannot be read ({error}); send multipart/form-data") from error
    check_text(fields)
    return fields, file_name


async def _text(part: BodyPartReader) -> str:
    text = bytearray()
    async for piece in _patiently(_pieces(part)):
        text += piece
        if len(text) > MAX_FIELD_BYTES:
            raise BadRequest(f"the field {(part.name or '')[:80]!r} is longer than {MAX_FIELD_BYTES} bytes")
    return text.decode()


async def _pieces(part: BodyPartReader) -> AsyncIterator[bytes]:
    while piece := await part.read_chunk(CHUNK_BYTES):
        yield bytes(piece)


async def _patiently(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield pieces as long as they come; raises Refusal when none has come for long."""
    while True:
        try:
            async with asyncio.timeout(IDLE_S):
                piece = await anext(pieces)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Refusal(
                f"nothing has come for {IDLE_S:.0f} s; send the file again", status=408, number=ARGUMENT
            ) from None
        yield piece
