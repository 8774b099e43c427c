"""Write a table's columns as blocks come, then drop or refuse repeated ids, then describe the table.

Nothing here holds a column in memory: 10 million rows take no more of it than a thousand.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partyd.data.blocks import MAX_NAMED_BAD_ROWS, BadRows, Block, Columns, types_of
from partyd.data.duplicates import IdHashes
from partyd.data.formats import Format
from partyd.data.npy import IdFile, NpyFile, pieces, read_header
from partyd.data.table import COLUMNS, Schema

SCHEMA_FILE = "schema.json"


@dataclass(frozen=True)
class Written:
    """A table that lies in its folder."""

    schema: Schema
    digest: bytes


class TableWriter:
    """Writes one table into an empty folder; use as a context manager, so that files are let go."""

    def __init__(self, folder: Path, columns: Columns, form: Format) -> None:
        self._folder = folder
        self._columns = columns
        self._form = form
        self._ids = IdFile(folder / "ids.npy")
        self._match_ids = IdFile(folder / "match_ids.npy") if columns.match_ids else None
        self._numbers = self._files()
        self._lines = NpyFile(folder / "lines.npy", "int64")
        self._hashes = IdHashes(folder / "hashes")
        self._missing = np.zeros(len(columns.features), dtype=np.int64)
        self.rows = 0

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.ExitStack() as files:
            for file in (*self._numbers.values(), self._lines):
                files.callback(file.__exit__)
            for ids in (self._ids, self._match_ids):
                if ids is not None:
                    files.callback(ids.close)
            files.callback(self._hashes.close)

    def append(self, block: Block) -> None:
        """Add rows."""
        if not len(block):
            return
        self._ids.append(block.ids)
        if self._columns.sample_id is not None:
            self._hashes.append(block.ids)
        if self._match_ids is not None and block.match_ids is not None:
            self._match_ids.append(block.match_ids)
        for name, numbers in (("label", block.label), ("weight", block.weight), ("features", block.features)):
            if numbers is not None:
                self._numbers[name].append(numbers)
        self._lines.append(block.lines)
        self._missing += np.isnan(block.features).sum(axis=0)
        self.rows += len(block)

    def finish(self, bad: BadRows) -> Written:
        """Settle repeated ids, then leave the folder as a table; raises DataError naming rows that are refused."""
        self._ids.finish()
        if self._match_ids is not None:
            self._match_ids.finish()
        for file in (*self._numbers.values(), self._lines):
            file.finish()
        dropped = self._repeated(bad)
        if len(dropped):
            self._drop(dropped)
        self._hashes.close()
        (self._folder / "lines.npy").unlink()
        schema = self._schema()
        (self._folder / SCHEMA_FILE).write_text(schema.model_dump_json(indent=1))
        return Written(schema, digest_of_folder(self._folder, schema))

    def _files(self) -> dict[str, NpyFile]:
        columns, files = self._columns, {}
        if columns.label is not None:
            files["label"] = NpyFile(self._folder / "label.npy", "float64")
        if columns.weight is not None:
            files["weight"] = NpyFile(self._folder / "weight.npy", "float64")
        files["features"] = NpyFile(self._folder / "features.npy", self._form.storage, len(columns.features))
        return files

    def _repeated(self, bad: BadRows) -> NDArray[np.int64]:
        """Return the rows to drop, all of them named or counted; raises DataError when they are refused."""
        if self._columns.sample_id is None or not self.rows:
            return np.zeros(0, dtype=np.int64)
        found = [*self._hashes.repeated(self._folder / "ids.npy")]
        rows = np.sort(np.concatenate(found)) if found else np.zeros(0, dtype=np.int64)
        if len(rows):
            twice = BadRows(bad.where, bad.word)
            for row, line, sample in self._named(rows[:MAX_NAMED_BAD_ROWS]):
                del row
                twice.add(line, f"the sample id {sample.decode('utf-8', 'replace')[:40]!r} has come before")
            twice.count = len(rows)
            if self._form.on_duplicate == "refuse":
                twice.refuse(
                    "Every row needs a sample id of its own: mend them, keep the first of each (on_duplicate skip), "
                    "or let partyd give sample ids (extend_sid)"
                )
            bad.count += twice.count
            bad.named.extend(twice.named[: MAX_NAMED_BAD_ROWS - len(bad.named)])
        return rows

    def _named(self, rows: NDArray[np.int64]) -> Iterator[tuple[int, int, bytes]]:
        lines = np.load(self._folder / "lines.npy", mmap_mode="r", allow_pickle=False)
        ids = np.load(self._folder / "ids.npy", mmap_mode="r", allow_pickle=False)
        for row in rows.tolist():
            yield row, int(lines[row]), bytes(ids[row])

    def _drop(self, rows: NDArray[np.int64]) -> None:
        for path in sorted(self._folder.glob("*.npy")):
            kept = path.with_name(f"{path.name}.kept")
            with path.open("rb") as file:
                shape, dtype = read_header(file)
            with NpyFile(kept, dtype.str, shape[1] if len(shape) == 2 else None) as target:
                first = 0
                for piece in pieces(path):
                    here = rows[np.searchsorted(rows, first) : np.searchsorted(rows, first + len(piece))] - first
                    if path.stem == "features":
                        self._missing -= np.isnan(piece[here]).sum(axis=0)
                    target.append(np.delete(piece, here, axis=0))
                    first += len(piece)
                target.finish()
            kept.replace(path)
        self.rows -= len(rows)

    def _schema(self) -> Schema:
        columns, form = self._columns, self._form
        kinds, names = types_of(columns, form), columns.feature_names
        types = {columns.names[i]: kinds[i] for i in columns.features if kinds[i] != "float64"}
        missing = {name: int(count) for name, count in zip(names, self._missing, strict=True) if count}
        return Schema(
            rows=self.rows,
            sample_id=columns.sample_name,
            match_id=columns.match_name,
            label=columns.name(columns.label),
            weight=columns.name(columns.weight),
            features=names,
            types=types,
            label_type=form.label_type if columns.label is not None else "float64",
            weight_type=form.weight_type if columns.weight is not None else "float64",
            missing=missing,
        )


def digest_of_folder(folder: Path, schema: Schema) -> bytes:
    """Return what `Table.digest` says of a folder, by reading it in pieces."""
    digest = hashlib.sha256(schema.pinned())
    for name in COLUMNS:
        path = folder / f"{name}.npy"
        if path.exists():
            digest.update(name.encode())
            for piece in pieces(path):
                digest.update(_as_held(piece))
    return digest.digest()


def _as_held(piece: NDArray[Any]) -> bytes:
    """Return the bytes as a loaded table holds them: numbers are 64 bits wide there."""
    return (piece.astype(np.float64) if piece.dtype == np.float32 else piece).tobytes()
