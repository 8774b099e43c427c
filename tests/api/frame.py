"""The frame of the API on a real socket, with what a test adds to it; no job, no table."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from partyd import signing
from partyd.api.auth import body_chunks, caller_of
from partyd.api.endpoint import Access, Endpoint, Nothing
from partyd.api.frame import Part, frame
from partyd.api.replies import read_text, success
from partyd.api.site import Pulse, Site
from partyd.config import HttpSettings
from partyd.layout import Layout
from partyd.node import Node
from tests.nodes import BANK, Idle, town

TOKEN = "a-long-random-token-of-the-owner"
OWNER = {"Authorization": f"Bearer {TOKEN}"}
NOW = 1_800_000_000


@dataclass
class Clock:
    """Seconds since 1970, as a test says."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Api:
    """One daemon's frame, and what stands behind it."""

    http: Any
    node: Node
    pulse: Pulse
    folder: Path
    app: web.Application
    site: Site
    clock: Clock = field(default_factory=Clock)

    async def get(self, path: str, headers: dict[str, str] | None = None, **query: Any) -> tuple[int, Any]:
        async with self.http.get(path, params=query, headers=headers or {}) as reply:
            return reply.status, form(await reply.text())

    async def post(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        data = io.BytesIO(body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode())
        async with self.http.post(path, data=data, headers=headers or {}) as reply:
            return reply.status, form(await reply.text())

    async def app_of(self, role: str, name: str = "somebody") -> dict[str, Any]:
        """Make an app with a role and return it."""
        status, reply = await self.post("/v2/app/client/create", {"app_name": name, "role": role}, OWNER)
        assert status == 200
        found: dict[str, Any] = reply["data"]
        return found

    def signed(
        self, app: dict[str, Any], method: str, target: str, body: bytes = b"", nonce: str = "", **said: Any
    ) -> dict[str, str]:
        """Return the header of a signed request."""
        digest = said.get("digest") or hashlib.sha256(body).hexdigest()
        moment = int(said.get("ts", self.clock.now))
        header = signing.authorization(
            app["app_id"], app["app_token"], method, target, moment, nonce or secrets.token_hex(16), digest
        )
        return {"Authorization": header}


def form(text: str) -> Any:
    """Return a reply, which has FATE Flow's form whatever happened, and shows nobody a traceback."""
    assert "Traceback" not in text
    assert 'File "' not in text
    reply = json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    assert {"code", "message", "data"} <= set(reply)
    return reply


@contextlib.asynccontextmanager
async def serving(folder: Path, parts: Sequence[Part] = (), *, token: bool = False, **http: Any) -> AsyncIterator[Api]:
    """Give the frame of the bank's daemon with these parts; ``http`` are settings."""
    async with town(folder, are_running=False) as place:
        node = await place.start(BANK)
        if token:
            (folder / "token").write_text(TOKEN)
            http["token_file"] = folder / "token"
        settings = node.settings.model_copy(update={"http": HttpSettings(**http)})
        pulse, clock = Pulse(is_connected=True), Clock()
        site = Site(settings, Layout(settings.state_dir), {BANK: node}, Idle(), pulse)
        app = frame(site, parts, clock)
        async with TestClient(TestServer(app)) as client:
            yield Api(client, node, pulse, folder, app, site, clock)


def on_api(
    folder: Path,
    work: Callable[[Api], Awaitable[None]],
    parts: Sequence[Part] = (),
    *,
    token: bool = False,
    **http: Any,
) -> None:
    """Do something with the frame."""

    async def scenario() -> None:
        async with serving(folder, parts, token=token, **http) as api:
            await work(api)

    asyncio.run(scenario())


class Doors:
    """One endpoint for each access and each kind of body; what they read is kept."""

    def __init__(self) -> None:
        self.passed: list[str] = []
        self.read = b""

    def endpoints(self) -> list[Endpoint[Any]]:
        """Return the endpoints."""
        doors = [
            Endpoint(method, f"/v2/door/{access.name.lower()}", self.enter, Nothing, access, str)
            for access in Access
            for method in ("GET", "POST")
        ]
        return [
            *doors,
            Endpoint("POST", "/v2/door/file", self.stream, Nothing, Access.OPERATOR, int, body="file"),
            Endpoint("POST", "/v2/door/careless", self.careless, Nothing, Access.OPERATOR, int, body="file"),
            Endpoint("POST", "/v2/door/form", self.stream, Nothing, Access.OPERATOR, int, body="form"),
            Endpoint("POST", "/v2/door/text", self.text, Nothing, Access.OPERATOR, int, body="text"),
        ]

    async def enter(self, request: web.Request, _: Nothing) -> web.Response:
        """Say who came in."""
        self.passed.append(f"{request.method} {request.path}")
        return success(caller_of(request).name)

    async def stream(self, request: web.Request, _: Nothing) -> web.Response:
        """Read a body in pieces."""
        self.read = b"".join([piece async for piece in body_chunks(request, 1024)])
        self.passed.append(request.path)
        return success(len(self.read))

    async def careless(self, request: web.Request, _: Nothing) -> web.Response:
        """Read a body without checking it."""
        self.read = await request.content.read()
        return success(len(self.read))

    async def text(self, request: web.Request, _: Nothing) -> web.Response:
        """Read a body as text."""
        text = await read_text(request)
        self.passed.append(request.path)
        return success(len(text))


async def raw(api: Api, request: bytes, *, head_only: bool = False) -> bytes:
    """Send bytes as they are and return the answer: all up to the end of the connection, or its head."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.http.server.port)
    writer.write(request)
    await writer.drain()
    try:
        async with asyncio.timeout(20):
            return await (reader.readuntil(b"\r\n\r\n") if head_only else reader.read())
    finally:
        writer.close()
        await writer.wait_closed()
