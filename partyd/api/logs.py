"""Logs under ``/v2/log``: of a task, of a party's tasks together, of a job as a whole; counted, read and followed.

``log_type`` is FATE's: ``task_debug``, ``task_info``, ``task_warning``, ``task_error`` (each with the levels above it)
and ``schedule_info``, ``schedule_error``. ``begin`` and ``end`` are then line numbers from 1, both included. Without a
``log_type`` the lines of one task are returned, ``begin`` being how many of them the caller has already.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import structlog
from aiohttp import web
from pydantic import Field

from partyd.api.endpoint import Access, Endpoint
from partyd.api.replies import BadRequest, success
from partyd.api.site import Site
from partyd.api.sought import MAX_TEXT, AskedJob, AskedTask, FoundJob, find_job, find_task
from partyd.components.base import JsonObject
from partyd.jobs.diary import JOB_LOGS, LOG_TYPES, TASK_LOGS, Diary, Line, count_lines, read_lines
from partyd.jobs.job_logs import modules_of

log = structlog.get_logger()

MAX_LINES = 10_000
"""Of one answer; the next begins after the last ``line_num``."""
HEARTBEAT_S = 15.0
MAX_STREAM_S = 3600.0
"""After which a follower asks again, with the number of the last line it has."""


class AskedCount(AskedJob):
    """Whose lines are counted; without a task those of all the party's tasks."""

    log_type: str = Field(default="task_debug", max_length=MAX_TEXT)
    task_name: str = Field(default="", max_length=MAX_TEXT)
    instance_id: str = Field(default="", max_length=MAX_TEXT)


class AskedLog(AskedJob):
    """Which lines."""

    log_type: str = Field(default="", max_length=MAX_TEXT)
    task_name: str = Field(default="", max_length=MAX_TEXT)
    begin: int = Field(default=0, ge=0, le=1 << 40)
    end: int = Field(default=0, ge=0, le=1 << 40)
    instance_id: str = Field(default="", max_length=MAX_TEXT)


class AskedStream(AskedJob):
    """Which lines to follow, from the one after line ``after``."""

    log_type: str = Field(default="task_info", max_length=MAX_TEXT)
    task_name: str = Field(default="", max_length=MAX_TEXT)
    after: int = Field(default=0, ge=0, le=1 << 40)


class Logs:
    """The log endpoints."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def endpoints(self) -> list[Endpoint[Any]]:
        """Return the endpoints."""
        return [
            Endpoint("GET", "/v2/log/count", self.count, AskedCount, Access.VIEWER, int),
            Endpoint("GET", "/v2/log/query", self.query, AskedLog, Access.VIEWER, list[JsonObject]),
            Endpoint("GET", "/v2/log/stream", self.stream, AskedStream, Access.VIEWER, bytes),
        ]

    async def count(self, _: web.Request, asked: AskedCount) -> web.StreamResponse:
        """Return how many lines a log has; ``counts`` has them by level."""
        found = await self._job(asked, asked.log_type, asked.task_name)
        counts = await asyncio.to_thread(lambda: count_lines(self._lines(found, asked.log_type, asked.task_name)))
        return success(sum(counts.values()), counts=counts)

    async def query(self, _: web.Request, asked: AskedLog) -> web.StreamResponse:
        """Return lines of a log, at most 10,000."""
        if not asked.log_type:
            return success(await self._task_lines(asked))
        if asked.end and asked.end < asked.begin:
            raise BadRequest(f"end ({asked.end}) is before begin ({asked.begin})")
        found = await self._job(asked, asked.log_type, asked.task_name)
        first = max(1, asked.begin)
        last = min(asked.end or first + MAX_LINES, first + MAX_LINES - 1)
        lines = await asyncio.to_thread(
            lambda: list(islice(self._lines(found, asked.log_type, asked.task_name), first - 1, last))
        )
        return success([_shown(line) for line in lines])

    async def _task_lines(self, asked: AskedLog) -> list[JsonObject]:
        if not asked.task_name:
            raise BadRequest("name a task_name, or a log_type; known types: " + ", ".join(LOG_TYPES))
        found = await find_task(self._site, _task(asked, asked.task_name))
        diary = found.node.runner.diary(found.record.job, found.task)
        lines = await asyncio.to_thread(
            lambda: list(islice(read_lines({found.task: diary}), asked.begin, asked.begin + MAX_LINES))
        )
        return [_shown(line) for line in lines]

    async def stream(self, request: web.Request, asked: AskedStream) -> web.StreamResponse:
        """Send a log line by line as it is written (server-sent events), until the job has ended."""
        found = await self._job(asked, asked.log_type, asked.task_name)
        response = web.StreamResponse(headers={"Cache-Control": "no-store"})
        response.content_type = "text/event-stream"
        response.charset = "utf-8"
        await response.prepare(request)
        async with asyncio.TaskGroup() as group:
            bell = asyncio.Event()
            watching = group.create_task(_tell_of_changes(found, bell))
            try:
                async with asyncio.timeout(MAX_STREAM_S):
                    await self._follow(response, found, asked, bell)
                await response.write_eof()
            except (TimeoutError, ConnectionError) as error:
                log.info("log_stream_ends", job=found.record.job, error=type(error).__name__)
            finally:
                watching.cancel()
        return response

    async def _follow(
        self, response: web.StreamResponse, found: FoundJob, asked: AskedStream, bell: asyncio.Event
    ) -> None:
        """Send lines as they are written, and at last how the job has ended."""
        sent = asked.after
        with contextlib.ExitStack() as stack:
            for diary in self._diaries(found, asked.log_type, asked.task_name).values():
                stack.enter_context(diary.bell.follow(bell))
            while True:
                bell.clear()  # before reading, so that no line falls between
                record = await found.node.supervisor.record(found.record.job)
                sent = await self._send_from(response, found, asked, sent)
                if record.is_ended:
                    break
                try:
                    async with asyncio.timeout(HEARTBEAT_S):
                        await bell.wait()
                except TimeoutError:
                    await response.write(b": still here\n\n")
        end = json.dumps({"status": record.status.value, "after": sent})
        await response.write(f"event: end\ndata: {end}\n\n".encode())

    async def _send_from(self, response: web.StreamResponse, found: FoundJob, asked: AskedStream, sent: int) -> int:
        """Send what has been written since line ``sent``; return the newest line's number."""

        def read(after: int) -> list[Line]:
            return list(islice(self._lines(found, asked.log_type, asked.task_name), after, after + MAX_LINES))

        while lines := await asyncio.to_thread(read, sent):
            events = [f"id: {line.number}\ndata: {json.dumps(_shown(line))}\n\n" for line in lines]
            await response.write("".join(events).encode())
            sent = lines[-1].number
        return sent

    async def _job(self, asked: AskedJob, log_type: str, task: str) -> FoundJob:
        if log_type not in LOG_TYPES:
            raise BadRequest(f"there is no log_type {log_type[:64]!r}; known: {', '.join(LOG_TYPES)}")
        if log_type in TASK_LOGS and task:
            return await find_task(self._site, _task(asked, task))
        return await find_job(self._site, AskedJob(job_id=asked.job_id, role=asked.role, party_id=asked.party_id))

    def _diaries(self, found: FoundJob, log_type: str, task: str) -> Mapping[str, Diary]:
        record = found.record
        if log_type in JOB_LOGS:
            return {"": found.node.runner.schedule_log(record.job)}
        return {name: found.node.runner.diary(record.job, name) for name in record.tasks if task in ("", name)}

    def _lines(self, found: FoundJob, log_type: str, task: str) -> Iterator[Line]:
        modules = modules_of(found.record)
        return read_lines(self._diaries(found, log_type, task), LOG_TYPES[log_type], modules)


async def _tell_of_changes(found: FoundJob, bell: asyncio.Event) -> None:
    while True:
        await found.node.supervisor.changed()
        bell.set()


def _task(asked: AskedJob, task: str) -> AskedTask:
    return AskedTask(job_id=asked.job_id, role=asked.role, party_id=asked.party_id, task_name=task)


def _shown(line: Line) -> JsonObject:
    return {
        "line_num": line.number,
        "content": line.content,
        "ts": line.ts,
        "level": line.level,
        "message": line.message,
        "task_name": line.task,
    }
