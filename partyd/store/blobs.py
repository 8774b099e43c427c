"""Large bodies as files named by their SHA-256.

A blob is written to the spool, forced to disk, renamed to its name and its directory forced to disk, so a blob's name
never stands over other content after a power cut. Blobs that no row refers to are collected; one just written is kept
until its reference has had time to commit.
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from partyd.errors import StoreCorrupt, StoreError
from partyd.federation.rows import BlobRef, Body
from partyd.store import faults
from partyd.store.files import Files, digest_of

INLINE_LIMIT = 64 * 1024
"""Bodies above this many bytes become files."""
GRACE_S = 3600.0
_STEP = 1 << 20


class Blobs:
    """The blob directory and the spool; all methods block and may be called from any thread."""

    def __init__(
        self,
        directory: Path,
        spool: Path,
        files: Files | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._spool = spool
        self._files = files or Files()
        self._monotonic = monotonic
        self._fresh: dict[str, float] = {}
        self._shards: set[str] = set()
        self._lock = threading.Lock()
        self._collecting = threading.Lock()

    def prepare(self) -> None:
        """Make the directories and empty the spool, whose files belong to no one after a start."""
        self._files.make_dir(self._directory)
        self._files.make_dir(self._spool)
        for left in self._spool.iterdir():
            self._files.unlink(left)
        self._files.sync_dir(self._directory)
        self._shards = {shard.name for shard in self._directory.iterdir()}

    def path(self, digest: str) -> Path:
        """Return where the blob ``digest`` lies or would lie."""
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise StoreError(f"{digest[:80]!r} is no SHA-256 in lower-case hex")
        return self._directory / digest[:2] / digest

    def spool_path(self) -> Path:
        """Return a new path for a body that is still arriving; the file is deleted at the next start."""
        return self._spool / uuid.uuid4().hex

    def has(self, ref: BlobRef) -> bool:
        """Say whether the blob is there with its size; its content is checked when it is read."""
        path = self.path(ref.digest)
        return path.is_file() and path.stat().st_size == ref.size

    def write(self, data: bytes) -> str:
        """Store ``data`` durably and return its digest."""
        digest = hashlib.sha256(data).hexdigest()
        if self._claim(digest, len(data)):
            return digest
        spooled = self.spool_path()
        try:
            self._files.create(spooled, data)
            self._place(spooled, digest)
        except OSError as error:
            self._drop(spooled)
            raise faults.from_system(error, f"writing blob {digest}") from error
        return digest

    def adopt(self, path: Path, digest: str) -> BlobRef:
        """Take over a finished file whose SHA-256 the caller has computed while writing it; durable on return."""
        try:
            ref = BlobRef(digest, path.stat().st_size)
            if self._claim(digest, ref.size):
                self._files.unlink(path)
            else:
                self._place(path, digest)
        except OSError as error:
            raise faults.from_system(error, f"adopting {path} as blob {digest}") from error
        return ref

    def keep(self, body: Body) -> Body:
        """Return ``body`` as rows hold it: a large one is written as a blob, a reference must lead somewhere."""
        if isinstance(body, bytes):
            return body if len(body) <= INLINE_LIMIT else BlobRef(self.write(body), len(body))
        if not self.has(body):
            raise StoreError(
                f"blob {body.digest} of {body.size} bytes is not in the store: "
                "write or adopt it before it is referred to"
            )
        self._touch(body.digest)
        return body

    def read(self, body: Body) -> bytes:
        """Return a body whole, its digest checked; raises StoreCorrupt."""
        return body if isinstance(body, bytes) else b"".join(self.chunks(body))

    def chunks(self, ref: BlobRef, size: int = _STEP) -> Iterator[bytes]:
        """Yield a blob in steps of ``size`` bytes; raises StoreCorrupt at the end if they were not the blob's."""
        digest, total = hashlib.sha256(), 0
        try:
            with self.path(ref.digest).open("rb") as source:
                while step := source.read(size):
                    digest.update(step)
                    total += len(step)
                    yield step
        except FileNotFoundError as error:
            raise _broken(ref, "it is missing") from error
        except OSError as error:
            raise faults.from_system(error, f"reading blob {ref.digest}") from error
        if total != ref.size or digest.hexdigest() != ref.digest:
            raise _broken(ref, "its content is not what its name says")

    def verify(self, ref: BlobRef) -> None:
        """Read a blob through; raises StoreCorrupt if it is missing or damaged."""
        for _ in self.chunks(ref):
            pass

    def collect(self, referenced: Collection[str], grace_s: float = GRACE_S) -> int:
        """Delete blobs outside ``referenced`` that were not written within ``grace_s``; return how many."""
        count = 0
        with self._collecting:
            self._forget_fresh(grace_s)
            for path in sorted(self._directory.glob("??/*")):
                if path.name not in referenced:
                    count += self._remove_if_old(path, grace_s)
        return count

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep ``collect`` from running, while a backup copies blobs."""
        with self._collecting:
            yield

    def _forget_fresh(self, grace_s: float) -> None:
        oldest = self._monotonic() - grace_s
        with self._lock:
            self._fresh = {digest: written for digest, written in self._fresh.items() if written > oldest}

    def _remove_if_old(self, path: Path, grace_s: float) -> bool:
        with self._lock:
            if self._monotonic() - self._fresh.get(path.name, -math.inf) < grace_s:
                return False
            self._files.unlink(path)
            return True

    def _touch(self, digest: str) -> None:
        with self._lock:
            self._fresh[digest] = self._monotonic()

    def _claim(self, digest: str, size: int) -> bool:
        """Mark ``digest`` as in use, and say whether it is stored, whole and durable, already."""
        self._touch(digest)
        path = self.path(digest)
        if not (path.is_file() and path.stat().st_size == size and digest_of(path) == digest):
            return False
        self._files.sync_dir(path.parent)  # whoever renamed it may not have got this far
        return True

    def _place(self, spooled: Path, digest: str) -> None:
        final = self.path(digest)
        self._open_shard(final.parent)
        self._files.sync_file(spooled)
        self._touch(digest)  # again: writing a large one takes a while
        self._files.rename(spooled, final)
        self._files.sync_dir(final.parent)

    def _open_shard(self, shard: Path) -> None:
        with self._lock:
            if shard.name not in self._shards:
                self._files.make_dir(shard)
                self._files.sync_dir(self._directory)
                self._shards.add(shard.name)

    def _drop(self, spooled: Path) -> None:
        try:
            self._files.unlink(spooled)
        except OSError:
            return  # the next start empties the spool


def _broken(ref: BlobRef, why: str) -> StoreCorrupt:
    return StoreCorrupt(f"blob {ref.digest} of {ref.size} bytes cannot be used: {why}; {faults.RESTORE}")
