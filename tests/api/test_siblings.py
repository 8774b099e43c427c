"""A standalone federation's API passes on what another party is asked, and nothing else."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from partyd.api.auth import CALLER, LOWERED_HEADER, Caller
from partyd.api.endpoint import Access
from partyd.api.replies import Handler, errors
from partyd.api.siblings import FORWARDED_HEADER, SiblingAway, Siblings
from partyd.config import Settings
from partyd.errors import DataError
from partyd.layout import FEDERATION_FILE
from partyd.types import GUEST

JOB_HERE, JOB_THERE = "here", "there"
Client = TestClient[web.Request, web.Application]


class Seen:
    """What the sibling was asked; it knows one job and takes every table but one."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str, bytes]] = []
        self.lowered: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        assert request.headers[FORWARDED_HEADER] == "1"
        self.lowered += request.headers.getall(LOWERED_HEADER, [])
        body = await request.read()
        self.requests.append((request.method, request.path, request.query_string, body))
        if request.query.get("job_id", JOB_THERE) != JOB_THERE:
            return web.json_response({"code": 1}, status=404)
        if b"refused" in body:
            return web.json_response({"code": 1, "message": "no room"}, status=507)
        return web.json_response({"answered_by": "sibling"}, headers={"X-Kept": "yes"})


async def _own(_: web.Request) -> web.Response:
    return web.json_response({"answered_by": "own"})


def ask(tmp_path: Path, talk: Callable[[Client, Siblings, Seen], Awaitable[None]]) -> Seen:
    """Run ``talk`` with a client of the guest 9999, whose sibling is the host 10000."""
    seen = Seen()

    async def main() -> None:
        there = web.Application(client_max_size=1 << 24)
        there.router.add_route("*", "/{path:.*}", seen.answer)
        async with TestServer(there) as server:
            parties = [
                {"address": "9999/guest", "url": "http://127.0.0.1:1"},
                {"address": "10000/host", "url": f"http://127.0.0.1:{server.port}"},
            ]
            (tmp_path / FEDERATION_FILE).write_text(json.dumps({"parties": parties}))
            settings = Settings(party_id="9999", roles=(GUEST,), state_dir=tmp_path / "guest-9999", standalone=True)

            async def knows(job: str) -> bool:
                return job == JOB_HERE

            siblings = Siblings(settings, knows)
            here = web.Application(middlewares=[errors, siblings.middleware()])
            here.cleanup_ctx.append(siblings.lifetime)
            here.router.add_route("*", "/{path:.*}", _own)
            async with TestClient(TestServer(here)) as client:
                await talk(client, siblings, seen)

    asyncio.run(main())
    return seen


async def who(client: Client, method: str, path: str, **more: Any) -> str:
    async with client.request(method, path, **more) as reply:
        assert reply.status == 200
        return str((await reply.json())["answered_by"])


@pytest.mark.parametrize(
    ("path", "by"),
    [
        ("/v2/job/query?role=guest&party_id=9999", "own"),
        ("/v2/job/query?party_id=9999", "own"),
        ("/v2/job/query?role=local&party_id=0", "own"),
        ("/v2/job/query?role=host&party_id=10000", "sibling"),
        ("/v2/output/model/query?role=host&party_id=10000", "sibling"),
        ("/v2/job/query?role=host&party_id=77", "own"),
        (f"/v2/job/query?job_id={JOB_HERE}", "own"),
        (f"/v2/job/query?job_id={JOB_THERE}", "sibling"),
        ("/v2/job/query?job_id=nowhere", "own"),
        (f"/v2/job/list/query?job_id={JOB_THERE}", "own"),
        ("/v2/permission/resource/query?party_id=10000", "own"),
        ("/v2/site/info/query?party_id=10000", "own"),
        ("/livez", "own"),
    ],
)
def test_a_get_goes_to_the_party_it_names(tmp_path: Path, path: str, by: str) -> None:
    async def talk(client: Client, _siblings: Siblings, _seen: Seen) -> None:
        assert await who(client, "GET", path) == by

    ask(tmp_path, talk)


def test_a_post_is_passed_on_whole_with_the_answers_headers(tmp_path: Path) -> None:
    async def talk(client: Client, _siblings: Siblings, _seen: Seen) -> None:
        body = {"role": "host", "party_id": "10000", "namespace": "n"}
        async with client.post("/v2/table/delete", json=body) as reply:
            assert (reply.headers["X-Kept"], await reply.json()) == ("yes", {"answered_by": "sibling"})
        assert await who(client, "POST", "/v2/table/delete", json={"namespace": "n"}) == "own"

    seen = ask(tmp_path, talk)
    assert [json.loads(body) for _, _, _, body in seen.requests] == [
        {"role": "host", "party_id": "10000", "namespace": "n"}
    ]


def test_a_streamed_upload_is_passed_on_by_its_query(tmp_path: Path) -> None:
    data = b"id,x\n" + b"1,2\n" * 400_000

    async def talk(client: Client, _siblings: Siblings, _seen: Seen) -> None:
        path = "/v2/data/component/upload/file?role=host&party_id=10000"
        assert await who(client, "POST", path, data=io.BytesIO(data)) == "sibling"

    (request,) = ask(tmp_path, talk).requests
    assert request[3] == data


@pytest.mark.parametrize(
    ("parties", "by"),
    [
        ([("guest", "9999"), ("host", "10000")], "own"),
        ([("host", "10000")], "sibling"),
        ([("guest", "77")], "own"),
    ],
)
def test_a_job_begins_at_a_party_that_takes_part(tmp_path: Path, parties: list[tuple[str, str]], by: str) -> None:
    groups = [{"role": role, "party_id": [party]} for role, party in parties]
    dag = {"dag": {"parties": groups, "tasks": {"t": {"component_ref": "reader"}}}, "schema_version": "2.2.0"}

    async def talk(client: Client, _siblings: Siblings, _seen: Seen) -> None:
        assert await who(client, "POST", "/v2/job/submit", json={"dag_schema": dag}) == by
        assert await who(client, "POST", "/v2/job/submit", data=json.dumps(dag).encode()) == by

    ask(tmp_path, talk)


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b"[1, {"])
def test_a_body_that_cannot_be_read_is_the_handlers_to_refuse(tmp_path: Path, body: bytes) -> None:
    async def talk(client: Client, _siblings: Siblings, _seen: Seen) -> None:
        async with client.post("/v2/job/submit", data=body) as reply:
            assert reply.status in (200, 400)

    assert ask(tmp_path, talk).requests == []


def test_a_stored_table_is_shared_with_all_or_with_the_named_one(tmp_path: Path) -> None:
    async def talk(_client: Client, siblings: Siblings, _seen: Seen) -> None:
        await siblings.share_table("n", "t", tmp_path / "t", {})
        await siblings.share_table("n", "t", tmp_path / "t", {"role": "host", "party_id": "10000"})
        await siblings.share_table("n", "t", tmp_path / "t", {"role": "host", "party_id": "77"})

    requests = ask(tmp_path, talk).requests
    assert [path for _, path, _, _ in requests] == ["/v2/table/bind/path"] * 2


def test_a_bound_table_is_shared_with_all_unless_a_party_is_named(tmp_path: Path) -> None:
    asked = {"namespace": "n", "name": "t", "path": "/data/t.csv"}

    async def talk(client: Client, _siblings: Siblings, seen: Seen) -> None:
        async with client.post("/v2/table/bind/path", json=asked) as reply:
            assert await reply.json() == {"answered_by": "own"}
        assert [json.loads(body) for _, _, _, body in seen.requests] == [asked]
        async with client.post("/v2/table/bind/path", json=asked | {"role": "guest", "party_id": "9999"}) as reply:
            assert reply.status == 200
        async with client.post("/v2/table/bind/path", json=asked | {"name": "refused"}) as reply:
            assert "10000/host did not take the table n/refused" in await reply.text()

    assert len(ask(tmp_path, talk).requests) == 2


def test_a_sibling_that_takes_no_table_is_named(tmp_path: Path) -> None:
    async def talk(_client: Client, siblings: Siblings, _seen: Seen) -> None:
        with pytest.raises(DataError, match=r"10000/host did not take the table n/refused.*no room"):
            await siblings.share_table("n", "refused", tmp_path / "t", {})

    ask(tmp_path, talk)


def test_a_sibling_that_is_away_is_an_error_that_names_it(tmp_path: Path) -> None:
    async def talk(client: Client, siblings: Siblings, _seen: Seen) -> None:
        (tmp_path / FEDERATION_FILE).write_text(
            json.dumps({"parties": [{"address": "10000/host", "url": "http://127.0.0.1:1"}]})
        )
        async with client.get("/v2/job/query?role=host&party_id=10000") as reply:
            assert reply.status == 500
            assert "10000/host does not answer" in (await reply.json())["message"]

    ask(tmp_path, talk)


def test_another_daemon_gives_a_caller_no_more_than_this_one(tmp_path: Path) -> None:
    @web.middleware
    async def as_viewer(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[CALLER] = Caller("a viewer", Access.VIEWER, "app")
        return await handler(request)

    async def talk(_: Client, siblings: Siblings, seen: Seen) -> None:
        here = web.Application(middlewares=[errors, as_viewer, siblings.middleware()])
        here.router.add_route("*", "/{path:.*}", _own)
        async with TestClient(TestServer(here)) as client:
            asked = {"role": "host", "party_id": "10000", "display": "true"}
            own = {LOWERED_HEADER: "ADMIN", LOWERED_HEADER.lower(): "ADMIN"}
            assert await who(client, "GET", "/v2/table/query", params=asked, headers=own) == "sibling"
        assert seen.lowered == ["VIEWER"]

    ask(tmp_path, talk)


def test_a_daemon_that_is_away_keeps_nobody_from_asking_the_others(tmp_path: Path) -> None:
    async def talk(client: Client, _: Siblings, __: Seen) -> None:
        file = tmp_path / FEDERATION_FILE
        known = json.loads(file.read_text())
        known["parties"].insert(0, {"address": "10001/host", "url": "http://127.0.0.1:1"})
        file.write_text(json.dumps(known))
        assert await who(client, "GET", "/v2/job/query", params={"job_id": JOB_THERE}) == "sibling"

    ask(tmp_path, talk)


def test_a_table_for_a_daemon_that_is_away_is_an_error_with_a_cause(tmp_path: Path) -> None:
    async def talk(_: Client, siblings: Siblings, __: Seen) -> None:
        parties = [{"address": "10001/host", "url": "http://127.0.0.1:1"}]
        (tmp_path / FEDERATION_FILE).write_text(json.dumps({"parties": parties}))
        with pytest.raises(SiblingAway, match="did not take the table n/t"):
            await siblings.share_table("n", "t", tmp_path, {})

    ask(tmp_path, talk)
