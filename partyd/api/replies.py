"""Replies in FATE Flow's form, and the one table from our errors to them.

Every reply is ``{"code": ..., "message": ..., "data": ...}`` with HTTP status 200 for success, else the status that
says whose fault it is. A message is one sentence with the mend in it; a traceback never leaves the process.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiohttp import web
from pydantic import ValidationError

from partyd.errors import ConfigError, DataError, JobError, JobRejected, PartydError, StoreFull

log = structlog.get_logger()


class BadRequest(PartydError):
    """A request that cannot be read; says what to send instead."""

    code = "bad_request"


class NotFound(PartydError):
    """Something that is not here; says how to find what is."""

    code = "not_found"


SUCCESS, ARGUMENT, OPERATING, EXCEPTION = 0, 101, 103, 100
CODES: tuple[tuple[type[PartydError], int, int], ...] = (
    (JobRejected, 400, ARGUMENT),
    (JobError, 404, OPERATING),
    (NotFound, 404, OPERATING),
    (DataError, 400, 102),
    (ConfigError, 400, ARGUMENT),
    (StoreFull, 507, OPERATING),
    (PartydError, 500, EXCEPTION),
)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def success(data: object = None, **more: object) -> web.Response:
    """Return a reply that carries data."""
    return web.json_response({"code": SUCCESS, "message": "success", "data": data, **more})


def failure(status: int, code: int, message: str) -> web.Response:
    """Return a reply that says what went wrong and how to mend it."""
    return web.json_response({"code": code, "message": message, "data": None}, status=status)


async def read_text(request: web.Request) -> str:
    """Return a request's body as text, which is UTF-8 whatever its headers say; raises BadRequest."""
    try:
        return (await request.read()).decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8 (byte {error.start}); send it as UTF-8") from error


async def read_json(request: web.Request) -> dict[str, Any]:
    """Return a request's body as a JSON object; raises BadRequest."""
    try:
        value = json.loads(await read_text(request))
    except (ValueError, RecursionError) as error:
        raise BadRequest(
            f"the body is not JSON ({error}); send an object with Content-Type: application/json"
        ) from error
    if not isinstance(value, dict):
        raise BadRequest("the body must be a JSON object")
    return value


def required(values: dict[str, Any] | Any, name: str) -> str:
    """Return a required text field of a body or query; raises BadRequest naming it."""
    value = values.get(name)
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        raise BadRequest(f"the field {name!r} is missing or not text")
    return str(value)


def number(query: Any, name: str, default: int, most: int) -> int:
    """Return a whole number from a query, between 0 and ``most``; raises BadRequest."""
    text = str(query.get(name, default))
    if not text.isascii() or not text.isdigit() or len(text) > 16 or int(text) > most:
        raise BadRequest(f"{name} must be a whole number from 0 to {most}")
    return int(text)


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into a reply."""
    try:
        return await handler(request)
    except BadRequest as error:
        return failure(400, ARGUMENT, str(error))
    except PartydError as error:
        status, code = next((status, code) for kind, status, code in CODES if isinstance(error, kind))
        if status == 500:
            log.error("request_failed", path=request.path, error=str(error))
        return failure(status, code, str(error))
    except ValidationError as error:
        return failure(400, ARGUMENT, "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()))
    except OSError as error:
        log.exception("request_failed", path=request.path)
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        mend = "the disk is full; free some space, then try again" if is_full else "see the daemon's log"
        return failure(507 if is_full else 500, OPERATING, f"{error.strerror or 'input or output failed'}: {mend}")
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return failure(error.status, ARGUMENT, error.reason)
