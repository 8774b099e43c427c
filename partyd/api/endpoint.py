"""One HTTP endpoint: its path, who may ask, what it reads and what it answers, in one place.

The router, the check of every request, the access check and the OpenAPI document all come from these declarations. A
GET reads its model from the query, a POST from a JSON object in the body (or, where the body is a file, from the
query and the form). Requests that do not fit get code, message and the mend; handlers see only what has been checked.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Any, Generic, Literal, TypeVar, get_args

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from partyd.api.replies import BadRequest, FateCode, Refusal, check_text, read_json

M = TypeVar("M", bound=BaseModel)
PartyId = Annotated[str, Field(pattern="^[0-9A-Za-z_-]{1,64}$")]
"""A party's id in a request."""

TIMEOUT_S = 120.0
MAX_MISTAKES = 20
MAX_SHOWN = 80


class Access(IntEnum):
    """Who may ask; each includes those before it."""

    OPEN = 0
    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3


class Asked(BaseModel):
    """What a request says; unknown fields are refused with the nearest known name."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


class Nothing(Asked):
    """A request without fields."""


@dataclass(frozen=True)
class Endpoint(Generic[M]):
    """One path and method; ``reply`` is the type of the answer's ``data``, for the document.

    ``bytes`` stands for a file and ``str`` for plain text instead of FATE's form; ``bytes | X`` for either.
    """

    method: Literal["GET", "POST"]
    path: str
    handler: Callable[[web.Request, M], Awaitable[web.StreamResponse]]
    asked: type[M]
    access: Access
    reply: Any = None
    body: Literal["json", "text", "form", "file", "none"] = "json"
    """How a POST's body is read: ``text``, ``form`` and ``file`` by the handler, and ``asked`` from the query."""
    timeout_s: float | None = TIMEOUT_S
    """How long an answer may take; files that come or go may take for ever."""

    @property
    def summary(self) -> str:
        """What the endpoint does: the first line of its handler's docstring."""
        return (self.handler.__doc__ or "").strip().split("\n")[0]

    @property
    def streams(self) -> bool:
        """Whether a file comes or goes, whose size and time nobody knows."""
        return self.body in ("form", "file") or self.gives_file

    @property
    def gives_file(self) -> bool:
        """Whether an answer may be a file."""
        return self.reply is bytes or bytes in get_args(self.reply)

    @property
    def reads_json(self) -> bool:
        """Whether the fields are a JSON object in the body."""
        return self.method == "POST" and self.body == "json"

    def route(self) -> web.RouteDef:
        """Return the route; `endpoint_of` finds the declaration again."""

        async def handle(request: web.Request) -> web.StreamResponse:
            asked = await self._read(request)
            try:
                async with asyncio.timeout(None if self.streams else self.timeout_s) as clock:
                    return await self.handler(request, asked)
            except TimeoutError:
                if not clock.expired():
                    raise
                raise Refusal(
                    f"no answer within {self.timeout_s:.0f} s; see the daemon's log, then ask again",
                    status=504,
                    number=FateCode.SERVER_EXCEPTION,
                ) from None

        handle.endpoint = self  # type: ignore[attr-defined]
        return web.get(self.path, handle, allow_head=False) if self.method == "GET" else web.post(self.path, handle)

    async def _read(self, request: web.Request) -> M:
        if not self.reads_json:
            return parse(self.asked, self._query(request))
        if request.query:
            raise BadRequest("this request's fields belong into the body, as a JSON object; its address takes none")
        return parse(self.asked, await read_json(request) if request.body_exists else {})

    def _query(self, request: web.Request) -> dict[str, Any]:
        """Return the query's fields; a name given twice is a list where the model has one, else it is refused."""
        values: dict[str, Any] = {}
        for name in request.query:
            field = self.asked.model_fields.get(name)
            given = request.query.getall(name)
            if field is not None and _is_list(field.annotation):
                values[name] = given
            elif len(given) > 1:
                raise BadRequest(f"the field {name[:MAX_SHOWN]!r} is given {len(given)} times; give it once")
            else:
                values[name] = given[0]
        check_text(values)
        return values


def endpoint_of(request: web.Request) -> Endpoint[Any] | None:
    """Return the declaration of the endpoint that a request has reached, None where there is none (404, 405)."""
    found = getattr(request.match_info.handler, "endpoint", None)
    return found if isinstance(found, Endpoint) else None


def register(app: web.Application, parts: Iterable[Any]) -> list[Endpoint[Any]]:
    """Register every endpoint of every part and return them; raises TypeError for a path declared twice."""
    found = [endpoint for part in parts for endpoint in part.endpoints()]
    places = {(endpoint.method, endpoint.path) for endpoint in found}
    if len(places) != len(found):
        raise TypeError(f"{len(found) - len(places)} endpoints have the method and path of another")
    app.add_routes([endpoint.route() for endpoint in found])
    return found


def check_declared(app: web.Application) -> None:
    """Refuse an application with a route that no Endpoint declares: nobody would have said who may ask."""
    for route in app.router.routes():
        if not isinstance(getattr(route.handler, "endpoint", None), Endpoint):
            raise TypeError(f"{route.method} {route.resource} is no Endpoint; declare who may ask for it")


def parse(model: type[M], values: dict[str, Any]) -> M:
    """Return the checked fields of a request; raises BadRequest listing every mistake and the nearest known name."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        known = list(model.model_fields)
        found = error.errors(include_url=False, include_context=False, include_input=False)
        sentences = [_sentence(detail, known) for detail in found[:MAX_MISTAKES]]
        more = [f"and {len(found) - MAX_MISTAKES} more"] if len(found) > MAX_MISTAKES else []
        raise BadRequest("; ".join(sentences + more)) from error


def _sentence(detail: Any, known: list[str]) -> str:
    place = ".".join(str(part)[:MAX_SHOWN] for part in detail["loc"]) or "the request"
    if detail["type"] == "extra_forbidden":
        close = difflib.get_close_matches(place, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known) or 'none'}"
        return f"there is no field {place!r}; {hint}"
    return f"{place}: {detail['msg']}"


def _is_list(annotation: Any) -> bool:
    """Say whether a field takes several values: ``list[...]``, ``tuple[...]``, or one of them or None."""
    origin = getattr(annotation, "__origin__", annotation)
    return origin in (list, tuple) or any(_is_list(part) for part in get_args(annotation) if part is not annotation)
