"""What every request must pass, whoever asks: the Host allow-list against DNS rebinding, the Origin, and its number."""

from __future__ import annotations

from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

from partyd.api.replies import ARGUMENT, EXCEPTION, Handler, failure
from partyd.config import HttpSettings, is_loopback


def guard(settings: HttpSettings) -> Middleware:
    """Return the middleware for these settings."""
    answering = 0

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        nonlocal answering
        hosts = request.headers.getall("Host", [""])
        host = _name(hosts[0])
        if len(hosts) > 1 or (host != settings.host and not is_loopback(host)):
            return failure(421, ARGUMENT, "this daemon does not answer under that host name")
        if any(_netloc(origin) != hosts[0].lower() for origin in request.headers.getall("Origin", [])):
            return failure(403, ARGUMENT, "requests from other web sites are refused")
        if any(packing != "identity" for packing in request.headers.getall("Content-Encoding", [])):
            return failure(415, ARGUMENT, "a packed body is not taken: its size would not be known; send it as it is")
        if answering >= settings.max_requests:
            return failure(503, EXCEPTION, f"{answering} requests are being answered; ask again in a moment")
        answering += 1
        try:
            return await handler(request)
        finally:
            answering -= 1

    return check


def _name(host: str) -> str:
    """Return a Host header's name without the port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _netloc(origin: str) -> str | None:
    """Return an Origin's host and port, None for one that names no site: another port is another site."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None
