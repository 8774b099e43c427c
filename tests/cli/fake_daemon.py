"""A daemon that answers as told: our own replies over real HTTP, from a thread, without jobs behind them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType

from aiohttp import web

from partyd.api.replies import errors, success
from partyd.errors import PartydError

Answer = object | PartydError
SEEN_TIMES = 100


@dataclass
class Asked:
    """One request that came."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes
    headers: Mapping[str, str]
    query_text: str = ""


@dataclass
class FakeDaemon:
    """Answers ``path`` with the next of its answers (the last again and again); an error is answered as one."""

    answers: dict[str, list[Answer]]
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    def __post_init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> FakeDaemon:
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(20)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def of(self, path: str) -> list[Asked]:
        """Return the requests for ``path``."""
        return [asked for asked in self.asked if asked.path == path]

    def _serve(self) -> None:
        self._loop.run_until_complete(self._run())
        self._loop.close()

    async def _run(self) -> None:
        app = web.Application(middlewares=[errors])
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        self._ready.set()
        await self._stopped.wait()
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.content.read()
        said = (dict(request.query), body, dict(request.headers), request.query_string)
        self.asked.append(Asked(request.method, request.path, *said))
        if request.path not in self.answers:
            raise web.HTTPNotFound
        left = self.answers[request.path]
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, PartydError):
            raise answer
        if isinstance(answer, web.Response):
            return web.Response(status=answer.status, text=answer.text)
        if isinstance(answer, Raw):
            return web.Response(body=answer.content, content_type=answer.content_type, status=answer.status)
        if isinstance(answer, Wrapped):
            return success(answer.data, **answer.more)
        return success(answer)


@dataclass(frozen=True)
class Wrapped:
    """A reply with more beside its data."""

    data: object
    more: Mapping[str, object]


@dataclass(frozen=True)
class Raw:
    """A file as an answer."""

    content: bytes
    content_type: str
    status: int = 200


def job(
    status: str,
    tasks: Mapping[str, str] | None = None,
    *,
    job_id: str = "J1",
    component: str = "toy_example",
    **more: object,
) -> dict[str, object]:
    """Return a job as `partyd.api.jobs` writes it, at guest 10000 with host 9999."""
    named = tasks or {"toy_example_0": status}
    return {
        "job_id": job_id,
        "role": "guest",
        "party_id": "10000",
        "initiator": "10000/guest",
        "parties": [{"role": "guest", "party_id": ["10000"]}, {"role": "host", "party_id": ["9999"]}],
        "status": status,
        "stalled_by": [],
        "accepted": [],
        "progress": 100 if status == "success" else 0,
        "create_time": 1_700_000_000_000,
        "start_time": None,
        "end_time": None,
        "elapsed": 420 if status in ("success", "failed", "canceled") else None,
        "reason": None,
        "tasks": [
            {
                "job_id": job_id,
                "task_name": name,
                "component": component,
                "role": "guest",
                "party_id": "10000",
                "status": state,
                "progress": {"done": 1, "total": 4, "note": "rounds"},
            }
            for name, state in named.items()
        ],
        "remote_tasks": {"9999/host": dict(named)},
        "seen": f"{status}-tag",
        **more,
    }


REASON = {"party": "9999/host", "task": "reader_0", "code": "data", "cause": "there is no table demo/host"}
TABLE = {
    "namespace": "demo",
    "name": "guest",
    "count": 3,
    "digest": "ab",
    "skipped": [],
    "schema": {"rows": 3, "sample_id": "id", "match_id": None, "label": "y", "weight": None, "features": ["x0", "x1"]},
}
Echo = Callable[[str], None]
