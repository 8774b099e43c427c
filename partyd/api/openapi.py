"""The OpenAPI 3.1 document of ``/v2``, made from the endpoints' declarations and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, get_args

from aiohttp import web
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaMode

from partyd import __version__, signing
from partyd.api.endpoint import Access, Endpoint, Nothing

Schema = dict[str, Any]
REF = "#/components/schemas/{model}"
SECURITY: list[Schema] = [{"token": []}, {"hmac": []}, {"fate": []}]
_DESCRIPTION = """\
FATE Flow 2.2's client endpoints and some of partyd's own. Answers are {"code": 0, "message": "success", "data": ...};
errors have another code, a message with the mend, and an HTTP status that says whose fault it is.
"""
_SCHEMES: Schema = {
    "token": {"type": "http", "scheme": "bearer", "description": "The owner's token (http.token_file); admin."},
    "hmac": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": f"An app's signature: {signing.SCHEME} app_id=..., ts=..., nonce=..., body=..., signature=...",
    },
    "fate": {
        "type": "apiKey",
        "in": "header",
        "name": "Signature",
        "description": "FATE's scheme (appId, userName, Nonce, Timestamp, Signature), where http.fate_auth is set.",
    },
}
_ERROR: Schema = {
    "type": "object",
    "required": ["code", "message", "data"],
    "properties": {"code": {"type": "integer", "not": {"const": 0}}, "message": {"type": "string"}, "data": {}},
    "additionalProperties": True,
}
_BODIES = {
    "text": {"application/json": {}, "application/yaml": {"schema": {"type": "string"}}},
    "file": {"application/octet-stream": {}},
    "form": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"file": {"type": "string", "contentMediaType": "application/octet-stream"}},
            }
        }
    },
}


class OpenApi:
    """Serves the document; ``declared`` gives every endpoint of the application."""

    def __init__(self, declared: Callable[[], Sequence[Endpoint[Any]]]) -> None:
        self._declared = declared
        self._text = ""

    def endpoints(self) -> list[Endpoint[Any]]:
        """Return the endpoint."""
        return [Endpoint("GET", "/v2/openapi.json", self.document, Nothing, Access.VIEWER, dict[str, Any])]

    async def document(self, _: web.Request, __: Nothing) -> web.Response:
        """Return the OpenAPI document of this daemon."""
        self._text = self._text or json.dumps(document(self._declared()))
        return web.Response(text=self._text, content_type="application/json")


def document(declared: Sequence[Endpoint[Any]]) -> Schema:
    """Return the document of these endpoints."""
    schemas, definitions = _schemas(declared)
    paths: dict[str, Schema] = {}
    for endpoint in declared:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schemas, definitions)
    return {
        "openapi": "3.1.0",
        "info": {"title": "partyd", "version": __version__, "description": _DESCRIPTION},
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": {**definitions, "Error": _ERROR}, "securitySchemes": _SCHEMES},
    }


_Key = tuple[str, str, JsonSchemaMode]


def _key(endpoint: Endpoint[Any], mode: JsonSchemaMode) -> _Key:
    return endpoint.method, endpoint.path, mode


def _schemas(declared: Sequence[Endpoint[Any]]) -> tuple[dict[_Key, Schema], dict[str, Schema]]:
    """Return the schema of what each endpoint reads and gives, and what they share."""
    wanted: list[tuple[_Key, JsonSchemaMode, TypeAdapter[Any]]] = []
    for endpoint in declared:
        wanted.append((_key(endpoint, "validation"), "validation", TypeAdapter(endpoint.asked)))
        given = get_args(endpoint.reply) if endpoint.gives_file else (endpoint.reply,)
        kinds = [kind for kind in given if kind not in (None, bytes, str)]
        if kinds:
            wanted.append((_key(endpoint, "serialization"), "serialization", TypeAdapter(kinds[0])))
    made, shared = TypeAdapter.json_schemas(wanted, ref_template=REF)
    return {key: schema for (key, _), schema in made.items()}, shared.get("$defs", {})


def _operation(endpoint: Endpoint[Any], schemas: dict[_Key, Schema], definitions: dict[str, Schema]) -> Schema:
    asked = schemas[_key(endpoint, "validation")]
    operation: Schema = {
        "operationId": f"{endpoint.method.lower()}{endpoint.path.replace('/', '_').replace('.', '_')}",
        "summary": endpoint.summary,
        "tags": [_tag(endpoint.path)],
        "description": f"Needs the role {endpoint.access.name.lower()}." if endpoint.access else "Open to everybody.",
        "security": SECURITY if endpoint.access else [],
        "responses": _responses(endpoint, schemas),
    }
    if endpoint.reads_json:
        is_needed = any(field.is_required() for field in endpoint.asked.model_fields.values())
        operation["requestBody"] = {"required": is_needed, "content": {"application/json": {"schema": asked}}}
        return operation
    operation["parameters"] = _parameters(endpoint, _resolved(asked, definitions))
    if endpoint.method == "POST" and endpoint.body in _BODIES:
        operation["requestBody"] = {"required": True, "content": _BODIES[endpoint.body]}
    return operation


def _parameters(endpoint: Endpoint[Any], asked: Schema) -> list[Schema]:
    fields: dict[str, FieldInfo] = endpoint.asked.model_fields
    return [
        {"name": name, "in": "query", "required": fields[name].is_required(), "schema": _without_null(schema)}
        for name, schema in asked.get("properties", {}).items()
    ]


def _resolved(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    return definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def _without_null(schema: Schema) -> Schema:
    """Return a field's schema without null, which a query cannot say: it leaves the field out."""
    parts = [part for part in schema.get("anyOf", []) if part.get("type") != "null"]
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "title", "default")}
    if not parts:
        return rest
    return {**parts[0], **rest} if len(parts) == 1 else {"anyOf": parts, **rest}


def _responses(endpoint: Endpoint[Any], schemas: dict[_Key, Schema]) -> Schema:
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    found: Schema = {"200": {"description": "Done.", "content": _content(endpoint, schemas)}}
    found["4XX"] = {"description": "The request's fault, with the mend.", "content": error}
    if endpoint.reply is str:
        found["503"] = {"description": "Not now.", "content": {"text/plain": {"schema": {"type": "string"}}, **error}}
    found["5XX"] = {"description": "This daemon's fault, or its disk's.", "content": error}
    return found


def _content(endpoint: Endpoint[Any], schemas: dict[_Key, Schema]) -> Schema:
    if endpoint.reply is bytes:
        return {"*/*": {}}
    if endpoint.reply is str:
        return {"text/plain": {"schema": {"type": "string"}}}
    data = schemas.get(_key(endpoint, "serialization"), {})
    if endpoint.path == "/v2/openapi.json":
        return {"application/json": {"schema": data}}
    answer = {
        "type": "object",
        "required": ["code", "message", "data"],
        "properties": {"code": {"const": 0}, "message": {"type": "string"}, "data": data},
        "additionalProperties": True,
    }
    return {"application/json": {"schema": answer}, **({"*/*": {}} if endpoint.gives_file else {})}


def _tag(path: str) -> str:
    """Return the group of a path: ``job`` of ``/v2/job/submit``, ``health`` of what stands outside."""
    parts = path.strip("/").split("/")
    return parts[1].partition(".")[0] if parts[0] == "v2" and len(parts) > 1 else "health"
