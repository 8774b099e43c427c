"""Upload a large table to a real daemon; print rows a second and the most memory that any process of it took.

    python -m tests.bench.bench_upload                # 1 million rows
    python -m tests.bench.bench_upload --rows 10000000
    python -m tests.bench.bench_upload --port 9380    # to a daemon that runs already

A row is an id and ten features with six digits each; the file is written first and streamed as `flow data upload` does.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.e2e.federation import ROOT, free_ports

FEATURES = 10
BLOCK_ROWS = 100_000
CHUNK_BYTES = 1 << 20


def write_table(path: Path, rows: int) -> None:
    """Write a CSV file of random numbers; blocks of features come again under other ids."""
    values = np.random.default_rng(1).normal(size=(BLOCK_ROWS, FEATURES))
    lines = [",".join(f"{value:.6f}" for value in row) for row in values.tolist()]
    with path.open("w") as file:
        file.write(",".join(["id", *(f"x{i}" for i in range(FEATURES))]) + "\n")
        for start in range(0, rows, BLOCK_ROWS):
            count = min(BLOCK_ROWS, rows - start)
            file.write("".join([f"user{start + i:09d},{lines[i]}\n" for i in range(count)]))


def peak_mib(pid: int | str) -> float:
    """Return the most memory that a process has held."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", text)
    return int(found[1]) / 1024 if found else 0.0


@dataclass
class Watch:
    """Looks at the processes that read tables while they run; use as a context manager."""

    peaks_mib: dict[str, float] = field(default_factory=dict)
    _done: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Watch:
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(0.05):
            for process in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):
                    if b"partyd.data.ingest" in (process / "cmdline").read_bytes():
                        self.peaks_mib[process.name] = max(self.peaks_mib.get(process.name, 0), peak_mib(process.name))


@contextlib.contextmanager
def daemon(folder: Path, port: int) -> Iterator[int]:
    """Run a daemon of a guest and give its process id."""
    who = ["--role", "guest", "--party-id", "10000", "--state-dir", str(folder)]
    subprocess.run([sys.executable, "-m", "partyd", "init", *who], cwd=ROOT, check=True, capture_output=True)
    command = [sys.executable, "-m", "partyd", *who, "--set", f"http.port={port}", "--set", "log.level=error"]
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            _await(port)
            yield process.pid
        finally:
            process.terminate()


def _await(port: int) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=5):
                return
        except OSError:
            assert time.monotonic() < end, "the daemon does not answer"
            time.sleep(0.1)


def upload(path: Path, port: int) -> dict[str, object]:
    """Stream a file and return what the daemon says of the table."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3600)
    with path.open("rb") as file:
        query = "/v2/data/component/upload/file?namespace=bench&name=table"
        connection.request("POST", query, body=iter(lambda: file.read(CHUNK_BYTES), b""), encode_chunked=True)
        reply = json.loads(connection.getresponse().read())
    connection.close()
    assert reply["code"] == 0, reply
    data = reply["data"]
    assert isinstance(data, dict)
    return data


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        file = Path(folder) / "table.csv"
        write_table(file, options.rows)
        port = options.port or free_ports(1)
        pid = 0 if options.port else stack.enter_context(daemon(Path(folder) / "state", port))
        began = time.monotonic()
        with Watch() as watch:
            stored = upload(file, port)
        took = time.monotonic() - began
        assert stored["count"] == options.rows
        size_mib = file.stat().st_size / (1 << 20)
        print(f"{options.rows} rows of {FEATURES} features, {size_mib:.0f} MiB", end=": ")
        print(f"{took:.1f} s, {options.rows / took:.0f} rows/s")
        print(f"peak memory: reader {max(watch.peaks_mib.values()):.0f} MiB", end="")
        print(f", daemon {peak_mib(pid):.0f} MiB" if pid else "")


if __name__ == "__main__":
    main()
