"""What a declaration reads and refuses, and that nothing is served that nobody declared."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import pytest
from aiohttp import web
from pydantic import Field

from partyd.api.endpoint import Access, Asked, Endpoint, Nothing, check_declared, parse, register
from partyd.api.replies import BadRequest, success
from tests.api.frame import Api, on_api


class Fruit(Asked):
    name: Annotated[str, Field(max_length=8)]
    weight: int = 0
    seeds: tuple[str, ...] | None = None


class Basket:
    """Says what it was asked."""

    def endpoints(self) -> list[Endpoint[Any]]:
        """Return the endpoints."""
        return [
            Endpoint("GET", "/v2/fruit/query", self.say, Fruit, Access.VIEWER, Fruit),
            Endpoint("POST", "/v2/fruit/add", self.say, Fruit, Access.VIEWER, Fruit),
            Endpoint("POST", "/v2/fruit/slow", self.wait, Nothing, Access.VIEWER, None, timeout_s=0.01),
            Endpoint("POST", "/v2/fruit/late", self.late, Nothing, Access.VIEWER),
        ]

    async def say(self, _: web.Request, asked: Fruit) -> web.Response:
        """Say it back."""
        return success(asked.model_dump())

    async def wait(self, _: web.Request, __: Nothing) -> web.Response:
        """Never answer."""
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    async def late(self, _: web.Request, __: Nothing) -> web.Response:
        """Be late in a part of its own."""
        raise TimeoutError


def test_a_get_reads_its_query_and_a_post_its_body(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        pear = {"name": "pear", "weight": 7, "seeds": ["a", "b"]}
        assert (await api.get("/v2/fruit/query?name=pear&weight=7&seeds=a&seeds=b"))[1]["data"] == pear
        assert (await api.post("/v2/fruit/add", pear))[1]["data"] == pear
        assert (await api.post("/v2/fruit/add", {"name": 5}))[1]["data"]["name"] == "5", "FATE's clients send numbers"

    on_api(tmp_path, work, [Basket()])


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("query", None, "name: Field required"), ("query?name=pear&wieght=1", None, "did you mean 'weight'?"),
        ("query?name=pear&name=fig", None, "given 2 times"), ("query?name=pear&weight=x", None, "weight: "),
        ("query?name=x%00y", None, "NUL"), ("query?name=%ED%A0%80&zzz=1", None, "known: name, weight, seeds"),
        ("add", b"", "name: Field required"), ("add", b"[]", "must be a JSON object"), ("add", b"{", "not JSON"),
        ("add", b'{"name": "a", "name": "b"}', "stands twice"), ("add", b'{"name": "a", "weight": NaN}', "no number"),
        ("add", b'{"name": "\\ud800"}', "surrogate"), ("add", b'{"name": "a\\u0000"}', "NUL"),
        ("add", b'{"a\\u0000": {"b": 1}}', "NUL"), ("add", b'{"name": "a", "weight": 1e999}', "weight: "),
        ("add", b'{"name": "123456789"}', "at most 8"), ("add", b"\xff", "not UTF-8"), ("add", b"1" * 9999, "not JSON"),
        ("add?name=a", b'{"name": "a"}', "belong into the body"), ("add", b'{"seeds": {"a": 1}}', "seeds"),
        ("add", b"[" * 100_000, "not JSON"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_400_with_the_mend(tmp_path: Path, path: str, body: bytes | None, said: str) -> None:
    async def work(api: Api) -> None:
        at = f"/v2/fruit/{path}"
        status, reply = await (api.get(at) if body is None else api.post(at, body))
        assert (status, reply["code"]) == (400, 101)
        assert said in reply["message"]

    on_api(tmp_path, work, [Basket()])


def test_many_mistakes_make_a_short_answer() -> None:
    with pytest.raises(BadRequest) as caught:
        parse(Fruit, {f"{'x' * 10_000}{i}": i for i in range(1000)})
    assert "and 981 more" in str(caught.value)
    assert len(str(caught.value)) < 5000


def test_an_answer_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        status, reply = await api.post("/v2/fruit/slow")
        assert (status, reply["code"]) == (504, 6000)

    on_api(tmp_path, work, [Basket()])


def test_a_timeout_of_the_handlers_own_is_not_taken_for_ours(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        async with api.http.post("/v2/fruit/late") as reply:
            assert reply.status == 500
            assert "Traceback" not in await reply.text()

    on_api(tmp_path, work, [Basket()])


async def door(_: web.Request) -> web.Response:
    raise AssertionError


def test_a_route_that_nobody_declared_stops_the_start() -> None:
    app = web.Application()
    register(app, [Basket()])
    check_declared(app)
    app.add_routes([web.get("/v2/back/door", door)])
    with pytest.raises(TypeError, match="declare who may ask"):
        check_declared(app)


def test_a_path_declared_twice_stops_the_start() -> None:
    with pytest.raises(TypeError, match="method and path of another"):
        register(web.Application(), [Basket(), Basket()])


def test_other_methods_are_refused_and_head_is_none_of_ours(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        for method in ("HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "POST"):
            async with api.http.request(method, "/v2/fruit/query?name=a") as reply:
                assert reply.status == 405
        async with api.http.get("/v2/fruit/query?name=a") as reply:
            assert reply.headers["Server"] == "partyd"
            assert reply.headers["Cache-Control"] == "no-store"

    on_api(tmp_path, work, [Basket()])
