"""One party's API with its local jobs, on a real socket, for the tests about data and tables."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import FormData
from aiohttp.test_utils import TestClient, TestServer

from partyd.api.app import make_app
from partyd.api.site import Pulse, Site
from partyd.config import DataSettings
from partyd.layout import Layout
from partyd.tables.catalog import Catalog
from partyd.tables.local import LocalJobs
from partyd.tables.sources import Sources
from tests.nodes import BANK, Idle, town

Answer = tuple[int, Any]


@dataclass
class TablesApi:
    """What answers, and what stands behind it."""

    http: Any
    site: Site
    jobs: LocalJobs
    state_dir: Path
    data_dir: Path

    @property
    def catalog(self) -> Catalog:
        """The party's tables."""
        return self.jobs.catalog(BANK)

    async def get(self, path: str, /, **query: Any) -> Answer:
        """Ask, and return status and reply."""
        async with self.http.get(path, params={key: str(value) for key, value in query.items()}) as reply:
            return reply.status, json.loads(await reply.text())

    async def post(self, path: str, /, **body: Any) -> Answer:
        """Ask with a JSON body."""
        async with self.http.post(path, json=body) as reply:
            return reply.status, json.loads(await reply.text())

    async def upload(self, text: str | bytes, **query: Any) -> Answer:
        """Stream a file."""
        said = {"namespace": "n", "name": "t", **query}
        async with self.http.post("/v2/data/component/upload/file", params=said, data=text) as reply:
            return reply.status, json.loads(await reply.text())

    async def send_form(self, text: str, **fields: Any) -> Answer:
        """Upload as FATE's client does: a form."""
        form = FormData()
        for name, value in fields.items():
            form.add_field(name, json.dumps(value) if isinstance(value, dict) else str(value))
        form.add_field("file", text.encode(), filename="breast.csv")
        async with self.http.post("/v2/data/component/upload/file", data=form) as reply:
            return reply.status, json.loads(await reply.text())

    async def ended(self, answer: Answer) -> Any:
        """Return the job that an answer has started, at its end."""
        assert answer[0] == 200, answer
        return await self.jobs.wait(answer[1]["job_id"])


@contextlib.asynccontextmanager
async def serving(folder: Path, settings: DataSettings | None = None) -> AsyncIterator[TablesApi]:
    """Give the API."""
    (folder / "data").mkdir()
    async with town(folder / "town", are_running=False) as place:
        node = await place.start(BANK)
        data = settings or DataSettings(bind_roots=(folder / "data",))
        whole = node.settings.model_copy(update={"data": data})
        layout = Layout(whole.state_dir)
        catalog = Catalog(layout, BANK.role, node.store, Sources(layout, data))
        jobs = LocalJobs({BANK: catalog}, {BANK: node.store}, data.jobs_at_once)
        await jobs.recover()
        running = asyncio.create_task(jobs.run())
        site = Site(whole, layout, {BANK: node}, Idle(), Pulse(is_connected=True), local=jobs)
        try:
            async with TestClient(TestServer(make_app(site))) as http:
                yield TablesApi(http, site, jobs, whole.state_dir, folder / "data")
        finally:
            running.cancel()
            await asyncio.wait([running])


def on_tables(folder: Path, work: Callable[[TablesApi], Awaitable[None]], settings: DataSettings | None = None) -> None:
    """Run a test against the API."""

    async def scenario() -> None:
        async with serving(folder, settings) as api:
            await work(api)

    asyncio.run(scenario())
