"""Tasks under ``/v2/job/task``: how each stands at this party."""

from __future__ import annotations

from typing import Any, Literal

from aiohttp import web
from pydantic import Field

from partyd.api.endpoint import Access, Endpoint
from partyd.api.job_list import Filter, job_page
from partyd.api.replies import FateCode, Refusal, success
from partyd.api.site import Site
from partyd.api.sought import MAX_TEXT, AskedJob, AskedOfParty, FoundJob, find_jobs, local_job, named_nodes, no_job
from partyd.api.views import local_task_view, task_view
from partyd.components.base import JsonObject

MAX_LISTED = 1000
RECENT_JOBS = 100
"""How many jobs are looked into by a question that names none."""


class AskedTasks(AskedOfParty):
    """Which tasks."""

    job_id: str = Field(default="", max_length=8192)
    task_name: str = Field(default="", max_length=MAX_TEXT)
    status: str = Field(default="", max_length=MAX_TEXT)
    task_id: str = Field(default="", max_length=MAX_TEXT)
    task_version: int | None = Field(default=None, ge=0, le=1 << 31)

    def wants(self, view: JsonObject) -> bool:
        """Return whether a task is one of those."""
        texts = ((self.task_name, "task_name"), (self.status, "status"), (self.task_id, "task_id"))
        return all(text in ("", view[name]) for text, name in texts) and self.task_version in (
            None,
            view["task_version"],
        )


class AskedTaskList(AskedOfParty):
    """Which page of which tasks."""

    limit: int = Field(default=20, ge=0, le=MAX_LISTED)
    page: int = Field(default=1, ge=0, le=1_000_000)
    job_id: str = Field(default="", max_length=MAX_TEXT)
    task_name: str = Field(default="", max_length=MAX_TEXT)
    order_by: Literal["", "create_time", "start_time", "end_time", "elapsed", "task_name", "status"] = ""
    order: Literal["", "asc", "desc"] = ""


class Tasks:
    """The task endpoints."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def endpoints(self) -> list[Endpoint[Any]]:
        """Return the endpoints."""
        return [
            Endpoint("GET", "/v2/job/task/query", self.query, AskedTasks, Access.VIEWER, list[JsonObject]),
            Endpoint("GET", "/v2/job/task/list/query", self.listing, AskedTaskList, Access.VIEWER, JsonObject),
        ]

    async def query(self, _: web.Request, asked: AskedTasks) -> web.StreamResponse:
        """Return this party's tasks of a job, with progress."""
        views = [view for view in await self._views(asked) if asked.wants(view)]
        if not views:
            raise Refusal(
                f"no task here is as asked{f' in job {asked.job_id[:64]}' if asked.job_id else ''}; leave out status, "
                "task_name, task_id or task_version to see more",
                status=404,
                number=FateCode.TASK_NOT_FOUND,
            )
        return success(views)

    async def _views(self, asked: AskedTasks) -> list[JsonObject]:
        job = asked.job_id or asked.task_id.split("_")[0]
        if not job:
            jobs = await self._recent(asked, "")
        else:
            local = await local_job(self._site, job)
            if local is not None:
                return [local_task_view(local)]
            jobs = await find_jobs(self._site, AskedJob(job_id=job, role=asked.role, party_id=asked.party_id))
            if not jobs:
                raise no_job(job)
        return [task_view(found.node, found.record, name) for found in jobs for name in found.record.tasks]

    async def _recent(self, asked: AskedOfParty, job: str) -> list[FoundJob]:
        _, records = await job_page(named_nodes(self._site, asked), Filter(job=job), RECENT_JOBS, 0)
        return [FoundJob(node, record) for node, record in records]

    async def listing(self, _: web.Request, asked: AskedTaskList) -> web.StreamResponse:
        """Return a page of this party's tasks, those of the newest jobs first unless ``order_by`` says otherwise."""
        views = [
            task_view(found.node, found.record, name)
            for found in await self._recent(asked, asked.job_id)
            for name in found.record.tasks
            if asked.task_name in ("", name)
        ]
        if asked.order_by or asked.order:
            field = asked.order_by or "create_time"
            views.sort(key=lambda view: (view[field] is not None, view[field] or 0), reverse=asked.order != "asc")
        limit = asked.limit or MAX_LISTED
        begin = max(0, asked.page - 1) * limit
        return success({"count": len(views), "data": views[begin : begin + limit]})
