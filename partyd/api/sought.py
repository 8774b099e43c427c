"""What a request is about: the node, job and task that it names, or FATE's code for the one that is not here."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from partyd.api.endpoint import Asked
from partyd.api.replies import FateCode, Refusal
from partyd.api.site import Site, SiteNode
from partyd.components import COMPONENTS
from partyd.components.base import Component
from partyd.errors import DataError, JobError
from partyd.jobs.record import JobRecord, TaskState
from partyd.models.registry import ModelRegistry
from partyd.tables.local import LocalJob

MAX_TEXT = 256


class AskedOfParty(Asked):
    """At which of this daemon's addresses; none named means any that has an answer."""

    role: str = Field(default="", max_length=MAX_TEXT)
    party_id: str = Field(default="", max_length=MAX_TEXT)


class AskedJob(AskedOfParty):
    """A job."""

    job_id: str = Field(min_length=1, max_length=8192)


class AskedTask(AskedJob):
    """A task of a job."""

    task_name: str = Field(min_length=1, max_length=MAX_TEXT)


@dataclass(frozen=True)
class FoundJob:
    """A job, and the address whose view of it this is."""

    node: SiteNode
    record: JobRecord


@dataclass(frozen=True)
class FoundTask(FoundJob):
    """A task of a job."""

    task: str

    @property
    def state(self) -> TaskState:
        """How the task stands here."""
        return self.record.tasks[self.task]

    @property
    def component(self) -> Component:
        """What the task runs; raises Refusal for one that this version does not have any more."""
        name = self.record.spec.dag.tasks[self.task].component_ref
        if name not in COMPONENTS:
            raise Refusal(f"this partyd has no component {name!r} any more", status=404, number=FateCode.TASK_NOT_FOUND)
        return COMPONENTS[name]

    @property
    def place(self) -> str:
        """The task in words, for messages."""
        return f"task {self.task} of job {self.record.job} at {self.record.me}"


def named_nodes(site: Site, asked: AskedOfParty) -> list[SiteNode]:
    """Return this daemon's addresses that a request means; raises Refusal naming those there are."""
    found = [
        node
        for address, node in site.nodes.items()
        if asked.role in ("", address.role.label) and asked.party_id in ("", address.party_id)
    ]
    if not found:
        names = ", ".join(map(str, site.nodes))
        raise Refusal(
            f"this daemon is {names}, not {asked.party_id or 'any party'}/{asked.role or 'any role'}; "
            "ask that party's own daemon: only an owner reads its own party's outputs",
            status=404,
            number=FateCode.JOB_NOT_FOUND,
        )
    return found


async def find_jobs(site: Site, asked: AskedJob) -> list[FoundJob]:
    """Return what each address here that knows the job has of it, the job's initiator first; may be empty."""
    found = []
    for node in named_nodes(site, asked):
        try:
            found.append(FoundJob(node, await node.supervisor.record(asked.job_id)))
        except JobError:
            continue
    return sorted(found, key=lambda job: job.record.me != job.record.initiator)


async def find_job(site: Site, asked: AskedJob) -> FoundJob:
    """Return the job that a request names; raises Refusal with FATE's code for one that is not here."""
    found = await find_jobs(site, asked)
    if not found:
        raise no_job(asked.job_id)
    return found[0]


async def find_task(site: Site, asked: AskedTask) -> FoundTask:
    """Return the task that a request names; raises Refusal with FATE's code for one that is not here."""
    jobs = await find_jobs(site, asked)
    if not jobs:
        raise no_job(asked.job_id)
    for job in jobs:
        if asked.task_name in job.record.tasks:
            return FoundTask(job.node, job.record, asked.task_name)
    tasks = ", ".join(jobs[0].record.tasks) or "none here"
    raise Refusal(
        f"job {asked.job_id} has no task {asked.task_name!r}; its tasks are {tasks}",
        status=404,
        number=FateCode.TASK_NOT_FOUND,
    )


def no_job(job: str) -> Refusal:
    """Return the answer for a job that nobody here knows."""
    message = f"there is no job {job[:64]!r} here; list those there are with: flow job list"
    return Refusal(message, status=404, number=FateCode.JOB_NOT_FOUND)


async def local_job(site: Site, job: str) -> LocalJob | None:
    """Return an upload, transformation or download of this daemon's own by its id."""
    return None if site.local is None else await site.local.find(job)


def models_of(node: SiteNode) -> ModelRegistry:
    """Return an address's registry of models, the one into which its tasks give theirs."""
    models = node.runner.models
    if not isinstance(models, ModelRegistry):
        raise DataError(f"{node.address} keeps no models")
    return models
