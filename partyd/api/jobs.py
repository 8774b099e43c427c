"""Jobs under ``/v2/job``: submit, watch, stop, run again, clean; FATE Flow 2.2's paths, fields and codes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

from aiohttp import web
from pydantic import Field

from partyd.api.endpoint import Access, Asked, Endpoint, Nothing
from partyd.api.files import send_written
from partyd.api.job_list import Filter, job_page
from partyd.api.replies import BadRequest, FateCode, Refusal, answer, read_text, success
from partyd.api.site import Site, SiteNode
from partyd.api.sought import (
    MAX_TEXT,
    AskedJob,
    AskedOfParty,
    FoundJob,
    find_job,
    find_jobs,
    local_job,
    models_of,
    named_nodes,
    no_job,
)
from partyd.api.views import job_view, local_job_view, state_tag
from partyd.components import COMPONENTS
from partyd.components.base import JsonObject
from partyd.dag.dag import Dag, JobSpec, remarks
from partyd.dag.spec import parse_dag_text
from partyd.dsl.translate import read_any
from partyd.errors import JobError, JobRejected
from partyd.jobs.job_logs import write_logs
from partyd.jobs.record import JobRecord, JobStatus
from partyd.jobs.supervisor import Supervisor
from partyd.models.registry import identity

MAX_WAIT_S = 30
WIND_UP_S = 10.0
MAX_LISTED = 1000
MAX_NOTES = 1000
MAX_REQUEST_ID = 128
DATA_TYPES = {"train_data": "train_data", "validate_data": "validate_data"}


class AskedSubmit(Asked):
    """The body is the job; the same ``request_id`` again is the same job."""

    request_id: str = Field(default="", max_length=MAX_REQUEST_ID)


class AskedJobs(AskedOfParty):
    """Which jobs; with ``wait`` (seconds) and the ``seen`` of an earlier answer, as soon as the job looks different."""

    job_id: str = Field(default="", max_length=8192)
    status: str = Field(default="", max_length=MAX_TEXT)
    wait: int = Field(default=0, ge=0, le=MAX_WAIT_S)
    seen: str = Field(default="", max_length=1 << 16)


class AskedList(AskedOfParty):
    """Which page of which jobs; ``job_id``, ``description`` and ``partner`` may be parts of what is looked for."""

    limit: int = Field(default=20, ge=0, le=MAX_LISTED)
    page: int = Field(default=1, ge=0, le=1_000_000)
    job_id: str = Field(default="", max_length=MAX_TEXT)
    description: str = Field(default="", max_length=MAX_TEXT)
    partner: str = Field(default="", max_length=MAX_TEXT)
    status: str = Field(default="", max_length=MAX_TEXT)
    order_by: Literal[
        "", "create_time", "update_time", "start_time", "end_time", "elapsed", "job_id", "status", "progress"
    ] = ""
    order: Literal["", "asc", "desc"] = ""


class AskedStop(AskedJob):
    """Which job to end, and why."""

    cause: str = Field(default="", max_length=MAX_NOTES)


class AskedRerun(AskedJob):
    """Which job to run again, and from which tasks (none named: those that did not succeed)."""

    tasks: tuple[str, ...] = Field(default=(), max_length=500)
    task_list: tuple[str, ...] = Field(default=(), max_length=500)
    component_name: tuple[str, ...] | str = ()
    force: bool = False


class AskedNotes(AskedJob):
    """A note to keep with a job."""

    notes: str = Field(max_length=MAX_NOTES)


class Jobs:
    """The job endpoints."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def endpoints(self) -> list[Endpoint[Any]]:
        """Return the endpoints."""
        jobs, viewer, operator = "/v2/job", Access.VIEWER, Access.OPERATOR
        return [
            Endpoint("POST", f"{jobs}/submit", self.submit, AskedSubmit, operator, JsonObject, body="text"),
            Endpoint("POST", f"{jobs}/stop", self.stop, AskedStop, operator, JsonObject),
            Endpoint("POST", f"{jobs}/rerun", self.rerun, AskedRerun, operator, JsonObject),
            Endpoint("GET", f"{jobs}/query", self.query, AskedJobs, viewer, list[JsonObject]),
            Endpoint("GET", f"{jobs}/list/query", self.listing, AskedList, viewer, JsonObject),
            Endpoint("POST", f"{jobs}/queue/clean", self.clean_queue, Nothing, operator, JsonObject),
            Endpoint("POST", f"{jobs}/clean", self.clean, AskedJob, operator, JsonObject),
            Endpoint("GET", f"{jobs}/data/view", self.data_view, AskedJob, viewer, JsonObject),
            Endpoint("POST", f"{jobs}/notes/add", self.add_notes, AskedNotes, operator, JsonObject),
            Endpoint("GET", f"{jobs}/dag/dependency", self.dependency, AskedJob, viewer, JsonObject),
            Endpoint("POST", f"{jobs}/log/download", self.download_logs, AskedJob, viewer, bytes),
        ]

    async def submit(self, request: web.Request, asked: AskedSubmit) -> web.StreamResponse:
        """Start a job: the body is the DAG as JSON or YAML, ``{"dag_schema": DAG}``, or FATE 1.x's dsl and conf."""
        document = await asyncio.to_thread(parse_dag_text, await read_text(request), "the request body")
        request_id = (
            asked.request_id or request.headers.get("Idempotency-Key", "") or request.headers.get("request_id", "")
        )
        if isinstance(document, dict) and "dag" not in document:
            request_id = str(document.pop("request_id", request_id))
        if len(request_id) > MAX_REQUEST_ID:
            raise BadRequest(f"request_id holds more than {MAX_REQUEST_ID} characters")
        try:
            spec, notes = await asyncio.to_thread(_read_job, document)
            node = self._initiator(spec)
            job = await node.supervisor.submit(_document(spec), request_id=request_id)
        except JobRejected as error:
            return _rejected(error)
        model_id, model_version = identity(await node.supervisor.record(job))
        return success({"model_id": model_id, "model_version": model_version, "notes": notes}, job_id=job)

    def _initiator(self, spec: JobSpec) -> SiteNode:
        """Return the node here that stands in the job's parties, a guest before all others."""
        parties = spec.dag.addresses()
        for address, node in sorted(self._site.nodes.items(), key=lambda item: item[0].role.value):
            if address in parties:
                return node
        return self._site.node()

    async def stop(self, _: web.Request, asked: AskedStop) -> web.StreamResponse:
        """End a job at every party."""
        local = self._site.local
        if local is not None and await local.find(asked.job_id) is not None:
            await local.stop(asked.job_id)
            return success({"job_id": asked.job_id}, job_id=asked.job_id)
        found = await find_job(self._site, asked)
        await found.node.supervisor.stop(found.record.job, asked.cause or "stopped by its owner")
        return success({"job_id": found.record.job}, job_id=found.record.job)

    async def rerun(self, _: web.Request, asked: AskedRerun) -> web.StreamResponse:
        """Run an ended job again from the tasks that did not succeed, or from those named and all after them."""
        found = await find_job(self._site, asked)
        named = (asked.component_name,) if isinstance(asked.component_name, str) else asked.component_name
        tasks = [*asked.tasks, *asked.task_list, *(name for name in named if name)]
        try:
            await found.node.supervisor.rerun(found.record.job, tasks)
        except JobError as error:
            raise Refusal(str(error), status=409, number=FateCode.JOB_UPDATE_FAILED) from error
        return success({"job_id": found.record.job}, job_id=found.record.job)

    async def query(self, _: web.Request, asked: AskedJobs) -> web.StreamResponse:
        """Return a job as each address here sees it, or the newest jobs when none is named."""
        if not asked.job_id:
            return success(await self._newest(asked))
        local = await self._local(asked.job_id)
        if local is not None:
            return success([local])
        job = AskedJob(job_id=asked.job_id, role=asked.role, party_id=asked.party_id)
        found = await find_jobs(self._site, job)
        if not found:
            raise no_job(asked.job_id)
        if asked.wait and asked.seen == state_tag(found[0].record):
            found[0] = await self._changed(found[0], asked)
        views = [job_view(f.node, f.record) for f in found if asked.status in ("", f.record.status.value)]
        if not views:
            raise Refusal(
                f"job {asked.job_id} is {found[0].record.status.value}, not {asked.status}; leave status out to see it",
                status=404,
                number=FateCode.JOB_NOT_FOUND,
            )
        return success(views)

    async def _changed(self, found: FoundJob, asked: AskedJobs) -> FoundJob:
        """Return the job once it looks different, or after the time that the caller would wait."""
        node, record = found.node, found.record
        try:
            async with asyncio.timeout(asked.wait):
                while asked.seen == state_tag(record):
                    await node.supervisor.changed()
                    record = await node.supervisor.record(record.job)
        except TimeoutError:
            pass
        return FoundJob(node, record)

    async def _newest(self, asked: AskedJobs) -> list[JsonObject]:
        wanted = Filter(statuses=_words(asked.status))
        _, records = await job_page(named_nodes(self._site, asked), wanted, 20, 0)
        return [job_view(node, record) for node, record in records]

    async def _local(self, job: str) -> JsonObject | None:
        found = await local_job(self._site, job)
        return None if found is None else local_job_view(found)

    async def listing(self, _: web.Request, asked: AskedList) -> web.StreamResponse:
        """Return a page of the jobs here, the newest first unless ``order_by`` says otherwise."""
        wanted = Filter(
            job=asked.job_id,
            description=asked.description,
            partner=asked.partner,
            statuses=_words(asked.status),
            order_by=asked.order_by or "create_time",
            is_descending=asked.order != "asc",
        )
        limit = asked.limit or MAX_LISTED
        nodes = named_nodes(self._site, asked)
        count, records = await job_page(nodes, wanted, limit, max(0, asked.page - 1) * limit)
        views = [job_view(node, record) | {"partners": _partners(record)} for node, record in records]
        return success({"count": count, "data": views})

    async def clean_queue(self, _: web.Request, __: Nothing) -> web.StreamResponse:
        """Cancel every job here that waits to begin."""
        cleaned: JsonObject = {}
        for node in self._site.nodes.values():
            cleaned |= dict.fromkeys(await node.supervisor.clean_queue(), JobStatus.CANCELED.value)
        return success(cleaned)

    async def clean(self, _: web.Request, asked: AskedJob) -> web.StreamResponse:
        """Erase what an ended job has given out at this party, its models too; the record and the log stay."""
        jobs = await find_jobs(self._site, asked)
        if not jobs:
            raise no_job(asked.job_id)
        models = 0
        for found in jobs:
            await _clean(found)
            for entry in await models_of(found.node).query(job_id=found.record.job):
                models += await models_of(found.node).delete(entry.model_id, entry.model_version, entry.task_name)
        return success({"job_id": asked.job_id, "models": models})

    async def data_view(self, _: web.Request, asked: AskedJob) -> web.StreamResponse:
        """Return the tables that a job reads, by role, party and task."""
        record = (await find_job(self._site, asked)).record
        dataset: JsonObject = {}
        for address in record.parties:
            tables = _tables(record.spec.dag, address)
            if tables:
                dataset.setdefault(address.role.label, {})[address.party_id] = tables
        return success({"job_id": record.job, "partner": _partners(record), "dataset": dataset})

    async def add_notes(self, _: web.Request, asked: AskedNotes) -> web.StreamResponse:
        """Keep a note with a job at this party."""
        jobs = await find_jobs(self._site, asked)
        if not jobs:
            raise no_job(asked.job_id)
        for found in jobs:
            await found.node.supervisor.note(found.record.job, asked.notes)
        return success({"job_id": asked.job_id, "notes": asked.notes})

    async def dependency(self, _: web.Request, asked: AskedJob) -> web.StreamResponse:
        """Return a job's tasks and what each takes from which, as FATE draws them."""
        record = (await find_job(self._site, asked)).record
        tasks = record.spec.dag.tasks
        dependencies = {name: _links(record.spec.dag, name) for name in tasks}
        return success(
            {
                "component_list": list(tasks),
                "component_module": {name: task.component_ref for name, task in tasks.items()},
                "component_need_run": {name: record.tasks[name].status.value != "pass" for name in record.tasks},
                "component_stage": {name: record.spec.dag.stage_of(name) for name in tasks},
                "dependencies": {name: links for name, links in dependencies.items() if links},
            }
        )

    async def download_logs(self, request: web.Request, asked: AskedJob) -> web.StreamResponse:
        """Return the logs of a job at this party as one ``tar.gz``."""
        found = await find_jobs(self._site, asked)
        if not found:
            raise no_job(asked.job_id)
        parts = [(f.record, self._site.layout, f.node.runner.folder) for f in found]
        name = f"job_{found[0].record.job}_log.tar.gz"
        return await send_written(
            request, self._site.layout, lambda stream: write_logs(stream, parts), name, "application/gzip"
        )


async def _clean(found: FoundJob) -> None:
    """Erase an ended job's outputs, once what still winds it up is done."""
    supervisor, job = found.node.supervisor, found.record.job
    try:
        async with asyncio.timeout(WIND_UP_S if found.record.is_ended else 0):
            while not await _cleaned(supervisor, job):
                await supervisor.changed()
    except TimeoutError:
        raise Refusal(
            f"job {job} has not ended yet; end it first with: flow job stop -j {job}",
            status=409,
            number=FateCode.JOB_UPDATE_FAILED,
        ) from None


async def _cleaned(supervisor: Supervisor, job: str) -> bool:
    try:
        await supervisor.clean(job)
    except JobError:
        return False
    return True


def _rejected(error: JobRejected) -> web.Response:
    """Return FATE's answer to a job that cannot be, with every mistake and its place."""
    mistakes = [{"path": m.path, "message": m.message, "hint": m.hint} for m in error.mistakes]
    body = {"code": FateCode.JOB_PARAMS, "message": str(error), "data": {"mistakes": mistakes}}
    return answer(body, 400)


def _read_job(document: object) -> tuple[JobSpec, list[str]]:
    """Return the job in whatever form it was sent, with what has no effect here or no counterpart."""
    if isinstance(document, dict) and isinstance(text := document.get("dag_schema"), str):
        document = parse_dag_text(text, "dag_schema")
    spec, notes = read_any(document, COMPONENTS)
    return spec, [str(note) for note in notes] + remarks(spec)


def _document(spec: JobSpec) -> JsonObject:
    return spec.model_dump(mode="json", exclude_unset=True)


def _words(text: str) -> frozenset[str]:
    return frozenset(word for word in text.split(",") if word)


def _partners(record: JobRecord) -> list[str]:
    return sorted({address.party_id for address in record.parties} - {record.me.party_id})


def _tables(dag: Dag, address: Any) -> dict[str, str]:
    """Return the tables that a party's tasks name, by task."""
    found = {}
    for name in dag.tasks:
        parameters = dag.parameters(name, address)
        namespace, table = parameters.get("namespace"), parameters.get("name")
        if isinstance(namespace, str) and isinstance(table, str):
            found[name] = f"{namespace}.{table}"
    return found


def _links(dag: Dag, task: str) -> Sequence[JsonObject]:
    """Return what a task takes from other tasks."""
    links = []
    for group, port, artifact in dag.tasks[task].inputs.groups():
        for source in artifact.sources():
            kind = DATA_TYPES.get(port, group.value)
            links.append(
                {
                    "component_name": source.producer_task,
                    "type": kind,
                    "up_output_info": [kind, 0],
                    "input_key": port,
                    "output_key": source.output_artifact_key,
                }
            )
    return links
