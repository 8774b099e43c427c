"""The benchmark of jobs: its jobs are ones that a daemon takes, and what it prints is read from the daemons' log."""

from __future__ import annotations

import argparse
import json
import os

import pytest

from partyd.components import COMPONENTS, NAMES
from partyd.dag.spec import read_dag
from tests.bench.bench_jobs import JOBS, Outcome, breakdown, chosen, dag, finished, tell
from tests.bench.job_tables import breast
from tests.bench.memory import Watch

ENTRY = {
    "event": "task_finished", "ts": "1", "me": "9999/host", "job": "j", "task": "psi_0", "cpu_s": 1.25,
    "peak_kib": 2048, "encrypt_s": 0.5, "wait_s": 2.0, "sent_bytes": 3e6,
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name, job in JOBS.items() if all(c in NAMES for c, _ in job.tasks)])
def test_a_job_is_one_that_a_daemon_takes(name: str) -> None:
    spec = read_dag({"dag": dag(JOBS[name])}, COMPONENTS)
    assert [task for task in spec.dag.tasks if task != "reader_0"] == [
        f"{component}_0" for component, _ in JOBS[name].tasks
    ]


def test_a_component_that_is_missing_is_named_and_its_job_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    every = chosen(argparse.Namespace(jobs="", long=True))
    absent = {name for name, job in JOBS.items() if any(c not in NAMES for c, _ in job.tasks)}
    assert set(every) == set(JOBS) - absent
    assert capsys.readouterr().out.count("does not exist in this version") == len(absent)
    with pytest.raises(SystemExit, match="there is no job 'x'"):
        chosen(argparse.Namespace(jobs="x", long=False))


def test_figures_are_those_of_the_job_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    other = ENTRY | {"job": "other"}
    log = b"a line of no daemon\n" + "\n".join(map(json.dumps, (ENTRY, other))).encode()
    assert finished(log, "j") == [ENTRY]
    assert breakdown(ENTRY) == "cpu 1.25 s, peak 2 MiB, encrypt 0.50 s, wait 2.00 s"
    tell("breast psi", JOBS["breast psi"], [Outcome(1.0, Watch(1), [ENTRY], None), Outcome(2.0, Watch(1), [], None)])
    printed = capsys.readouterr().out
    assert "breast psi: 1.00 s of [1.00, 2.00]; wanted 1.5 s (FATE 52 s): met" in printed
    assert "sent by all parties: 3.00 MB" in printed


def test_the_watch_sees_the_memory_of_a_process() -> None:
    with Watch(os.getpid()) as watch:
        watch.sample()
    assert watch.resident_mb >= watch.shared_once_mb > 1
    assert watch.processes >= 1


def test_both_halves_of_the_table_have_the_same_ids() -> None:
    _, guest, host = breast()
    ids = [sorted(line.split(",")[0] for line in half.splitlines()[1:]) for half in (guest, host)]
    assert ids[0] == ids[1]
    assert (guest.splitlines()[0].count(","), host.splitlines()[0].count(",")) == (11, 20)
