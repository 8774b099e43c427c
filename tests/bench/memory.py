"""Watch how much memory a process and all its descendants hold together."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from types import TracebackType

INTERVAL_S = 0.1
PAGE = os.sysconf("SC_PAGE_SIZE")


def descendants(root: int) -> list[int]:
    """Return ``root`` and every process below it."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
                children.setdefault(parent, []).append(int(folder.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


class Watch:
    """Samples the processes while inside; afterwards holds the most of each figure, in MB."""

    def __init__(self, root: int) -> None:
        self.resident_mb = self.shared_once_mb = 0.0
        self.processes = 0
        self._root, self._ended = root, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def sample(self) -> None:
        """Look once."""
        resident, once, pids = 0, 0, descendants(self._root)
        for pid in pids:
            with contextlib.suppress(OSError):
                resident += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
                rolled = Path(f"/proc/{pid}/smaps_rollup").read_text()
                once += int(rolled.split("Pss:")[1].split()[0]) * 1024
        self.resident_mb = max(self.resident_mb, resident / 1e6)
        self.shared_once_mb = max(self.shared_once_mb, once / 1e6)
        self.processes = max(self.processes, len(pids))

    def _watch(self) -> None:
        while True:
            self.sample()
            if self._ended.wait(INTERVAL_S):
                return
