"""The daemon's one HTTP application."""

from __future__ import annotations

from aiohttp import web

from partyd.api.data import Data
from partyd.api.guard import guard
from partyd.api.health import Health
from partyd.api.jobs import Jobs
from partyd.api.replies import errors
from partyd.api.site import Site

MAX_BODY_BYTES = 1 << 20


def make_app(site: Site) -> web.Application:
    """Return the application; uploads are streamed, every other body is at most 1 MiB."""
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[guard(site.settings), errors])
    for part in (Health(site), Jobs(site), Data(site)):
        app.add_routes(part.routes())
    return app
