"""Parquet files, and what is said where pyarrow is not installed."""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partyd.data import parquet_source
from partyd.data.formats import Format
from partyd.data.ingest import read_file
from partyd.errors import DataError

COLUMNS: dict[str, Any] = {
    "id": [1, 2, 3],
    "y": [True, False, None],
    "a": [0.5, None, 2.5],
    "b": [Decimal("1.25"), Decimal(2), None],
    "c": ["7", "NA", " 8 "],
}


def written(folder: Path, columns: dict[str, Any]) -> Path:
    pytest.importorskip("pyarrow")
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "t.parquet"
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.needs("pyarrow")
@pytest.mark.parametrize("batch", [1 << 20, 1])
def test_columns_of_every_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(parquet_source, "BATCH_VALUES", batch)
    table, kept = read_file(written(tmp_path, COLUMNS), Format(), tmp_path / "out")
    assert table.ids.tolist() == [b"1", b"2", b"3"]
    assert np.array_equal(table.require_label(), [1, 0, np.nan], equal_nan=True)
    wanted = [[0.5, 1.25, 7], [np.nan, 2, np.nan], [2.5, np.nan, 8]]
    assert np.array_equal(table.features, wanted, equal_nan=True)
    assert (kept.count, table.schema.missing) == (3, {"a": 1, "b": 1, "c": 1})


@pytest.mark.needs("pyarrow")
def test_bad_rows_are_named(tmp_path: Path) -> None:
    path = written(tmp_path, {"id": ["u1", None, "u3"], "a": ["1", "2", "oops"], "b": [1, 2, 3]})
    with pytest.raises(DataError, match=r"row 2: an id is empty.*; row 3: a holds 'oops'"):
        read_file(path, Format(), tmp_path / "out")
    table, kept = read_file(path, Format(on_bad_row="skip"), tmp_path / "out")
    assert (table.ids.tolist(), kept.bad_rows) == ([b"u1"], 2)


@pytest.mark.needs("pyarrow")
def test_infinities_are_no_numbers_and_fractions_no_whole_ones(tmp_path: Path) -> None:
    path = written(tmp_path, {"id": ["u", "v"], "a": [float("inf"), 1.0], "b": [1.5, 2.0]})
    with pytest.raises(DataError, match="row 1: a holds inf"):
        read_file(path, Format(), tmp_path / "out")
    path = written(tmp_path, {"id": ["u", "v"], "b": [1.5, 2.0]})
    with pytest.raises(DataError, match=r"row 1: b holds 1\.5, which is no whole number"):
        read_file(path, Format(dtype={"b": "int32"}), tmp_path / "out")


@pytest.mark.needs("pyarrow")
def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, COLUMNS)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="no Parquet file that can be read"):
        read_file(path, Format(), tmp_path / "out")


def test_without_pyarrow_the_mend_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = tmp_path / "t.parquet"
    path.write_bytes(b"PAR1....PAR1")
    with pytest.raises(DataError, match=r"pip install 'partyd\[parquet\]'"):
        read_file(path, Format(), tmp_path / "out")
