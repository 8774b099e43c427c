"""Measure what a task costs beside its own work, and how long a stop takes, with real daemons and a real broker.

    python -m tests.bench.bench_tasks --tasks 200 --stops 20

The overhead before a task counts from the moment it was scheduled (its predecessor's end is known, its record says
running) to its component's first instruction; the overhead after it from its last instruction to the moment when the
result is on the disk and under way to the peers. Both are what each daemon logs with ``task_finished``. A stop counts
from the request at the host until no worker of any party is left.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.e2e.federation import Federation, running, toy

CHAIN = 20
HOST_AT = 1


def chain(length: int, **parameters: object) -> dict[str, Any]:
    """Return a job of toy examples, each waiting for the one before."""
    dag: dict[str, Any] = toy(host="9999", **parameters)
    first = dag["tasks"]["toy_0"]
    for i in range(1, length):
        dag["tasks"][f"toy_{i}"] = {**first, "dependent_tasks": [f"toy_{i - 1}"]}
    return dag


def percentile(values: list[float], share: float) -> float:
    """Return the value below which ``share`` of the values lie."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def measure_tasks(federation: Federation, log: Path, tasks: int) -> tuple[list[float], list[float]]:
    """Run chains of toy examples and return the overheads before and after each task, in seconds."""
    federation.wait(federation.submit(chain(2)))
    done = log.stat().st_size
    for _ in range(max(1, tasks // CHAIN)):
        view = federation.wait(federation.submit(chain(CHAIN)), 600)
        assert view["status"] == "success", view
    entries = []
    for line in log.read_bytes()[done:].splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # not a line of a daemon
        if entry.get("event") == "task_finished":
            entries.append(entry)
    return [entry["before_s"] for entry in entries], [entry["after_s"] for entry in entries]


def measure_stops(federation: Federation, stops: int) -> list[float]:
    """Stop running jobs at the host and return how long each took until the last worker was gone."""
    took = []
    for _ in range(stops):
        job = federation.submit(chain(CHAIN, data_num=1_000_000))
        while not federation.processes("worker"):
            time.sleep(0.01)
        began = time.monotonic()
        federation.post("/v2/job/stop", {"job_id": job}, at=HOST_AT)
        while federation.processes("worker"):
            time.sleep(0.005)
        took.append(time.monotonic() - began)
        assert federation.wait(job)["status"] == "canceled"
    return took


def line(name: str, values: list[float]) -> str:
    """Return one line of figures."""
    p50, p99 = percentile(values, 0.5) * 1000, percentile(values, 0.99) * 1000
    return f"{name}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, most {max(values) * 1000:.1f} ms, of {len(values)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--stops", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "federation", "embedded") as federation:
        before, after = measure_tasks(federation, Path(folder) / "federation.log", options.tasks)
        print(line("scheduled to first instruction", before))
        print(line("last instruction to reported", after))
        print(line("stop at the host until no worker is left", measure_stops(federation, options.stops)))


if __name__ == "__main__":
    main()
