"""The bank's API with jobs that run to their end: both parties' real nodes, and workers that write what a test says."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp.test_utils import TestClient, TestServer

from partyd.api.frame import frame
from partyd.api.jobs import Jobs
from partyd.api.logs import Logs
from partyd.api.models import Models
from partyd.api.output import Output
from partyd.api.site import Pulse, Site
from partyd.api.tasks import Tasks
from partyd.components import COMPONENTS
from partyd.components.base import Component, JsonObject, Kind
from partyd.data.schema import Schema
from partyd.data.table import Table
from partyd.jobs.order import WorkOrder
from partyd.jobs.workers import Exit, Handler, Workers
from partyd.layout import Layout
from partyd.node import Node
from partyd.tables.catalog import TableRecord
from tests.api.frame import form
from tests.nodes import BANK, SHOP, town

PARTIES = [{"role": "guest", "party_id": ["10000"]}, {"role": "host", "party_id": ["9999"]}]
MODEL: JsonObject = {"data": {"estimator": {"param": {"coef_": [1.5, -2.0]}}}, "meta": {"label_count": 2}}


def dag(tasks: JsonObject, **more: Any) -> JsonObject:
    """Return a job of the bank and the shop."""
    return {"dag": {"parties": PARTIES, "stage": "train", "tasks": tasks, **more}, "schema_version": "2.2.0"}


def source(task: str, key: str = "output_data") -> JsonObject:
    """Return an input that takes another task's output."""
    return {"task_output_artifact": {"producer_task": task, "output_artifact_key": key}}


TOY = dag({"toy_0": {"component_ref": "toy_example"}})
SCALED = dag(
    {
        "reader_0": {"component_ref": "reader", "parameters": {"namespace": "n", "name": "t"}},
        "psi_0": {"component_ref": "psi", "inputs": {"data": {"input_data": source("reader_0")}}},
        "split_0": {"component_ref": "data_split", "inputs": {"data": {"input_data": source("psi_0")}}},
        "scale_0": {
            "component_ref": "feature_scale",
            "inputs": {"data": {"train_data": source("split_0", "train_output_data")}},
        },
    }
)


def table(rows: int = 3) -> Table:
    """Return a small table."""
    ids = np.array([f"id{i}".encode() for i in range(rows)])
    features = np.arange(rows * 2, dtype=np.float64).reshape(rows, 2) / 4
    return Table(Schema(rows=rows, sample_id="id", features=("x0", "x1")), ids, features)


Work = Callable[[WorkOrder, Handler], Awaitable[Exit]]


def _write_outputs(component: Component, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for port in component.outputs:
        if port.kind is Kind.DATA:
            table().save(folder / port.name)
        else:
            (folder / f"{port.name}.json").write_text(json.dumps(MODEL))
    (folder / "metric.json").write_text(json.dumps({"count": 3}))


async def write_all(order: WorkOrder, handler: Handler) -> Exit:
    """Write every output that the component has, a metric and a line of each level."""
    _write_outputs(COMPONENTS[order.component], Path(order.outputs))
    for step in (0, 1):
        await handler("metric", ["loss", step, 0.5 - step / 4])
    for level in ("debug", "info", "warning"):
        await handler("log", [level, f"{order.task} says {level}"])
    await handler("progress", [1, 2, "half"])
    return Exit("done")


@dataclass
class Crew(Workers):
    """Workers that do as told, at once."""

    work: Work = write_all

    def __post_init__(self) -> None:
        super().__init__()

    async def run(self, order: WorkOrder, handler: Handler) -> Exit:
        """Do the work."""
        return await self.work(order, handler)


@dataclass
class Front:
    """The bank's API."""

    http: Any
    node: Node
    other: Node
    crew: Crew

    async def get(self, path: str, **query: Any) -> tuple[int, Any]:
        """Ask."""
        async with self.http.get(path, params=query) as reply:
            return reply.status, form(await reply.text())

    async def post(self, path: str, body: Any = None, **query: Any) -> tuple[int, Any]:
        """Tell."""
        data = io.BytesIO(body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode())
        async with self.http.post(path, data=data, params=query) as reply:
            return reply.status, form(await reply.text())

    async def fetch(self, method: str, path: str, body: Any = None, /, **query: Any) -> tuple[int, str, bytes]:
        """Return a file: status, type, content."""
        async with self.http.request(method, path, params=query, json=body) as reply:
            return reply.status, reply.headers["Content-Type"], await reply.read()

    async def data(self, path: str, **query: Any) -> Any:
        """Return the data of an answer that must be well."""
        status, reply = await self.get(path, **query)
        assert (status, reply["code"]) == (200, 0), reply
        return reply["data"]

    async def submit(self, document: Any = TOY, **query: Any) -> str:
        """Submit a job and return its id."""
        status, reply = await self.post("/v2/job/submit", {"dag_schema": document}, **query)
        assert (status, reply["code"]) == (200, 0), reply
        return str(reply["job_id"])

    async def run(self, document: Any = TOY) -> str:
        """Run a job to its end and return its id."""
        job = await self.submit(document)
        await self.ended(job)
        return job

    async def ended(self, job: str) -> JsonObject:
        """Return a job when it has ended."""
        view: JsonObject = {}
        seen = ""
        while view.get("status") not in ("success", "failed", "canceled", "timeout"):
            (view,) = await self.data("/v2/job/query", job_id=job, wait=20, seen=seen)
            seen = view["seen"]
        return view


@contextlib.asynccontextmanager
async def front(folder: Path, work: Work = write_all) -> AsyncIterator[Front]:
    """Give the bank's API."""
    crew = Crew(work)
    async with town(folder, workers=crew) as place:
        node, other = place.nodes[BANK], place.nodes[SHOP]
        table().save(folder / "uploaded")
        for owner in (node, other):
            await owner.catalog.adopt(TableRecord(namespace="n", name="t"), folder / "uploaded")
        site = Site(node.settings, Layout(node.settings.state_dir), {BANK: node}, crew, Pulse(is_connected=True))
        app = frame(site, [Jobs(site), Tasks(site), Output(site), Models(site), Logs(site)])
        async with TestClient(TestServer(app)) as client:
            yield Front(client, node, other, crew)


def at_front(folder: Path, scene: Callable[[Front], Awaitable[None]], work: Work = write_all) -> None:
    """Do something with the bank's API."""

    async def play() -> None:
        async with front(folder, work) as api:
            await scene(api)

    asyncio.run(play())
