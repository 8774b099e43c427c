"""The frame of the HTTP application: what every request passes, and the parts that answer.

From outside to inside: the host and origin checks, errors as answers, who asks and may, the endpoint. A route that is
no `Endpoint` stops the start: nobody would have said who may ask for it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Middleware

from partyd.api.appbook import AppBook
from partyd.api.apps import Apps
from partyd.api.auth import Authenticator, access
from partyd.api.endpoint import Endpoint, check_declared, register
from partyd.api.guard import guard
from partyd.api.health import Health
from partyd.api.openapi import OpenApi
from partyd.api.permission import Permission
from partyd.api.provider import Providers
from partyd.api.replies import errors
from partyd.api.server import Server
from partyd.api.site import Site

MAX_BODY_BYTES = 1 << 20


_HEADERS = {"Server": "partyd", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
"""What every answer says: no version for strangers, no guessing of types, no copies of results in caches."""


class Part(Protocol):
    """A group of endpoints."""

    def endpoints(self) -> list[Endpoint[Any]]: ...


def frame(
    site: Site, parts: Sequence[Part], clock: Callable[[], float] = time.time, *, inner: Sequence[Middleware] = ()
) -> web.Application:
    """Return an application of these parts and the frame's own; ``inner`` middlewares see what may pass.

    Files are streamed, every other body is at most 1 MiB. Raises TypeError for a route that nobody declared.
    """
    book = AppBook(lambda: site.node().store, clock)
    http = site.settings.http
    middlewares = [guard(http), errors, access(Authenticator(http, book, clock)), *inner]
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=middlewares)
    declared: list[Endpoint[Any]] = []
    own: tuple[Part, ...] = (Health(site), Server(site), Providers(), Apps(book))
    made: tuple[Part, ...] = (Permission(site, book, lambda: declared), OpenApi(lambda: declared))
    declared += register(app, (*own, *made, *parts))
    check_declared(app)
    app.on_response_prepare.append(_add_headers)
    logging.getLogger("aiohttp.server").addFilter(_is_ours)
    return app


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)


def _is_ours(record: logging.LogRecord) -> bool:
    """Keep what cannot be read as HTTP out of the log: a header in it may be a token, and strangers fill no disks."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)
