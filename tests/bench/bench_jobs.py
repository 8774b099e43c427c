"""Whole jobs from submission to success: seconds, memory, bytes, and what the time went into.

    python -m tests.bench.bench_jobs [--jobs "breast lr,breast psi"] [--runs 3] [--long] [--broker mosquitto]

Starts a standalone federation (guest, host and arbiter as real daemons, a real broker, end-to-end encryption), uploads
both halves of a table, and submits jobs as a user would. Breast is scikit-learn's table, ten columns and the label at
the guest, twenty at the host. Credit is default_credit_hetero where ../shared/data has it, else made up in its shape:
30,000 rows, 13 and 10 columns; which one it was is printed. ``--long`` adds the job that takes minutes.

Memory is the most that all processes of the federation held at one time: resident sets added up, and beside it with
shared pages counted once. A task's seconds at each party come from its daemon's log (``task_finished``).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from partyd.algorithms.he_parameters import HeParam
from partyd.components import NAMES
from tests.bench.job_tables import breast, credit
from tests.bench.memory import Watch
from tests.e2e.federation import Federation, running

GUEST, HOST, ARBITER = "10000", "9999", "9998"
PARTIES = ("--guest", GUEST, "--host", HOST, "--arbiter", ARBITER)
TABLES = {"breast": breast, "credit": credit}
LONGEST_S = 3600
PARTS = ("encrypt", "compute", "decrypt", "transfer", "wait")


@dataclass(frozen=True)
class Job:
    """A job to be timed: its table, its tasks after the readers, and the seconds that it may take."""

    table: str
    tasks: tuple[tuple[str, Mapping[str, object]], ...]
    wanted_s: float
    others: str = ""
    long: bool = False


LR = {
    "optimizer": {"method": "sgd", "penalty": "l2", "alpha": 0.01, "optimizer_params": {"lr": 0.15}},
    "init_param": {"method": "zeros", "fit_intercept": True},
    "early_stop": "weight_diff",
    "tol": 1e-9,
}
BOOST = {"objective": "binary:bce", "learning_rate": 0.3}
NONE: Mapping[str, object] = {}
PSI, EVALUATION = ("psi", NONE), ("evaluation", NONE)
JOBS = {
    "breast psi": Job("breast", (PSI,), 1.5, "FATE 52 s"),
    "breast lr": Job(
        "breast", (PSI, ("coordinated_lr", LR | {"epochs": 10, "batch_size": 300}), EVALUATION), 8, "FATE 140 s"
    ),
    "breast secureboost": Job(
        "breast",
        (PSI, ("hetero_secureboost", BOOST | {"num_trees": 10, "max_depth": 3, "max_bin": 32}), EVALUATION),
        10,
        "FATE 226 s, SecretFlow 65 s, FedTree 25 s",
    ),
    "credit psi": Job("credit", (PSI,), 8, "FATE 34 s"),
    "credit lr": Job("credit", (PSI, ("coordinated_lr", LR | {"epochs": 1, "batch_size": 3000}), EVALUATION), 25),
    "credit secureboost": Job(
        "credit",
        (PSI, ("hetero_secureboost", BOOST | {"num_trees": 64, "max_depth": 6, "max_bin": 64}), EVALUATION),
        450,
        "FATE 2,800 s on 20 cores, FedTree 489 s",
        long=True,
    ),
}


def dag(job: Job) -> dict[str, Any]:
    """Return the job: readers, then each task upon the one before; an arbiter only where it has something to do."""
    is_arbitrated = any(component.startswith("coordinated_") for component, _ in job.tasks)
    seats = (("guest", GUEST), ("host", HOST), ("arbiter", ARBITER))[: 3 if is_arbitrated else 2]
    parties = [{"role": role, "party_id": [party]} for role, party in seats]
    tables = [{"parameters": {"namespace": "bench", "name": f"{job.table} {role}"}} for role, _ in seats[:2]]
    tasks: dict[str, Any] = {"reader_0": {"component_ref": "reader", **tables[0]}}
    before, output = "reader_0", "output_data"
    for component, parameters in job.tasks:
        port = {"psi": "input_data", "evaluation": "input_datas"}.get(component, "train_data")
        source = {"task_output_artifact": {"producer_task": before, "output_artifact_key": output}}
        before, output = f"{component}_0", "output_data" if component == "psi" else "train_output_data"
        tasks[before] = {"component_ref": component, "parameters": parameters, "inputs": {"data": {port: source}}}
    readers = {
        f"reader_{at}": {"parties": [parties[at]], "tasks": {"reader_0": tables[at]}} for at in range(len(tables))
    }
    return {"parties": parties, "stage": "train", "party_tasks": readers, "tasks": tasks}


@dataclass(frozen=True)
class Outcome:
    """What one run of a job took; ``tasks`` is what the daemons logged of each task at each party."""

    seconds: float
    memory: Watch
    tasks: list[dict[str, Any]]
    auc: float | None


def run(federation: Federation, log: Path, job: Job) -> Outcome:
    """Submit a job, wait for its success at every party, and return what it took."""
    done, asked = log.stat().st_size, dag(job)
    assert federation.process is not None
    with Watch(federation.process.pid) as watch:
        began = time.perf_counter()
        name = federation.submit(asked)
        federation.wait(name, LONGEST_S)
        seconds = time.perf_counter() - began
    for at in range(len(asked["parties"])):
        view = federation.wait(name, 60, at=at)
        assert view["status"] == "success", view["reason"]
    trainer = job.tasks[-2][0] if len(job.tasks) > 2 else ""
    auc = train_auc(federation, name, f"{trainer}_0") if trainer else None
    return Outcome(seconds, watch, finished(log.read_bytes()[done:], name), auc)


def finished(log: bytes, job: str) -> list[dict[str, Any]]:
    """Return what the daemons logged of the job's tasks when they had ended."""
    lines = [line for line in log.splitlines() if b"task_finished" in line]
    return [entry for entry in map(json.loads, lines) if entry["job"] == job]


def train_auc(federation: Federation, job: str, task: str) -> float | None:
    """Return the AUC on the training rows that a task reported at the guest."""
    metrics = federation.get("/v2/output/metric/query", job_id=job, task_name=task)
    return next((float(metric["data"][-1]["val"]) for metric in metrics if metric["name"] == "train_auc"), None)


def tell(name: str, job: Job, outcomes: Sequence[Outcome]) -> None:
    """Print a job's best run, and what its tasks took there."""
    best = min(outcomes, key=lambda outcome: outcome.seconds)
    verdict = "met" if best.seconds <= job.wanted_s else "MISSED"
    every = ", ".join(f"{outcome.seconds:.2f}" for outcome in outcomes)
    beside = f" ({job.others})" if job.others else ""
    print(f"\n{name}: {best.seconds:.2f} s of [{every}]; wanted {job.wanted_s:g} s{beside}: {verdict}")
    print(
        f"  memory: {best.memory.resident_mb:,.0f} MB resident in {best.memory.processes} processes, "
        f"{best.memory.shared_once_mb:,.0f} MB with shared pages once"
    )
    if best.auc is not None:
        print(f"  AUC on the training rows {best.auc:.4f}")
    for entry in sorted(best.tasks, key=lambda entry: (entry["ts"], entry["me"])):
        print(f"  {entry['task']:22} {entry['me']:16} {breakdown(entry)}")
    sent = sum(entry.get("sent_bytes", 0) for entry in best.tasks)
    if sent:
        print(f"  sent by all parties: {sent / 1e6:.2f} MB")


def breakdown(entry: Mapping[str, Any]) -> str:
    """Return one task's figures at one party."""
    words = [f"cpu {entry['cpu_s']:.2f} s", f"peak {entry['peak_kib'] / 1024:.0f} MiB"]
    words += [f"{part} {entry[f'{part}_s']:.2f} s" for part in PARTS if f"{part}_s" in entry]
    return ", ".join(words)


def chosen(options: argparse.Namespace) -> dict[str, Job]:
    """Return the jobs to be run, saying of each other why it is left out."""
    asked = [name.strip() for name in options.jobs.split(",") if name.strip()]
    unknown = sorted(set(asked) - set(JOBS))
    if unknown:
        raise SystemExit(f"there is no job {unknown[0]!r}; there are {', '.join(JOBS)}")
    kept = {}
    for name, job in JOBS.items():
        absent = [component for component, _ in job.tasks if component not in NAMES]
        if asked and name not in asked:
            continue
        if absent:
            print(f"{name}: skipped, for {absent[0]} does not exist in this version")
        elif job.long and not options.long and not asked:
            print(f"{name}: skipped, for it takes minutes; --long runs it")
        else:
            kept[name] = job
    return kept


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", default="", help=f"which, parted by commas, of: {', '.join(JOBS)}")
    parser.add_argument("--runs", type=int, default=3, help="how often each is run (3); the best is told, and all")
    parser.add_argument("--long", action="store_true", help="run the job that takes minutes too")
    parser.add_argument("--broker", choices=["auto", "embedded", "mosquitto"], default="auto")
    options = parser.parse_args(words)
    jobs = chosen(options)
    if not jobs:
        return
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "federation"
        with running(directory, options.broker, parties=PARTIES) as federation:
            for table in dict.fromkeys(job.table for job in jobs.values()):
                origin, guest, host = TABLES[table]()
                print(f"{table}: {origin}; load {os.getloadavg()[0]:.1f}")
                federation.upload(0, guest, "bench", f"{table} guest", label="y")
                federation.upload(1, host, "bench", f"{table} host")
            for name, job in jobs.items():
                log = directory.parent / f"{directory.name}.log"
                tell(name, job, [run(federation, log, job) for _ in range(1 if job.long else options.runs)])
    print(f"\nobfuscation {HeParam().obfuscation} throughout; load at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
