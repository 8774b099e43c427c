"""Array files (``.npy``) written piece by piece, so that a column never has to fit into memory.

The header holds the number of rows, which is known at the end only: its room is reserved and filled in last.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

HEADER_BYTES = 128
CHUNK_BYTES = 8 << 20


class NpyFile:
    """One growing array: a vector, or with ``columns`` a matrix of so many columns."""

    def __init__(self, path: Path, dtype: str, columns: int | None = None) -> None:
        self.path = path
        self.rows = 0
        self._dtype = np.dtype(dtype)
        self._columns = columns
        self._file = path.open("xb")
        self._file.write(bytes(HEADER_BYTES))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, part: NDArray[Any]) -> None:
        """Add rows."""
        self.rows += len(part)
        if part.size:
            self._file.write(np.ascontiguousarray(part, dtype=self._dtype).data)

    def finish(self) -> None:
        """Write the header and let the file reach the disk."""
        self._file.seek(0)
        self._file.write(self._header())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def _header(self) -> bytes:
        shape = (self.rows,) if self._columns is None else (self.rows, self._columns)
        words = repr({"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape})
        length = HEADER_BYTES - 10
        return b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + words.ljust(length - 1).encode() + b"\n"


class IdFile:
    """Growing ids of any length: a longer one begins a new part with wider items; at the end there is one width."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parts: list[tuple[NpyFile, int]] = []

    def append(self, ids: NDArray[np.bytes_]) -> None:
        """Add ids."""
        width = max(ids.dtype.itemsize, 1)
        if not self._parts or width > self._parts[-1][1]:
            path = self._path.with_name(f"{self._path.name}.{len(self._parts)}")
            self._parts.append((NpyFile(path, f"S{width}"), width))
        self._parts[-1][0].append(ids)

    def finish(self) -> None:
        """Leave one file of one width."""
        for part, _ in self._parts:
            part.finish()
        if len(self._parts) > 1:
            with NpyFile(self._path, f"S{self._parts[-1][1]}") as whole:
                for part, _ in self._parts:
                    for piece in pieces(part.path):
                        whole.append(piece)
                    part.path.unlink()
                whole.finish()
        elif self._parts:
            self._parts[0][0].path.rename(self._path)

    def close(self) -> None:
        """Let the files go."""
        for part, _ in self._parts:
            part.__exit__()


def pieces(path: Path, chunk_bytes: int = CHUNK_BYTES) -> Iterator[NDArray[Any]]:
    """Yield an array file's rows in pieces, by reading: mapped pages would count as this process's memory."""
    with path.open("rb") as file:
        shape, dtype = read_header(file)
        columns = shape[1] if len(shape) == 2 else 1
        step = max(1, chunk_bytes // max(1, dtype.itemsize * columns))
        for start in range(0, shape[0], step):
            count = min(step, shape[0] - start)
            data = file.read(count * columns * dtype.itemsize)
            yield np.frombuffer(data, dtype=dtype).reshape((count, *shape[1:]))


def read_header(file: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read past an array file's header and return shape and type; raises ValueError for another kind of file."""
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("the array file is of another version")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    if fortran_order or dtype.hasobject:
        raise ValueError("the array file is in another order or holds objects")
    return shape, dtype
