"""Rows a second of psi: compute alone in one process, or whole jobs on real daemons through a real broker.

    python -m tests.bench.bench_psi [--rows 20000] [--pairs 4096] [--protocol rsa_psi]
    python -m tests.bench.bench_psi --through-broker [--rows 100000] [--columns 0] [--chunk 32768]

The first runs both roles in one process on one core and counts seconds of CPU; with it goes the time of millionaires.
The second starts a standalone federation, uploads a table of ``--rows`` rows at each side, half of the ids common, and
submits reader and psi with one core a party. Its rows a second are those of the psi task, from its beginning to its
end at the guest; rows per second of one core are those that a party's worker would do with a core to itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from partyd.algorithms.millionaires import MillionairesParams, millionaires
from partyd.algorithms.psi import psi
from partyd.algorithms.psi_files import Compared
from partyd.algorithms.psi_parameters import PsiParams
from partyd.algorithms.rsa_psi import rsa_psi
from partyd.federation.simulate import Run, simulate
from partyd.types import GUEST, HOST, Address
from tests.e2e.federation import Federation, running

G, H = Address("10000", GUEST), Address("9999", HOST)
PARTIES = ("--guest", G.party_id, "--host", H.party_id, "--arbiter", "9998")
LONGEST_S = 7200.0
NAMES = ("rows of the guest", "rows of the host")
"""Different ones, for the daemons of a standalone federation share their tables."""


def report(what: str, begun: float, done: Run) -> None:
    """Print seconds of CPU, messages and bytes."""
    sent = sum(len(s.body) for s in done.transcript.sent)
    seconds = time.process_time() - begun
    print(f"{what}: {seconds:.2f} s of CPU, {len(done.transcript.sent)} messages, {sent / 1e6:.1f} MB")


def id_of(row: int) -> str:
    """Return the id of a person."""
    return f"user-{row:09d}"


def in_process(rows: int, protocol: str, pairs: int) -> None:
    """Run psi and millionaires with both roles in this process."""
    params = PsiParams.model_validate({"protocol": protocol})
    with tempfile.TemporaryDirectory() as folder:
        sides = {}
        for party, first in ((G, 0), (H, rows // 2)):
            ids = np.array([id_of(row).encode() for row in range(first, first + rows)])
            sides[party] = Compared.of(ids, Path(folder) / party.role.label)
        begun = time.process_time()
        done = asyncio.run(simulate(rsa_psi if protocol == "rsa_psi" else psi, params, sides))
        taken = (time.process_time() - begun) / 2
        report(f"{protocol}, {rows} ids a side, {done.states[G].count} common", begun, done)
        print(f"{rows / taken:,.0f} rows a second with a core for each party")
    x, y = np.random.default_rng(1).integers(0, 2**64, (2, pairs), dtype=np.uint64)
    begun = time.process_time()
    done = asyncio.run(simulate(millionaires, MillionairesParams(), {G: x, H: y}))
    report(f"millionaires, {pairs} pairs", begun, done)


def csv(rows: int, columns: int, first: int, has_label: bool) -> str:
    """Return a table of random order and random values."""
    random = np.random.default_rng(first + 1)
    values = random.normal(size=(rows, columns)).round(4)
    labels = random.integers(0, 2, rows)
    head = ",".join(["id", *(["y"] if has_label else []), *(f"x{i}" for i in range(columns))])
    lines = [head]
    for at, row in enumerate((first + random.permutation(rows)).tolist()):
        label = [str(labels[at])] if has_label else []
        lines.append(",".join([id_of(row), *label, *map(str, values[at])]))
    return "\n".join(lines) + "\n"


def dag(parameters: dict[str, object]) -> dict[str, Any]:
    """Return a job of reader and psi, with one core a party."""
    source = {"task_output_artifact": {"producer_task": "reader_0", "output_artifact_key": "output_data"}}
    reader = {"component_ref": "reader", "parameters": {"namespace": "bench", "name": "rows of nobody"}}
    parties = [{"role": p.role.label, "party_id": [p.party_id]} for p in (G, H)]
    task = {"component_ref": "psi", "parameters": parameters, "inputs": {"data": {"input_data": source}}}
    return {
        "parties": parties,
        "stage": "train",
        "party_tasks": {
            name: {
                "parties": [party],
                "tasks": {"reader_0": {"parameters": {"namespace": "bench", "name": name}}},
            }
            for name, party in zip(NAMES, parties, strict=True)
        },
        "conf": {"task": {"engine_run": {"cores": 1}}},
        "tasks": {"reader_0": reader, "psi_0": task},
    }


def through_broker(rows: int, columns: int, parameters: dict[str, object]) -> None:
    """Run the job on real daemons, and print what it took at each party."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder) / "federation", "embedded", parties=PARTIES) as federation,
    ):
        for at, first in ((0, 0), (1, rows // 2)):
            form = {"label": "y"} if at == 0 else {}
            federation.upload(at, csv(rows, columns, first, at == 0), "bench", NAMES[at], **form)
        asked, before = dag(parameters), cpu_by_process(federation)
        begun = time.perf_counter()
        job = federation.submit(asked)
        view = federation.wait(job, LONGEST_S)
        whole_s = time.perf_counter() - begun
        assert view["status"] == "success", view
        federation.wait(job, 60, at=1)
        told = metric(federation, job)
        entries = finished(Path(folder) / "federation.log", job)
        spent = {name: seconds - before[name] for name, seconds in cpu_by_process(federation).items()}
    task_s = told["task_s"]
    print(f"psi through the broker, {rows} x {rows} rows, {columns} columns, {told['count']} common, one core a party")
    print(f"job {whole_s:.1f} s; psi task {task_s:.1f} s: {rows / task_s:,.0f} rows/s end to end")
    for entry in entries:
        cpu_s, peak = entry["cpu_s"], entry["peak_kib"] / 1024
        print(f"a worker: {cpu_s:.1f} s of CPU, {rows / cpu_s:,.0f} rows/s per core, {peak:.0f} MiB at most")
    print("CPU seconds of the rest: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in spent.items()))
    all_s = sum(spent.values()) + sum(entry["cpu_s"] for entry in entries)
    print(f"{rows / (all_s / 2):,.0f} rows/s when all of it shares two processors and nothing else runs there")


def metric(federation: Federation, job: str) -> dict[str, float]:
    """Return how long the guest's psi task took, and what it found."""
    task = federation.get("/v2/job/task/query", job_id=job, task_name="psi_0")[0]
    shown = federation.get("/v2/output/metric/query", job_id=job, task_name="psi_0")
    summary = next(entry["data"] for entry in shown if isinstance(entry["data"], dict))
    return {"task_s": (task["end_time"] - task["start_time"]) / 1000, "count": summary["id_count"]}


def finished(log: Path, job: str) -> list[dict[str, Any]]:
    """Return what the daemons logged of the job's psi tasks."""
    found = []
    for line in log.read_bytes().splitlines():
        if line.startswith(b"{") and b'"task_finished"' in line:
            entry = json.loads(line)
            if entry.get("task") == "psi_0" and entry.get("job") == job:
                found.append(entry)
    return found


def cpu_by_process(federation: Federation) -> dict[str, float]:
    """Return seconds of CPU of the daemons and the broker since they started."""
    spent = {}
    for what in ("guest", "host", "broker"):
        ticks = 0
        for pid in federation.processes(what):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        spent[what] = ticks / 100
    return spent


def main() -> None:
    """Run what was asked for and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=4096)
    parser.add_argument("--columns", type=int, default=0)
    parser.add_argument("--chunk", type=int, default=PsiParams().chunk_rows)
    parser.add_argument("--protocol", choices=["ecdh_psi", "rsa_psi"], default="ecdh_psi")
    parser.add_argument("--through-broker", action="store_true")
    options = parser.parse_args()
    if options.through_broker:
        parameters = {"protocol": options.protocol, "chunk_rows": options.chunk}
        through_broker(options.rows, options.columns, parameters)
    else:
        in_process(options.rows, options.protocol, options.pairs)


if __name__ == "__main__":
    main()
