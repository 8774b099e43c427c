"""What every request must pass: the host's name, the page it comes from, its size, its turn."""

from __future__ import annotations

import asyncio
import gzip
import io
import logging
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from partyd.api.endpoint import Access, Endpoint, Nothing
from partyd.api.frame import MAX_BODY_BYTES
from partyd.api.replies import success
from tests.api.frame import TOKEN, Api, Doors, on_api, raw

SITE = "/v2/site/info/query"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9380", "127.0.0.1.evil.example", "", "[::1", "169.254.1.1", "0.0.0.0", "@"]
)
def test_another_host_name_is_refused(tmp_path: Path, host: str) -> None:
    async def work(api: Api) -> None:
        status, reply = await api.get(SITE, {"Host": host})
        assert (status, reply["code"]) == (421, 101)
        async with api.http.get("/livez", headers={"Host": host}) as reply:
            assert reply.status == 421

    on_api(tmp_path, work)


def test_two_host_names_are_refused(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        lines = b"Host: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
        answer = await raw(api, b"GET " + SITE.encode() + b" HTTP/1.1\r\n" + lines)
        assert answer.split(b" ")[1] in (b"400", b"421")

    on_api(tmp_path, work)


@pytest.mark.parametrize("host", ["localhost:9380", "127.0.0.1", "[::1]:9380", "127.0.0.2:1", "LOCALHOST"])
def test_this_machines_own_names_are_answered(tmp_path: Path, host: str) -> None:
    async def work(api: Api) -> None:
        assert (await api.get(SITE, {"Host": host}))[0] == 200
        assert (await api.get(SITE, {"Host": host, "Origin": f"http://{host}"}))[0] == 200

    on_api(tmp_path, work)


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:8000", "http://[", "", "file://", "http://localhost"]
)
def test_another_site_is_refused(tmp_path: Path, origin: str) -> None:
    async def work(api: Api) -> None:
        status, _ = await api.post("/v2/site/backup", {}, {"Host": "localhost:9380", "Origin": origin})
        assert status == 403

    on_api(tmp_path, work)


def test_a_body_over_a_mebibyte_is_refused(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        for path in ("/v2/site/backup", "/v2/door/text"):
            assert (await api.post(path, b"x" * (MAX_BODY_BYTES + 1)))[0] == 413

    on_api(tmp_path, work, [Doors()])


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + b"a" * 20_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X" * 20_000 + b": a\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 5000,
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n",
    ],
)  # fmt: skip
def test_heads_that_are_too_large_or_none_are_400(
    tmp_path: Path, head: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(api: Api) -> None:
        answer = await raw(api, head + b"Connection: close\r\n\r\n")
        assert answer.split(b" ")[1] in (b"400", b"431")
        assert b"Traceback" not in answer

    with caplog.at_level(logging.DEBUG):
        on_api(tmp_path, work)
    assert "aaaa" not in caplog.text


def test_a_token_in_a_header_that_cannot_be_read_stays_out_of_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(api: Api) -> None:
        lines = f"Host: localhost\r\nAuthorization: x\r\n Bearer {TOKEN}\r\n\r\n".encode()
        assert (await raw(api, b"GET / HTTP/1.1\r\n" + lines)).split(b" ")[1] == b"400"

    with caplog.at_level(logging.DEBUG):
        on_api(tmp_path, work, token=True)
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "GZIP", "identity, gzip", ""])
@pytest.mark.parametrize("body", [b"junk" * 100, gzip.compress(b" " * (1 << 26))])
def test_a_packed_body_is_not_taken(tmp_path: Path, encoding: str, body: bytes) -> None:
    async def work(api: Api) -> None:
        headers = {"Content-Encoding": encoding}
        async with api.http.post("/v2/door/admin", data=io.BytesIO(body), headers=headers) as reply:
            assert reply.status in (400, 415)

    on_api(tmp_path, work, [Doors()])


def test_a_second_packing_does_not_hide_behind_the_first(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        body = gzip.compress(b"{}")
        head = (
            f"POST /v2/door/admin HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
        )
        packed = "Content-Encoding: identity\r\nContent-Encoding: gzip\r\n\r\n"
        answer = await raw(api, (head + packed).encode() + body)
        assert answer.split(b" ")[1] in (b"400", b"415")

    on_api(tmp_path, work, [Doors()])


class Forms:
    """Reads a form, part by part."""

    def endpoints(self) -> list[Endpoint[Any]]:
        """Return the endpoint."""
        return [Endpoint("POST", "/v2/form", self.answer, Nothing, Access.VIEWER, body="form")]

    async def answer(self, request: web.Request, _: Nothing) -> web.Response:
        """Count the parts."""
        reader = await request.multipart()
        return success(len([part async for part in reader]))


def test_a_form_whose_parts_are_none_is_400(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        for part in (b"X\r\n\r\nabc", b"\xf3: a\r\n\r\nabc", b"A" * 10_000 + b": b\r\n\r\nabc"):
            assert (await api.post("/v2/form", b"--x\r\n" + part + b"\r\n--x--", headers))[0] == 400

    on_api(tmp_path, work, [Forms()])


class Slow:
    """Holds its answers back until it is told."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.inside = 0

    def endpoints(self) -> list[Endpoint[Any]]:
        """Return the endpoint."""
        return [Endpoint("GET", "/v2/slow", self.answer, Nothing, Access.VIEWER)]

    async def answer(self, _: web.Request, __: Nothing) -> web.Response:
        """Answer when told."""
        self.inside += 1
        await self.go.wait()
        return success()


def test_more_requests_than_are_answered_at_a_time_come_again(tmp_path: Path) -> None:
    slow = Slow()

    async def work(api: Api) -> None:
        async with asyncio.TaskGroup() as group:
            waiting = [group.create_task(api.get("/v2/slow")) for _ in range(8)]
            async with asyncio.timeout(20):
                while slow.inside < 8:
                    await asyncio.sleep(0)
            status, reply = await api.get("/v2/slow")
            slow.go.set()
        assert (status, "again" in reply["message"]) == (503, True)
        assert [task.result()[0] for task in waiting] == [200] * 8
        assert (await api.get("/v2/slow"))[0] == 200

    on_api(tmp_path, work, [slow], max_requests=8)
