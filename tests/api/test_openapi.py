"""The OpenAPI document: every route is in it, every reference leads somewhere, and it says who may ask."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from partyd.api.endpoint import Access, Endpoint, Nothing
from partyd.api.openapi import document
from tests.api.frame import Api, Doors, on_api


def fetched(tmp_path: Path) -> tuple[dict[str, Any], list[Endpoint[Any]]]:
    """Return the document and the declarations behind it."""
    found: list[Any] = []

    async def work(api: Api) -> None:
        async with api.http.get("/v2/openapi.json") as reply:
            assert reply.content_type == "application/json"
            found.append(await reply.json())
        for route in api.app.router.routes():
            found.append(route.handler.endpoint)

    on_api(tmp_path, work, [Doors()])
    return found[0], found[1:]


def references(part: object) -> Iterator[str]:
    """Yield every reference in a document."""
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_every_route_is_in_the_document_and_nothing_else(tmp_path: Path) -> None:
    made, declared = fetched(tmp_path)
    shown = {(method.upper(), path) for path, methods in made["paths"].items() for method in methods}
    assert shown == {(one.method, one.path) for one in declared}
    assert len(shown) > 50
    assert made["openapi"] == "3.1.0"


def test_operations_are_complete(tmp_path: Path) -> None:
    made, declared = fetched(tmp_path)
    names = set()
    for one in declared:
        operation = made["paths"][one.path][one.method.lower()]
        names.add(operation["operationId"])
        assert operation["summary"], one.path
        assert operation["summary"].endswith("."), one.path
        assert bool(operation["security"]) == (one.access > 0)
        assert {"200", "4XX", "5XX"} <= set(operation["responses"])
        assert ("requestBody" in operation) == (one.method == "POST")
        for parameter in operation.get("parameters", []):
            assert (parameter["in"], parameter["name"] in one.asked.model_fields) == ("query", True)
    assert len(names) == len(declared)


def test_every_reference_leads_somewhere_and_every_scheme_is_told(tmp_path: Path) -> None:
    made, _ = fetched(tmp_path)
    found = set(references(made))
    assert found
    for reference in found:
        part: Any = made
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]
        assert isinstance(part, dict), reference
    used = {
        name
        for methods in made["paths"].values()
        for operation in methods.values()
        for scheme in operation["security"]
        for name in scheme
    }
    assert used == set(made["components"]["securitySchemes"]) == {"token", "hmac", "fate"}


def test_a_query_says_neither_null_nor_what_may_be_left_out(tmp_path: Path) -> None:
    made, _ = fetched(tmp_path)
    (party,) = made["paths"]["/v2/partner/query"]["get"]["parameters"]
    assert party == {
        "name": "party_id",
        "in": "query",
        "required": False,
        "schema": {"type": "string", "pattern": "^[0-9A-Za-z_-]{1,64}$"},
    }


@pytest.mark.parametrize("path", ["/v2/app/client/create", "/v2/permission/resource/grant", "/v2/server/registry"])
def test_a_body_is_a_closed_object(tmp_path: Path, path: str) -> None:
    made, _ = fetched(tmp_path)
    schema = made["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    body = made["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    assert body["additionalProperties"] is False
    assert body["required"]
    assert "Traceback" not in json.dumps(made)


def test_an_answer_may_be_a_file_a_text_or_either() -> None:
    async def answer(_: web.Request, __: Nothing) -> web.StreamResponse:
        """Answer."""
        raise AssertionError

    kinds = {"file": bytes, "text": str, "either": bytes | dict[str, int], "data": dict[str, int]}
    made = document([Endpoint("GET", f"/v2/{name}", answer, Nothing, Access.OPEN, kinds[name]) for name in kinds])
    given = {name: set(made["paths"][f"/v2/{name}"]["get"]["responses"]["200"]["content"]) for name in kinds}
    assert given == {
        "file": {"*/*"},
        "text": {"text/plain"},
        "either": {"*/*", "application/json"},
        "data": {"application/json"},
    }
