"""A table on disk: one folder, a schema and one memory-mapped array a column group.

``schema.json``, ``ids.npy`` (the sample ids), ``match_ids.npy`` (what the intersection is made on, when it is not the
sample id), ``label.npy``, ``weight.npy`` and ``features.npy`` (rows x features, float64, NaN for a missing value).
Everything is read with ``mmap_mode="r"``, so opening a table costs nothing and several tasks share its pages. Features
that lie there as float32 are widened when they are loaded, which takes memory.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from partyd.data.schema import Schema
from partyd.errors import DataError
from partyd.layout import sync_dir

__all__ = ["COLUMNS", "Ids", "Matrix", "Schema", "Table", "Vector"]

COLUMNS = ("ids", "match_ids", "label", "weight", "features")
"""The column groups, in the order in which a digest takes them."""
DIGEST_BYTES = 8 << 20

Ids = NDArray[np.bytes_]
Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """Rows of one party: ids of dtype ``S<n>`` (UTF-8), optional label and weight, features (rows x columns)."""

    schema: Schema
    ids: Ids
    features: Matrix
    match_ids: Ids | None = None
    label: Vector | None = None
    weight: Vector | None = None

    def __post_init__(self) -> None:
        columns = [c for c in (self.ids, self.match_ids, self.label, self.weight, self.features) if c is not None]
        if any(len(column) != self.schema.rows for column in columns):
            raise DataError(f"the columns of a table of {self.schema.rows} rows differ in length")
        if self.features.shape != (self.schema.rows, len(self.schema.features)):
            raise DataError(f"{len(self.schema.features)} feature names for an array of shape {self.features.shape}")

    def __len__(self) -> int:
        return self.schema.rows

    @property
    def matching(self) -> Ids:
        """The ids on which parties intersect: the match id where there is one, else the sample id."""
        return self.ids if self.match_ids is None else self.match_ids

    def take(self, rows: NDArray[np.int64]) -> Table:
        """Return the table of ``rows``, in that order."""
        return Table(
            schema=self.schema.model_copy(update={"rows": len(rows), "missing": {}}),
            ids=self.ids[rows],
            features=self.features[rows],
            match_ids=None if self.match_ids is None else self.match_ids[rows],
            label=None if self.label is None else self.label[rows],
            weight=None if self.weight is None else self.weight[rows],
        )

    def with_features(self, names: tuple[str, ...], features: Matrix) -> Table:
        """Return the table with other feature columns."""
        kept = {name: kind for name, kind in self.schema.types.items() if name in names}
        schema = self.schema.model_copy(update={"features": names, "types": kept, "missing": {}})
        return replace(self, schema=schema, features=features)

    def require_label(self) -> Vector:
        """Return the label; raises DataError when this table has none."""
        if self.label is None:
            raise DataError("this table has no label column; upload it with --label NAME at the guest")
        return self.label

    def digest(self) -> bytes:
        """Return the SHA-256 of schema and contents (for pinning a checkpoint, and for the audit log)."""
        digest = hashlib.sha256(self.schema.pinned())
        for name, column in self._columns():
            digest.update(name.encode())
            step = max(1, DIGEST_BYTES // max(1, column[:1].nbytes))
            for start in range(0, len(column), step):
                digest.update(np.ascontiguousarray(column[start : start + step]).tobytes())
        return digest.digest()

    def _columns(self) -> list[tuple[str, NDArray[Any]]]:
        columns = (self.ids, self.match_ids, self.label, self.weight, self.features)
        return [(name, column) for name, column in zip(COLUMNS, columns, strict=True) if column is not None]

    def save(self, folder: Path) -> None:
        """Write the table to ``folder``, which appears whole or not at all."""
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, column in self._columns():
            if not _linked(column, partial / f"{name}.npy"):
                with (partial / f"{name}.npy").open("wb") as file:
                    np.save(file, np.ascontiguousarray(column), allow_pickle=False)
                    file.flush()
                    os.fsync(file.fileno())
        with (partial / "schema.json").open("w") as file:
            file.write(self.schema.model_dump_json(indent=1))
            file.flush()
            os.fsync(file.fileno())
        sync_dir(partial)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
        sync_dir(folder.parent)

    @classmethod
    def load(cls, folder: Path) -> Table:
        """Open the table in ``folder``, memory-mapped; raises DataError when it is damaged or not there."""
        try:
            schema = Schema.model_validate_json((folder / "schema.json").read_bytes())
            columns: dict[str, Any] = {
                path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in sorted(folder.glob("*.npy"))
            }
            if "features" in columns and columns["features"].dtype == np.float32:
                columns["features"] = columns["features"].astype(np.float64)
            return cls(schema=schema, **columns)
        except (OSError, ValueError, TypeError, ValidationError) as error:
            raise DataError(f"{folder} does not hold a readable table ({error}); upload it again") from error


def _linked(column: NDArray[Any], target: Path) -> bool:
    """Link ``target`` to the file that ``column`` maps whole, if it does: saved columns are never written to again."""
    if not isinstance(column, np.memmap) or column.filename is None or not column.flags.c_contiguous:
        return False
    whole = np.load(column.filename, mmap_mode="r", allow_pickle=False)
    if whole.shape != column.shape or whole.dtype != column.dtype:
        return False
    try:
        target.hardlink_to(column.filename)
    except OSError:
        return False
    return True
