"""Fail each single disk operation of a store: it ends in a typed error and work goes on later (catalogue F9).

Run ``python tests/campaigns/io_errors.py [--every 1] [--results FILE]``: every operation of the sample job fails once
as an I/O error, as a full disk and as a short write. One JSON line says how it went.
"""

from __future__ import annotations

import argparse
import errno
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import apsw

from partyd.errors import StoreCorrupt, StoreError, StoreFull
from partyd.store import Store, Transaction
from tests.store import samples
from tests.store.disk import Op, ShortWriteError, WatchedFiles, watched

ROUNDS = 5
KINDS = ("io", "full", "short")


class Fault:
    """Fails operation number ``index`` and the ``length - 1`` after it, then lets all pass."""

    def __init__(self, index: int, kind: str, length: int = 1) -> None:
        self._range = range(index, index + length)
        self._kind = kind
        self.met = 0

    def __call__(self, op: Op, index: int) -> None:
        if index not in self._range:
            return
        self.met += 1
        if not op.is_sqlite:
            raise OSError(errno.EIO if self._kind == "io" else errno.ENOSPC, "injected")
        if self._kind == "short" and op.kind == "write":
            raise ShortWriteError
        raise (apsw.IOError if self._kind == "io" else apsw.FullError)("injected")


def live(directory: Path, fault: Fault | None) -> tuple[int, list[StoreError]]:
    """Run the job, trying each step again when it fails; return the number of operations and the errors met."""
    errors: list[StoreError] = []
    with watched(fault) as (watch, files, vfs):
        store = _until_it_works(lambda: _open(directory, files, vfs.name), errors)
        steps: list[Callable[[Transaction], object]] = [samples.begin]
        for number in range(1, ROUNDS):
            steps += [samples.arrive(number), samples.finish_round(number)]
        for step in steps:
            _until_it_works(lambda step=step: store.write_now(step), errors)  # type: ignore[misc]
            _until_it_works(lambda: store.read_now(samples.rounds_in), errors)
        try:
            store.close_now()
        except StoreError as error:
            errors.append(error)
    return len(watch.ops), errors


def _open(directory: Path, files: WatchedFiles, vfs: str) -> Store:
    return samples.open_store(directory, files=files, vfs=vfs, group=samples.QUICK_CHECKPOINTS)


def _until_it_works(step: Callable[[], object], errors: list[StoreError]) -> Store:
    for _ in range(5):
        try:
            return step()  # type: ignore[return-value]
        except StoreCorrupt as error:
            raise AssertionError(f"a passing fault was taken for damage: {error}") from error
        except StoreError as error:
            errors.append(error)
    raise AssertionError(f"still failing after the fault has passed: {errors[-1]}")


def endure(index: int, kind: str, directory: Path, length: int = 1) -> int:
    """Fail one operation, go on, start again and check; return how many errors were told."""
    _, errors = live(directory, fault := Fault(index, kind, length))
    assert fault.met
    if kind != "io":
        assert all(isinstance(error, StoreFull) for error in errors), errors
    with samples.opened(directory) as store:
        assert store.read_now(samples.rounds_in) == ROUNDS - 1
    return len(errors)


def main() -> None:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--results", type=Path, default=None)
    arguments = parser.parse_args()
    failed: list[dict[str, object]] = []
    runs = told = 0
    with tempfile.TemporaryDirectory() as place:
        total, _ = live(Path(place) / "plain", None)
        for index in range(0, total, arguments.every):
            for kind in KINDS:
                with tempfile.TemporaryDirectory(dir=place) as after:
                    runs += 1
                    try:
                        told += endure(index, kind, Path(after) / "state")
                    except Exception as error:
                        failed.append({"op": index, "kind": kind, "error": f"{type(error).__name__}: {error}"[:300]})
    line = json.dumps({"campaign": "io_errors", "ops": total, "runs": runs, "errors_told": told, "failed": failed})
    if arguments.results:
        with arguments.results.open("a") as out:
            out.write(line + "\n")
    print(line)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
