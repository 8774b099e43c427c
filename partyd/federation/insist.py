"""Do again what the store could not take: a full disk or an I/O error must cost time, never the daemon or a message."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from partyd.errors import StoreError

T = TypeVar("T")
log = structlog.get_logger()

RETRY_FIRST_S = 1.0
RETRY_MOST_S = 30.0


async def insist(what: str, work: Callable[[], Awaitable[T]], **where: object) -> T:
    """Await ``work()`` until it raises no StoreError, waiting longer after each; any other error is raised."""
    delay_s = RETRY_FIRST_S
    while True:
        try:
            return await work()
        except StoreError as error:
            log.error(what, error=str(error), again_in_s=delay_s, **where)
        await asyncio.sleep(delay_s)
        delay_s = min(2 * delay_s, RETRY_MOST_S)
