"""Replies in FATE Flow's form, and the one table from our errors to them.

Every reply is ``{"code": ..., "message": ..., "data": ...}`` with HTTP status 200 for success, else the status that
says whose fault it is. A message is one sentence with the mend in it; a traceback never leaves the process.
"""

from __future__ import annotations

import asyncio
import errno
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from enum import IntEnum
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import ValidationError

from partyd.errors import ConfigError, DataError, JobError, JobRejected, PartydError, StoreFull

log = structlog.get_logger()

BODY_TIMEOUT_S = 30.0
_NO_TEXT = re.compile("[\\0\ud800-\udfff]")


class BadRequest(PartydError):
    """A request that cannot be read; says what to send instead."""

    code = "bad_request"


class NotFound(PartydError):
    """Something that is not here; says how to find what is."""

    code = "not_found"


class FateCode(IntEnum):
    """FATE Flow's codes, for the answers in which its clients may look for them."""

    JOB_PARAMS = 1000
    JOB_NOT_FOUND = 1001
    JOB_CREATE_FAILED = 1002
    JOB_UPDATE_FAILED = 1003
    JOB_KILL_FAILED = 1004
    JOB_RESOURCE = 1005
    JOB_INHERITANCE_FAILED = 1007
    TASK_NOT_FOUND = 2000
    TASK_NO_MODEL = 2005
    TASK_FAILED = 2006
    TASK_NO_RESULT = 2008
    SITE_STANDALONE = 3000
    PROVIDER_PARAMS = 4000
    DEVICE_NOT_SUPPORTED = 4001
    EXPIRED = 5000
    INVALID_PARAMETER = 5001
    NO_APP = 5002
    VERIFY_FAILED = 5003
    AUTHENTICATION_FAILED = 5004
    NO_PERMISSION = 5005
    PERMISSION_OPERATE = 5006
    NO_FILE = 5007
    COMPONENT_OUTPUT = 5008
    ROLE_TYPE = 5009
    SERVER_EXCEPTION = 6000
    FUNCTION_RESTRICTED = 6001
    NO_SERVER = 6003
    TABLE_NOT_FOUND = 7001
    TABLE_EXISTS = 7002
    FILE_NOT_FOUND = 8001
    FILE_EXISTS = 8002


class Refusal(PartydError):
    """An answer other than success: HTTP status, FATE's code, and a sentence with the mend."""

    code = "refused"

    def __init__(self, message: str, *, status: int, number: int) -> None:
        super().__init__(message)
        self.status, self.number = status, int(number)


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
JsonBody = Mapping[str, object]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def success(data: object = None, **more: object) -> web.Response:
    """Return a reply that carries data."""
    return answer({"code": SUCCESS, "message": "success", "data": data, **more})


def failure(status: int, code: int, message: str) -> web.Response:
    """Return a reply that says what went wrong and how to mend it."""
    headers = {"WWW-Authenticate": 'Bearer realm="partyd", PARTYD-HMAC-SHA256 realm="partyd"'} if status == 401 else {}
    return answer({"code": code, "message": message, "data": None}, status, headers)


def answer(body: JsonBody, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a JSON reply whose type names no charset: FATE's client takes any other for the file it asked for."""
    return web.Response(body=json.dumps(body).encode(), status=status, headers=headers, content_type="application/json")


async def read_body(request: web.Request) -> bytes:
    """Return a request's short body; raises Refusal for one that does not come."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await request.read()
    except TimeoutError:
        raise Refusal(
            f"the body did not arrive within {BODY_TIMEOUT_S:.0f} s; send it again", status=408, number=ARGUMENT
        ) from None


async def read_text(request: web.Request) -> str:
    """Return a request's body as text, which is UTF-8 whatever its headers say; raises BadRequest, Refusal."""
    try:
        return (await read_body(request)).decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8 (byte {error.start}); send it as UTF-8") from error


async def read_json(request: web.Request) -> dict[str, Any]:
    """Return a request's body as a JSON object, in which no name stands twice; raises BadRequest."""
    text = await read_text(request)
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise BadRequest(
            f"the body is not JSON ({error}); send an object with Content-Type: application/json"
        ) from error
    if not isinstance(value, dict):
        raise BadRequest("the body must be a JSON object")
    check_text(value)
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number in JSON")


def check_text(value: object) -> None:
    """Refuse text that no file, path or database can hold: NUL and halves of surrogate pairs; raises BadRequest."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str() as text if _NO_TEXT.search(text):
                raise BadRequest("the request holds a NUL or half a surrogate pair in a text; leave it out")
            case dict() as found:
                waiting += [*found.keys(), *found.values()]
            case list() as found:
                waiting += found


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into a reply."""
    try:
        return await handler(request)
    except BadRequest as error:
        return failure(400, ARGUMENT, str(error))
    except Refusal as error:
        return failure(error.status, error.number, str(error))
    except PartydError as error:
        status, code = next((status, code) for kind, status, code in CODES if isinstance(error, kind))
        if status == 500:
            log.error("request_failed", path=request.path, error=str(error))
        return failure(status, code, str(error))
    except ValidationError as error:
        return failure(400, ARGUMENT, "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()))
    except (HttpProcessingError, web.RequestPayloadError) as error:
        return failure(
            400, ARGUMENT, f"the body cannot be read as its headers say ({type(error).__name__}); send it anew"
        )
    except OSError as error:
        log.exception("request_failed", path=request.path)
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        mend = "the disk is full; free some space, then try again" if is_full else "see the daemon's log"
        return failure(507 if is_full else 500, OPERATING, f"{error.strerror or 'input or output failed'}: {mend}")
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return failure(error.status, ARGUMENT, error.reason)
