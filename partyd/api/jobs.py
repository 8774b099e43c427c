"""Jobs, tasks, outputs and logs under ``/v2``, in FATE Flow 2.2's words."""

from __future__ import annotations

import asyncio
import json
import math
from typing import SupportsFloat

from aiohttp import web

from partyd.api.replies import number, read_json, read_text, required, success
from partyd.api.site import Site, SiteNode
from partyd.components import COMPONENTS
from partyd.components.base import JsonObject, Kind
from partyd.errors import DataError, JobError
from partyd.jobs.record import JobRecord, TaskStatus
from partyd.jobs.spec import parse_dag_text

MAX_WAIT_S = 30
PREVIEW_ROWS = 100


class Jobs:
    """The job endpoints."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.post("/v2/job/submit", self.submit),
            web.post("/v2/job/stop", self.stop),
            web.get("/v2/job/query", self.query),
            web.get("/v2/job/list/query", self.listing),
            web.get("/v2/job/task/query", self.tasks),
            web.get("/v2/output/metric/query", self.metrics),
            web.get("/v2/output/model/query", self.model),
            web.get("/v2/output/data/display", self.data),
            web.get("/v2/log/query", self.log),
        ]

    async def submit(self, request: web.Request) -> web.Response:
        """Start a job: the body is the DAG as JSON or YAML, or ``{"dag_schema": DAG}`` as FATE's client sends it."""
        document = await asyncio.to_thread(parse_dag_text, await read_text(request), "the request body")
        if isinstance(document, dict) and set(document) == {"dag_schema"}:
            document = document["dag_schema"]
        node = self._initiator(document)
        job = await node.supervisor.submit(document)
        model = {"model_id": job, "model_version": "0"}
        return success(model, job_id=job)

    def _initiator(self, document: object) -> SiteNode:
        """Return the node here that stands in the job's parties, a guest before all others."""
        named = []
        if isinstance(document, dict) and isinstance(dag := document.get("dag"), dict):
            groups = dag.get("parties")
            for group in groups if isinstance(groups, list) else []:
                if isinstance(group, dict):
                    ids = group.get("party_id")
                    ids = ids if isinstance(ids, list) else [ids]
                    named += [(str(party), str(group.get("role"))) for party in ids]
        for address, node in sorted(self._site.nodes.items(), key=lambda item: item[0].role.value):
            if (address.party_id, address.role.label) in named:
                return node
        return self._site.node()

    async def stop(self, request: web.Request) -> web.Response:
        """End a job at every party."""
        body = await read_json(request)
        job = required(body, "job_id")
        node, _ = await self._site.find(job, None, None)
        await node.supervisor.stop(job)
        return success({"job_id": job}, job_id=job)

    async def query(self, request: web.Request) -> web.Response:
        """Return a job; with ``wait`` (seconds) and the ``seen`` of an earlier reply, as soon as it looks different."""
        query = request.query
        if "job_id" not in query:
            return await self.listing(request)
        node, record = await self._site.find(required(query, "job_id"), query.get("role"), query.get("party_id"))
        wait = number(query, "wait", 0, MAX_WAIT_S)
        if wait and query.get("seen") == _state_tag(record):
            try:
                async with asyncio.timeout(wait):
                    while query.get("seen") == _state_tag(record):
                        await node.supervisor.changed()
                        record = await node.supervisor.record(record.job)
            except TimeoutError:
                pass
        return success([self._job(node, record)])

    async def listing(self, request: web.Request) -> web.Response:
        """Return the newest jobs of each node here."""
        limit, page = number(request.query, "limit", 20, 1000), number(request.query, "page", 1, 1_000_000)
        node = self._site.node(request.query.get("role"), request.query.get("party_id"))
        records = await node.supervisor.records(limit, max(0, page - 1) * limit)
        return success({"count": len(records), "data": [self._job(node, record) for record in records]})

    async def tasks(self, request: web.Request) -> web.Response:
        """Return this party's tasks of a job, with progress."""
        node, record = await self._find(request)
        wanted = request.query.get("task_name")
        tasks = [self._task(node, record, name) for name in record.tasks if wanted in (None, "", name)]
        return success(tasks)

    async def metrics(self, request: web.Request) -> web.Response:
        """Return the metrics of a task: name, and value by step."""
        node, record = await self._find(request)
        task = self._named_task(record, request)
        series = await asyncio.to_thread(node.runner.diary(record.job, task).metrics)
        data = [
            {"name": n, "data": [{"step": step, "val": _finite(value)} for step, value in points]}
            for n, points in series.items()
        ]
        return success(data)

    async def model(self, request: web.Request) -> web.Response:
        """Return the model or metric document that a task wrote at this party."""
        node, record = await self._find(request)
        task = self._named_task(record, request)
        folder = node.runner.folder(record.job, task)
        documents = {path.stem: path.read_text() for path in sorted(folder.glob("*.json"))} if folder.exists() else {}
        return success({name: json.loads(text) for name, text in documents.items()})

    async def data(self, request: web.Request) -> web.Response:
        """Return rows of an output table from row ``begin``, to the owner."""
        node, record = await self._find(request)
        task = self._named_task(record, request)
        port = request.query.get("output_key") or self._first_table(node, record, task)
        table = await asyncio.to_thread(node.runner.read_output, record.job, task, port)
        begin = number(request.query, "begin", 0, 1 << 40)
        end = min(begin + number(request.query, "limit", PREVIEW_ROWS, PREVIEW_ROWS), len(table))
        header = [table.schema.sample_id, *([table.schema.label] if table.schema.label else []), *table.schema.features]
        lines = [
            [
                table.ids[i].decode("utf-8", "replace"),
                *([_finite(table.label[i])] if table.label is not None else []),
                *map(_finite, table.features[i]),
            ]
            for i in range(begin, end)
        ]
        return success({"count": len(table), "header": header, "rows": lines})

    async def log(self, request: web.Request) -> web.Response:
        """Return a task's log lines at this party, from line ``begin``."""
        node, record = await self._find(request)
        task = self._named_task(record, request)
        begin = number(request.query, "begin", 0, 1 << 40)
        lines = await asyncio.to_thread(node.runner.diary(record.job, task).lines, begin)
        return success(lines)

    async def _find(self, request: web.Request) -> tuple[SiteNode, JobRecord]:
        query = request.query
        return await self._site.find(required(query, "job_id"), query.get("role"), query.get("party_id"))

    def _named_task(self, record: JobRecord, request: web.Request) -> str:
        task = required(request.query, "task_name")
        if task not in record.tasks:
            raise JobError(f"job {record.job} has no task {task!r}; its tasks are {', '.join(record.tasks)}")
        return task

    def _first_table(self, node: SiteNode, record: JobRecord, task: str) -> str:
        component = COMPONENTS[record.spec.dag.tasks[task].component_ref]
        for port in component.outputs:
            if port.kind is Kind.DATA and node.runner.has_output(record, task, port.name, port.kind):
                return port.name
        raise DataError(f"task {task} has given no table out at {record.me}")

    def _job(self, node: SiteNode, record: JobRecord) -> JsonObject:
        reason = record.reason
        return {
            "job_id": record.job,
            "role": record.me.role.label,
            "party_id": record.me.party_id,
            "initiator": str(record.initiator),
            "parties": [{"role": g.role, "party_id": list(g.party_id)} for g in record.spec.dag.parties],
            "status": record.status.value,
            "stalled_by": self._stalled_by(node, record),
            "accepted": [str(address) for address in record.accepted],
            "progress": self._progress(record),
            "create_time": int(record.created_at * 1000),
            "start_time": None if record.started_at is None else int(record.started_at * 1000),
            "end_time": None if record.ended_at is None else int(record.ended_at * 1000),
            "elapsed": None if record.ended_at is None else int((record.ended_at - record.created_at) * 1000),
            "reason": None if reason is None else reason.model_dump(mode="json"),
            "tasks": [self._task(node, record, name) for name in record.tasks],
            "remote_tasks": {party: {t: s.value for t, s in tasks.items()} for party, tasks in record.remote.items()},
            "seen": _state_tag(record),
        }

    def _task(self, node: SiteNode, record: JobRecord, name: str) -> JsonObject:
        progress = node.runner.diary(record.job, name).progress
        return {
            "job_id": record.job,
            "task_name": name,
            "component": record.spec.dag.tasks[name].component_ref,
            "role": record.me.role.label,
            "party_id": record.me.party_id,
            "status": record.tasks[name].value,
            "progress": {"done": progress.done, "total": progress.total, "note": progress.note},
        }

    def _stalled_by(self, node: SiteNode, record: JobRecord) -> list[str]:
        """Return the parties of an open job that have been silent for three heartbeats."""
        if record.is_ended:
            return []
        links = node.office.links
        return [str(peer) for peer in record.others if peer not in links or links[peer].is_suspect]

    def _progress(self, record: JobRecord) -> int:
        done = sum(status in (TaskStatus.SUCCESS, TaskStatus.PASS) for status in record.tasks.values())
        return 100 * done // max(1, len(record.tasks))


def _finite(value: SupportsFloat) -> float | None:
    """Return a number as JSON has it, None for one that JSON does not have."""
    number = float(value)
    return number if math.isfinite(number) else None


def _state_tag(record: JobRecord) -> str:
    """Return a text that differs when anything that a watcher shows differs."""
    own = ",".join(f"{t}={s.value}" for t, s in sorted(record.tasks.items()))
    remote = ",".join(f"{p}:{t}={s.value}" for p, ts in sorted(record.remote.items()) for t, s in sorted(ts.items()))
    return f"{record.status.value};{own};{remote}"
