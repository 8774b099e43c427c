"""Errors become answers: a status that says whose fault, a code, a sentence; never a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import pytest
from aiohttp import web

from partyd.api.endpoint import Access, Endpoint, Nothing
from partyd.api.replies import BadRequest, FateCode, NotFound, Refusal
from partyd.errors import ConfigError, CryptoError, DataError, JobError, JobRejected, StoreError, StoreFull
from tests.api.frame import Api, on_api


class Failing:
    """Raises what a test says."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def endpoints(self) -> list[Endpoint[Any]]:
        """Return the endpoint."""
        return [Endpoint("GET", "/v2/fail", self.fail, Nothing, Access.VIEWER)]

    async def fail(self, _: web.Request, __: Nothing) -> NoReturn:
        """Fail."""
        raise self.error


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (BadRequest("say more"), 400, 101), (NotFound("look there"), 404, 103), (JobRejected("no such task"), 400, 101),
        (JobError("no such job"), 404, 103), (DataError("line 3"), 400, 102), (ConfigError("set it"), 400, 101),
        (StoreFull("free some space"), 507, 103), (StoreError("cannot write"), 500, 100),
        (CryptoError("bad key"), 500, 100),
        (Refusal("not now", status=409, number=FateCode.TABLE_EXISTS), 409, 7002),
        (OSError(28, "No space left on device"), 507, 103), (OSError(5, "Input/output error"), 500, 103),
        (web.HTTPConflict(reason="busy"), 409, 101),
    ],
)  # fmt: skip
def test_each_error_says_whose_fault_it_is(tmp_path: Path, error: Exception, status: int, code: int) -> None:
    async def work(api: Api) -> None:
        found, reply = await api.get("/v2/fail")
        assert (found, reply["code"], reply["data"]) == (status, code, None)
        assert len(reply["message"]) > 3

    on_api(tmp_path, work, [Failing(error)])


def test_what_nobody_foresaw_is_500_without_its_reasons(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        async with api.http.get("/v2/fail") as reply:
            assert reply.status == 500
            assert "secret" not in await reply.text()

    on_api(tmp_path, work, [Failing(RuntimeError("a secret"))])
