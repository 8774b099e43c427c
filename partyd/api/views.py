"""A job and its tasks as the API shows them: FATE Flow's fields, and ours for people who wait for a job."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import SupportsFloat

from partyd import __version__
from partyd.api.site import SiteNode
from partyd.components.base import JsonObject
from partyd.jobs.record import JobRecord, TaskState, TaskStatus
from partyd.models.registry import identity
from partyd.tables.local import LocalJob

PROVIDER = f"partyd:{__version__}@local"
DONE = (TaskStatus.SUCCESS, TaskStatus.PASS)


def job_view(node: SiteNode, record: JobRecord) -> JsonObject:
    """Return a job as one party sees it."""
    reason, waiting, dag = record.reason, record.waiting, record.spec.dag
    model_id, model_version = identity(record)
    cores = sum(state.cores for state in record.tasks.values() if state.status is TaskStatus.RUNNING)
    inheritance = dag.conf.inheritance
    return {
        "job_id": record.job,
        "flow_id": "",
        "protocol": "fate_flow",
        "user_name": "",
        "role": record.me.role.label,
        "party_id": record.me.party_id,
        "initiator": str(record.initiator),
        "initiator_party_id": record.initiator.party_id,
        "scheduler_party_id": record.initiator.party_id,
        "parties": [{"role": g.role, "party_id": list(g.party_id)} for g in dag.parties],
        "dag": record.spec.model_dump(mode="json", exclude_defaults=True)
        | {"schema_version": record.spec.schema_version, "kind": record.spec.kind},
        "inheritance": {} if inheritance is None else inheritance.model_dump(mode="json"),
        "status": record.status.value,
        "status_code": None,
        "progress": progress_of(node, record),
        "tag": "",
        "description": record.notes,
        "notes": record.notes,
        "model_id": model_id,
        "model_version": model_version,
        "engine_name": "partyd",
        "cores": cores,
        "memory": 0,
        "remaining_cores": 0,
        "remaining_memory": 0,
        "resource_in_use": cores > 0,
        "apply_resource_time": _ms(record.started_at),
        "return_resource_time": _ms(record.ended_at),
        **_times(record.created_at, record.started_at, record.ended_at),
        "stalled_by": stalled_by(node, record),
        "waiting": None if waiting is None else waiting.model_dump(mode="json"),
        "accepted": [str(address) for address in record.accepted],
        "approval": "wanted" if record.is_parked else "",
        "contract": record.contract,
        "run": record.run,
        "reason": None if reason is None else reason.model_dump(mode="json"),
        "tasks": [task_view(node, record, name) for name in record.tasks],
        "remote_tasks": {
            party: {name: state.status.value for name, state in tasks.items()} for party, tasks in record.remote.items()
        },
        "remote_reasons": {
            party: {name: {"code": s.code, "cause": s.cause} for name, s in tasks.items() if s.code}
            for party, tasks in record.remote.items()
        },
        "remote_progress": {
            party: {name: {"done": p.done, "total": p.total, "note": p.note} for name, p in tasks.items()}
            for party, tasks in node.supervisor.remote_progress(record.job).items()
        },
        "seen": state_tag(record),
    }


def task_view(node: SiteNode, record: JobRecord, name: str) -> JsonObject:
    """Return a task as one party sees it."""
    state, spec = record.tasks[name], record.spec.dag.tasks[name]
    progress = node.runner.diary(record.job, name).progress
    parameters = record.spec.dag.parameters(name, record.me)
    return {
        "job_id": record.job,
        "protocol": "fate_flow",
        "role": record.me.role.label,
        "party_id": record.me.party_id,
        "task_name": name,
        "component": spec.component_ref,
        "task_id": f"{record.job}_{name}",
        "task_version": state.version,
        "execution_id": f"{record.job}_{name}_{state.version}_{record.me.role.label}_{record.me.party_id}",
        "scheduler_party_id": record.initiator.party_id,
        "status": state.status.value,
        "party_status": state.status.value,
        "status_code": None,
        "component_parameters": parameters,
        "task_parameters": {},
        "task_run": {},
        "task_cores": state.cores,
        "memory": 0,
        "resource_in_use": state.status is TaskStatus.RUNNING,
        "provider_name": PROVIDER,
        "engine_conf": {},
        "launcher_name": "default",
        "launcher_conf": {},
        "sync_type": "callback",
        "timeout": None,
        "kill_status": state.status in (TaskStatus.CANCELED, TaskStatus.TIMEOUT),
        "error_report": f"{state.code}: {state.cause}" if state.code else "",
        "code": state.code,
        "cause": state.cause,
        "run_ip": "",
        "run_port": None,
        "run_pid": None,
        "worker_id": "",
        "cmd": [],
        **_times(record.created_at, state.started_at, state.ended_at),
        "progress": {"done": progress.done, "total": progress.total, "note": progress.note},
    }


def local_job_view(job: LocalJob) -> JsonObject:
    """Return a local job in the same form: role ``local``, party 0, one task."""
    reason = {"party": job.address, "task": job.component, "code": job.code, "cause": job.reason}
    return {
        "job_id": job.job_id,
        "protocol": "fate_flow",
        "role": "local",
        "party_id": "0",
        "initiator": job.address,
        "initiator_party_id": "0",
        "scheduler_party_id": "0",
        "parties": [{"role": "local", "party_id": ["0"]}],
        "dag": {},
        "inheritance": {},
        "status": job.status.value,
        "status_code": None,
        "progress": int(100 * job.progress),
        "tag": "",
        "user_name": job.actor,
        "description": f"{job.component} of {job.namespace}/{job.name}",
        "model_id": job.job_id,
        "model_version": "0",
        "engine_name": "partyd",
        **_times(job.created_at, job.started_at, job.ended_at),
        "stalled_by": [],
        "waiting": None,
        "accepted": [],
        "reason": reason if job.reason else None,
        "tasks": [local_task_view(job)],
        "remote_tasks": {},
        "rows": job.rows,
        "seen": f"{job.status.value};{job.done}",
    }


def local_task_view(job: LocalJob) -> JsonObject:
    """Return a local job's only task."""
    return {
        "job_id": job.job_id,
        "protocol": "fate_flow",
        "role": "local",
        "party_id": "0",
        "task_name": f"{job.component}_0",
        "component": job.component,
        "task_id": f"{job.job_id}_{job.component}_0",
        "task_version": 0,
        "status": job.status.value,
        "party_status": job.status.value,
        "status_code": None,
        "component_parameters": {"namespace": job.namespace, "name": job.name},
        "task_cores": 1,
        "provider_name": PROVIDER,
        "error_report": f"{job.code}: {job.reason}" if job.reason else "",
        "code": job.code,
        "cause": job.reason,
        **_times(job.created_at, job.started_at, job.ended_at),
        "progress": {"done": job.done, "total": job.total, "note": ""},
    }


def stalled_by(node: SiteNode, record: JobRecord) -> list[str]:
    """Return the parties of an open job that have been silent for three heartbeats."""
    if record.is_ended:
        return []
    links = node.office.links
    return [str(peer) for peer in record.others if peer not in links or links[peer].is_suspect]


def progress_of(node: SiteNode, record: JobRecord) -> int:
    """Return how much of this party's share of a job is done, in percent."""
    parts = [_share(node, record, name, state) for name, state in record.tasks.items()]
    return int(100 * sum(parts) / max(1, len(parts)))


def _share(node: SiteNode, record: JobRecord, name: str, state: TaskState) -> float:
    if state.status in DONE:
        return 1.0
    progress = node.runner.diary(record.job, name).progress
    return min(1.0, progress.done / progress.total) if progress.total > 0 else 0.0


def state_tag(record: JobRecord) -> str:
    """Return a text that differs when anything that a watcher shows differs."""
    waiting = record.waiting
    why = "" if waiting is None else f"{waiting.party}:{waiting.code}:{waiting.number}"
    remote = [f"{party}({_tags(tasks)})" for party, tasks in sorted(record.remote.items())]
    return ";".join([record.status.value, str(record.run), why, _tags(record.tasks), *remote])


def _tags(tasks: Mapping[str, TaskState]) -> str:
    return ",".join(f"{name}={state.status.value}:{state.version}" for name, state in sorted(tasks.items()))


def finite(value: SupportsFloat) -> float | None:
    """Return a number as JSON has it, None for one that JSON does not have."""
    number = float(value)
    return number if math.isfinite(number) else None


def _times(created_at: float, started_at: float | None, ended_at: float | None) -> JsonObject:
    began = created_at if started_at is None else started_at
    return {
        "create_time": _ms(created_at),
        "start_time": _ms(started_at),
        "end_time": _ms(ended_at),
        "update_time": _ms(ended_at or started_at or created_at),
        "elapsed": None if ended_at is None else int(ended_at * 1000) - int(began * 1000),
    }


def _ms(moment: float | None) -> int | None:
    return None if moment is None else int(moment * 1000)
