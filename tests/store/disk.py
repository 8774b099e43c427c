"""A disk that is watched: every operation of a store is recorded, can be made to fail, and power can be cut after any.

After a cut, what was synced is there; of the rest, each 512-byte sector is kept or lost at random, and of names
created, renamed or removed since their directory was synced, the first few.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from partyd.store.files import Files

SECTOR = 512
_NAMES = itertools.count()


@dataclass(frozen=True)
class Op:
    """One operation; ``kind`` is create, write, truncate, sync, rename, unlink, sync_dir, or ack for a promise kept."""

    kind: str
    path: str
    offset: int = 0
    data: bytes = b""
    other: str = ""
    is_sqlite: bool = False


@dataclass
class Watch:
    """Records operations and lets ``fail`` raise before each; ``fail`` gets the operation and its index."""

    fail: Callable[[Op, int], None] | None = None
    ops: list[Op] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def note(self, op: Op) -> None:
        with self._lock:
            index = len(self.ops)
            self.ops.append(op)
        if self.fail is not None:
            self.fail(op, index)


class WatchedFiles(Files):
    """``Files`` that tells the watch first."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def create(self, path: Path, data: bytes) -> None:
        self._watch.note(Op("create", str(path)))
        self._watch.note(Op("write", str(path), 0, data))
        super().create(path, data)

    def sync_file(self, path: Path) -> None:
        self._watch.note(Op("sync", str(path)))

    def sync_dir(self, directory: Path) -> None:
        self._watch.note(Op("sync_dir", str(directory)))

    def rename(self, old: Path, new: Path) -> None:
        self._watch.note(Op("rename", str(old), other=str(new)))
        super().rename(old, new)

    def unlink(self, path: Path) -> None:
        self._watch.note(Op("unlink", str(path)))
        super().unlink(path)

    def overwrite(self, path: Path, data: bytes) -> None:
        if not path.exists():
            self._watch.note(Op("create", str(path)))
        self._watch.note(Op("write", str(path), 0, data))
        super().overwrite(path, data)


class _WatchedFile(apsw.VFSFile):
    def __init__(self, watch: Watch, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        self._watch = watch
        is_new = name is not None and not Path(self._path).exists()
        if is_new:
            watch.note(Op("create", self._path, is_sqlite=True))
        self._syncs_dir = is_new and not flags[0] & apsw.SQLITE_OPEN_MAIN_DB
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        op = Op("write", self._path, offset, bytes(data), is_sqlite=True)
        try:
            self._watch.note(op)
        except ShortWriteError as error:
            super().xWrite(data[: len(data) // 2], offset)
            raise apsw.FullError("short write") from error
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        self._watch.note(Op("truncate", self._path, size, is_sqlite=True))
        super().xTruncate(size)

    def xSync(self, _flags: int) -> None:  # noqa: N802
        self._watch.note(Op("sync", self._path, is_sqlite=True))
        if self._syncs_dir:
            _sync_dir_of(self._watch, self._path)
            self._syncs_dir = False


class ShortWriteError(Exception):
    """Half of the bytes are written, then the disk is full."""


class WatchedVfs(apsw.VFS):
    """The operating system's VFS behind a watch; fsync is left out, as the model decides what survives."""

    def __init__(self, watch: Watch) -> None:
        self.name = f"watched-{next(_NAMES)}"
        self._watch = watch
        super().__init__(self.name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _WatchedFile(self._watch, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        self._watch.note(Op("unlink", filename, is_sqlite=True))
        super().xDelete(filename, False)
        if syncdir:
            _sync_dir_of(self._watch, filename)


def _sync_dir_of(watch: Watch, filename: str) -> None:
    watch.note(Op("sync_dir", str(Path(filename).parent), is_sqlite=True))


@contextmanager
def watched(fail: Callable[[Op, int], None] | None = None) -> Iterator[tuple[Watch, WatchedFiles, WatchedVfs]]:
    watch = Watch(fail)
    vfs = WatchedVfs(watch)
    try:
        yield watch, WatchedFiles(watch), vfs
    finally:
        vfs.unregister()


@dataclass
class _Inode:
    durable: bytearray = field(default_factory=bytearray)
    pending: list[Op] = field(default_factory=list)


class PowerCut:
    """The disk's content when power fails after ``ops``."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._keep = self._random.choice((0.0, 0.5, 1.0, 0.9))
        self._files: dict[str, _Inode] = {}
        self._durable_names: dict[str, _Inode] = {}
        self._name_ops: dict[str, list[tuple[str, str, _Inode | None]]] = {}

    def run(self, ops: list[Op]) -> None:
        for op in ops:
            getattr(self, f"_{op.kind}")(op)

    def _ack(self, _op: Op) -> None:
        return

    def _create(self, op: Op) -> None:
        inode = self._files[op.path] = _Inode()
        self._name(op.path, "add", inode)

    def _name(self, path: str, what: str, inode: _Inode | None) -> None:
        self._name_ops.setdefault(str(Path(path).parent), []).append((what, path, inode))

    def _write(self, op: Op) -> None:
        self._files[op.path].pending.append(op)

    _truncate = _write

    def _sync(self, op: Op) -> None:
        inode = self._files.get(op.path)
        if inode is None:
            return
        for pending in inode.pending:
            _apply(inode.durable, pending, 1.0, self._random)
        inode.pending.clear()

    def _rename(self, op: Op) -> None:
        inode = self._files.pop(op.path)
        self._files[op.other] = inode
        self._name(op.path, "remove", None)
        self._name(op.other, "add", inode)

    def _unlink(self, op: Op) -> None:
        if self._files.pop(op.path, None) is not None:
            self._name(op.path, "remove", None)

    def _sync_dir(self, op: Op) -> None:
        for what in self._name_ops.pop(op.path, []):
            self._settle_name(*what)

    def _settle_name(self, what: str, path: str, inode: _Inode | None) -> None:
        if what == "add" and inode is not None:
            self._durable_names[path] = inode
        else:
            self._durable_names.pop(path, None)

    def leave(self, source: Path, target: Path) -> None:
        """Write what survived of ``source`` to ``target``."""
        for waiting in self._name_ops.values():
            for what in waiting[: self._random.randint(0, len(waiting))]:
                self._settle_name(*what)
        for path, inode in self._durable_names.items():
            for op in inode.pending:
                _apply(inode.durable, op, self._keep, self._random)
            inode.pending.clear()
            copy = target / Path(path).relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(inode.durable)


def _apply(content: bytearray, op: Op, keep: float, chance: random.Random) -> None:
    if op.kind == "truncate":
        if chance.random() < keep:
            del content[op.offset :]
        return
    start = op.offset
    while start < op.offset + len(op.data):
        end = min(op.offset + len(op.data), (start // SECTOR + 1) * SECTOR)
        if chance.random() < keep:
            if len(content) < start:
                content.extend(bytes(start - len(content)))
            content[start:end] = op.data[start - op.offset : end - op.offset]
        start = end
