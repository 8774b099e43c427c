"""Measure a daemon: start to ready, idle memory and CPU, and the toy job on a running federation.

    python -m tests.bench.bench_daemon [--broker embedded|mosquitto] [--toys 10]

Starts a standalone federation, restarts one of its daemons alone to time it, lets it idle for 20 s, then runs the toy.
Memory is the resident set of the daemon's process; its warm fork-server, of which every task is a fork, stands beside.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.e2e.federation import Federation, running, toy

IDLE_S = 20.0


def resident_mb(pid: int) -> float:
    """Return a process's resident set in MB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) * 1024 / 1e6


def cpu_s(pid: int) -> float:
    """Return the CPU seconds a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def restart_s(federation: Federation) -> float:
    """Kill the arbiter's daemon and return the seconds from its next start to ``/readyz`` answering 200."""
    (old,) = federation.processes("arbiter")
    federation.kill("arbiter")
    while (pids := federation.processes("arbiter")) in ([], [old]):
        time.sleep(0.005)
    clock = os.sysconf("SC_CLK_TCK")
    began = int(Path(f"/proc/{pids[0]}/stat").read_text().rsplit(")", 1)[1].split()[19]) / clock
    url = f"http://127.0.0.1:{federation.port + 3}/readyz"
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as reply:
                if reply.status == 200:
                    return time.clock_gettime(time.CLOCK_BOOTTIME) - began
        except OSError:
            time.sleep(0.005)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", choices=["auto", "embedded", "mosquitto"], default="auto")
    parser.add_argument("--toys", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "federation", options.broker) as federation:
        starts = [restart_s(federation) for _ in range(3)]
        print(f"start to ready: {min(starts):.2f} to {max(starts):.2f} s (3 starts)")
        federation.wait_until_met()
        (pid,) = federation.processes("arbiter")
        before = cpu_s(pid)
        time.sleep(IDLE_S)
        print(
            f"idle: {resident_mb(pid):.0f} MB, "
            f"{100 * (cpu_s(pid) - before) / IDLE_S:.2f} % of a core over {IDLE_S:.0f} s"
        )
        times = []
        for _ in range(options.toys):
            began = time.perf_counter()
            view = federation.wait(federation.submit(toy()))
            assert view["status"] == "success", view
            times.append(time.perf_counter() - began)
        print(
            f"toy, submit to success: median {statistics.median(times):.2f} s, "
            f"most {max(times):.2f} s ({options.toys} runs)"
        )
        (guest,) = federation.processes("guest")
        print(f"a guest that has run {options.toys} jobs: {resident_mb(guest):.0f} MB")


if __name__ == "__main__":
    main()
