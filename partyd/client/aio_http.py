"""The asynchronous way to a daemon, on aiohttp: what `partyd.client.http` is for the synchronous client."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from partyd.client.answer import BLOCK_BYTES, MAX_REPLY_BYTES, UPLOAD_TIMEOUT_S, Place, cause_of
from partyd.client.call import Call, Download, T
from partyd.client.credentials import Credentials
from partyd.client.events import Event, EventReader
from partyd.client.source import Sent, Stream

FOLLOWED_S = 4000.0
"""How long one answer of a followed log may take; a daemon ends it within an hour."""


class AsyncConnection:
    """The connections to one daemon, for one event loop."""

    def __init__(self, place: Place, credentials: Credentials, ca_file: Path | None, timeout_s: float) -> None:
        self._place = place
        self._credentials = credentials
        self._ca_file = ca_file
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close every connection; the next request opens another."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def do(self, call: Call[T]) -> T:
        """Carry out a call and read its answer; raises ClientError."""
        async with self._answer(call, call.content_type, self._timeout_s + call.wait_s) as got:
            return call.read(self._place.read(got.status, await self._whole(got)))

    async def status(self, path: str) -> int:
        """Return the HTTP status of a GET; raises ClientError when nothing answers."""
        async with self._answer(Download("GET", path), "", self._timeout_s) as got:
            return got.status

    async def upload(self, call: Call[T], stream: Stream, sent: Sent) -> T:
        """Send a stream as a call's body."""
        async with self._answer(call, call.content_type, UPLOAD_TIMEOUT_S, stream, sent) as got:
            return call.read(self._place.read(got.status, await self._whole(got)))

    async def download(self, call: Download, file: BinaryIO) -> str:
        """Write a file answer into ``file`` and return its content type; raises Refused for an answer without one."""
        async with self._answer(call, "application/json", UPLOAD_TIMEOUT_S) as got:
            await self._check_no_reply(got)
            async for block in got.content.iter_chunked(BLOCK_BYTES):
                await asyncio.to_thread(file.write, block)
            return got.content_type

    async def events(self, call: Download) -> AsyncIterator[Event]:
        """Yield the events of a stream as they come; raises Refused for an answer without any."""
        reader = EventReader(self._place.url)
        async with self._answer(call, "", FOLLOWED_S) as got:
            await self._check_no_reply(got)
            async for line in got.content:
                event = reader.feed(line)
                if event is not None:
                    yield event

    @asynccontextmanager
    async def _answer(
        self,
        call: Call[T] | Download,
        content_type: str,
        timeout_s: float,
        stream: Stream | None = None,
        sent: Sent | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        target = self._place.prefix + (f"{call.path}?{urlencode(call.query)}" if call.query else call.path)
        content = call.body if stream is None else stream.file
        signed = content if isinstance(call, Download) or call.signs_body else None
        headers = await asyncio.to_thread(self._credentials.headers, call.method, target, signed)
        body = None if call.method == "GET" else call.body if stream is None else _blocks(stream, sent)
        headers |= {"Content-Type": content_type} if body is not None else {}
        url = URL(self._place.url.removesuffix(self._place.prefix) + target, encoded=True)
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with self._opened().request(call.method, url, data=body, headers=headers, timeout=timeout) as got:
                yield got
        except TimeoutError as error:
            raise self._place.unreachable(f"no answer within {timeout_s:g} s") from error
        except aiohttp.ClientResponseError as error:
            raise self._place.strange(f"this does not speak HTTP ({error.message:.80})") from error
        except aiohttp.ClientError as error:
            raise self._place.unreachable(cause_of(error)) from error

    async def _check_no_reply(self, got: aiohttp.ClientResponse) -> None:
        if got.status >= 400 or got.content_type == "application/json":
            self._place.read(got.status, await self._whole(got))

    async def _whole(self, got: aiohttp.ClientResponse) -> bytes:
        blocks = bytearray()
        async for block in got.content.iter_chunked(BLOCK_BYTES):
            blocks += block
            if len(blocks) > MAX_REPLY_BYTES:
                raise self._place.too_large()
        return bytes(blocks)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            context: ssl.SSLContext | bool = True
            if self._place.is_tls and self._ca_file is not None:
                context = ssl.create_default_context(cafile=str(self._ca_file))
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))
        return self._session


async def _blocks(stream: Stream, sent: Sent | None) -> AsyncIterator[bytes]:
    while block := await asyncio.to_thread(stream.file.read, BLOCK_BYTES):
        yield block
        if sent is not None:
            sent(len(block))
