"""The requests about jobs, tasks, outputs and logs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from partyd.client.call import ANY_PARTY, Call, Download, Party, data_of, nothing, object_of
from partyd.client.errors import StrangeReply
from partyd.client.fields import Fields
from partyd.client.replies import Job, LogLine, Metric, Task, Why
from partyd.client.replies_data import Rows

T = TypeVar("T")
MAX_WAIT_S = 30


def get(path: str, read: Callable[[Fields], T], **query: str | int | None) -> Call[T]:
    """Return a GET; fields that are empty are left out."""
    return Call("GET", path, read, {key: str(value) for key, value in query.items() if value not in (None, "")})


def post(path: str, read: Callable[[Fields], T], fields: Mapping[str, object]) -> Call[T]:
    """Return a POST of a JSON object; fields that are empty are left out."""
    return Call("POST", path, read, body=json.dumps(given(fields)).encode())


def given(fields: Mapping[str, object]) -> dict[str, object]:
    """Return the fields that say something."""
    return {key: value for key, value in fields.items() if value is not None and value != ""}


# -- jobs


def submit(dag: str | Mapping[str, object], request_id: str = "") -> Call[str]:
    """Start a job; the same request id again is the same job."""
    text = dag if isinstance(dag, str) else json.dumps(dag)
    query = {"request_id": request_id} if request_id else {}
    return Call("POST", "/v2/job/submit", lambda reply: reply.text("job_id"), query, text.encode())


@dataclass(frozen=True)
class Submitted:
    """A job that was taken, and what the daemon remarks about it (fields of FATE 1.x without a counterpart)."""

    job_id: str
    notes: tuple[str, ...]


def submit_noted(dag: str | Mapping[str, object], request_id: str = "") -> Call[Submitted]:
    """Start a job, and hear the remarks too."""
    call = submit(dag, request_id)
    return Call("POST", call.path, _submitted, call.query, call.body)


def job(job_id: str, party: Party = ANY_PARTY, *, seen: str = "", wait_s: int = 0) -> Call[Job]:
    """Ask for a job; with ``wait_s``, as soon as it differs from the state of the tag ``seen``."""
    query = {"job_id": job_id, **party.query()}
    wait = min(wait_s, MAX_WAIT_S)
    if seen and wait:
        query |= {"seen": seen, "wait": str(wait)}
    return Call("GET", "/v2/job/query", _one_job, query, wait_s=wait)


def jobs(
    limit: int = 20, party: Party = ANY_PARTY, *, page: int = 1, job_id: str = "", status: str = ""
) -> Call[list[Job]]:
    """Ask for the newest jobs."""
    more = {"page": page if page > 1 else None, "job_id": job_id, "status": status}
    return get("/v2/job/list/query", _page_of(Job.read), limit=limit, **more, **party.query())


def stop(job_id: str) -> Call[None]:
    """End a job at every party."""
    return post("/v2/job/stop", nothing, {"job_id": job_id})


def rerun(job_id: str, tasks: Sequence[str] = ()) -> Call[None]:
    """Run a job again from what failed, or from the named tasks on."""
    return post("/v2/job/rerun", nothing, {"job_id": job_id, "task_list": list(tasks) or None})


def clean(job_id: str) -> Call[None]:
    """Erase what an ended job left at this party."""
    return post("/v2/job/clean", nothing, {"job_id": job_id})


def clean_queue() -> Call[Mapping[str, object]]:
    """Cancel every job that has not begun."""
    return post("/v2/job/queue/clean", object_of, {})


def add_notes(job_id: str, notes: str, party: Party = ANY_PARTY) -> Call[None]:
    """Keep a note with a job."""
    return post("/v2/job/notes/add", nothing, {"job_id": job_id, "notes": notes, **party.query()})


def dependency(job_id: str, party: Party = ANY_PARTY) -> Call[Mapping[str, object]]:
    """Ask which task feeds which."""
    return get("/v2/job/dag/dependency", object_of, job_id=job_id, **party.query())


def why(job_id: str, party: Party = ANY_PARTY) -> Call[Why]:
    """Ask what a job waits for, or why it ended as it did."""
    return get("/v2/job/why", lambda reply: Why.read(reply.part("data")), job_id=job_id, **party.query())


def contract(job_id: str, party: Party = ANY_PARTY) -> Call[Mapping[str, object]]:
    """Ask for the contract that the parties signed, and what it says in plain words."""
    return get("/v2/job/contract", object_of, job_id=job_id, **party.query())


def approve(job_id: str, party: Party = ANY_PARTY) -> Call[None]:
    """Say yes to a job that waits for this party's owner."""
    return post("/v2/job/approve", nothing, {"job_id": job_id, **party.query()})


def reject(job_id: str, cause: str, party: Party = ANY_PARTY) -> Call[None]:
    """Say no to a job that waits for this party's owner."""
    return post("/v2/job/reject", nothing, {"job_id": job_id, "cause": cause, **party.query()})


def job_logs(job_id: str) -> Download:
    """Fetch a job's logs at this party."""
    return Download("POST", "/v2/job/log/download", body=json.dumps({"job_id": job_id}).encode())


# -- tasks, outputs and logs


def tasks(party: Party = ANY_PARTY, **wanted: str | int) -> Call[list[Task]]:
    """Ask for tasks by job_id, task_name, status, task_id, task_version."""
    return get("/v2/job/task/query", _list_of(Task.read), **wanted, **party.query())


def task_list(limit: int, party: Party = ANY_PARTY, **wanted: str) -> Call[list[Task]]:
    """Ask for the newest tasks by job_id and task_name."""
    return get("/v2/job/task/list/query", _page_of(Task.read), limit=limit, **wanted, **party.query())


def log(
    job_id: str, task: str, party: Party = ANY_PARTY, *, begin: int = 0, end: int = 0, log_type: str = ""
) -> Call[list[LogLine]]:
    """Ask for the log lines of a task, or of a job, from line ``begin``."""
    more = {"begin": begin or None, "end": end or None, "log_type": log_type}
    return get("/v2/log/query", _list_of(LogLine.read), job_id=job_id, task_name=task, **more, **party.query())


def log_stream(job_id: str, task: str, party: Party = ANY_PARTY, *, log_type: str = "", after: int = 0) -> Download:
    """Follow a log from the line after ``after``."""
    query = {"job_id": job_id, "task_name": task, "log_type": log_type, "after": str(after), **party.query()}
    return Download("GET", "/v2/log/stream", {key: value for key, value in query.items() if value})


def log_count(job_id: str, task: str, party: Party = ANY_PARTY, *, log_type: str = "") -> Call[int]:
    """Ask how many log lines there are."""
    return get("/v2/log/count", _count, job_id=job_id, task_name=task, log_type=log_type, **party.query())


def metrics(job_id: str, task: str, party: Party = ANY_PARTY) -> Call[dict[str, Metric]]:
    """Ask for a task's metrics."""
    return get("/v2/output/metric/query", _metrics, **_task(job_id, task, party))


def metrics_as_told(job_id: str, task: str, party: Party = ANY_PARTY) -> Call[object]:
    """Ask for a task's metrics in FATE's form: values by step, and whole documents."""
    return get("/v2/output/metric/query", data_of, **_task(job_id, task, party))


def metric_keys(job_id: str, task: str, party: Party = ANY_PARTY) -> Call[object]:
    """Ask for the names of a task's metrics."""
    return get("/v2/output/metric/key/query", data_of, **_task(job_id, task, party))


def delete_metrics(job_id: str, task: str, party: Party = ANY_PARTY) -> Call[None]:
    """Erase a task's metrics here."""
    return post("/v2/output/metric/delete", nothing, _task(job_id, task, party))


def documents(job_id: str, task: str, party: Party = ANY_PARTY) -> Call[Mapping[str, object]]:
    """Ask for the models and other documents that a task wrote, by name."""
    return get("/v2/output/model/query", object_of, **_task(job_id, task, party))


def delete_model(job_id: str, task: str, party: Party = ANY_PARTY) -> Call[None]:
    """Erase a task's models here."""
    return post("/v2/output/model/delete", nothing, _task(job_id, task, party))


def model_file(job_id: str, task: str, party: Party = ANY_PARTY) -> Download:
    """Fetch a task's models as an archive."""
    return Download("GET", "/v2/output/model/download", _task(job_id, task, party))


def data_file(job_id: str, task: str, party: Party = ANY_PARTY, *, port: str = "") -> Download:
    """Fetch a task's tables as an archive."""
    return Download(
        "GET", "/v2/output/data/download", _task(job_id, task, party) | ({"output_key": port} if port else {})
    )


def data_tables(job_id: str, task: str, party: Party = ANY_PARTY) -> Call[object]:
    """Ask which tables a task gave."""
    return get("/v2/output/data/table", data_of, **_task(job_id, task, party))


def rows(
    job_id: str, task: str, party: Party = ANY_PARTY, *, port: str = "", begin: int = 0, limit: int = 100
) -> Call[Rows]:
    """Ask for rows of a task's output table; the daemon gives at most 100 at a time."""
    query = _task(job_id, task, party)
    return get("/v2/output/data/display", _rows, **query, limit=limit, output_key=port, begin=begin or None)


def _task(job_id: str, task: str, party: Party) -> dict[str, str]:
    return {"job_id": job_id, "task_name": task, **party.query()}


def _submitted(reply: Fields) -> Submitted:
    return Submitted(reply.text("job_id"), reply.part("data").texts("notes"))


def _one_job(reply: Fields) -> Job:
    found = reply.parts("data")
    if not found:
        raise StrangeReply("the reply holds no job", where=reply.where, how="ask with: flow job list")
    return Job.read(found[0])


def _list_of(read: Callable[[Fields], T]) -> Callable[[Fields], list[T]]:
    return lambda reply: [read(part) for part in reply.parts("data")]


def _page_of(read: Callable[[Fields], T]) -> Callable[[Fields], list[T]]:
    return lambda reply: [read(part) for part in reply.part("data").parts("data")]


def _count(reply: Fields) -> int:
    return (
        reply.whole("data") if not isinstance(reply.values.get("data"), Mapping) else reply.part("data").whole("count")
    )


def _metrics(reply: Fields) -> dict[str, Metric]:
    series = (Metric.read(part) for part in reply.parts("data") if Metric.is_series(part))
    return {metric.name: metric for metric in series}


def _rows(reply: Fields) -> Rows:
    return Rows.read(reply.part("data"))
