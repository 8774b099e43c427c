"""A job's logs as files, where FATE's scripts look for them.

<role>/<party_id>/<task>/root/{DEBUG,INFO,WARNING,ERROR}    a task's lines of that level and above
<role>/<party_id>/{DEBUG,INFO,WARNING,ERROR}                those of all the party's tasks, in the order of time
fate_flow_schedule.log, fate_flow_schedule_error.log        what happened to the job as a whole
"""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from partyd.jobs.diary import LEVELS, Diary, Line, read_lines, schedule_log
from partyd.jobs.record import JobRecord
from partyd.layout import Layout

SPOOL_BYTES = 1 << 20
Folder = Callable[[str, str], Path]


def diaries_of(record: JobRecord, folder: Folder, task: str = "") -> dict[str, Diary]:
    """Return the diaries of a job's tasks at one address, or of one of them."""
    return {name: Diary(folder(record.job, name)) for name in record.tasks if task in ("", name)}


def modules_of(record: JobRecord) -> dict[str, str]:
    """Return what writes the log of each task; scripts find the toy's lines by ``secure_add_guest``."""
    tasks, role = record.spec.dag.tasks, record.me.role.label
    names = {name: tasks[name].component_ref for name in record.tasks}
    return {name: f"{'secure_add' if ref == 'toy_example' else ref}_{role}" for name, ref in names.items()}


def write_logs(stream: BinaryIO, parts: Sequence[tuple[JobRecord, Layout, Folder]]) -> None:
    """Write the logs of a job, as some addresses of this daemon have them, as a ``tar.gz``."""
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        schedule: dict[str, Diary] = {}
        for record, layout, folder in parts:
            place = f"{record.me.role.label}/{record.me.party_id}"
            diaries, modules = diaries_of(record, folder), modules_of(record)
            for level in LEVELS:
                _add(archive, f"{place}/{level}", read_lines(diaries, level, modules))
                for name, diary in diaries.items():
                    _add(archive, f"{place}/{name}/root/{level}", read_lines({name: diary}, level, modules))
            schedule[str(record.me)] = schedule_log(layout, record.job, record.me)
        _add_schedule(archive, schedule)


def _add_schedule(archive: tarfile.TarFile, schedule: Mapping[str, Diary]) -> None:
    _add(archive, "fate_flow_schedule.log", read_lines(schedule, "INFO"))
    _add(archive, "fate_flow_schedule_error.log", read_lines(schedule, "ERROR"))


def _add(archive: tarfile.TarFile, name: str, lines: Iterable[Line]) -> None:
    with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as spool:
        newest = 0.0
        for line in lines:
            spool.write(line.content.encode("utf-8", "replace") + b"\n")
            newest = line.ts
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = spool.tell(), 0o644, int(newest)
        spool.seek(0)
        archive.addfile(info, spool)
