from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from partyd.data.csv_source import read_csv
from partyd.data.formats import CsvFormat
from partyd.data.ingest import main
from partyd.data.table import Table
from partyd.errors import DataError

TEXT = "id,y,a,b\nu1,1,0.5,x\nu2,0,NA,2\nu3,1,3,4\n"


def written(folder: Path, text: str, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_columns_are_found_by_their_usual_names(tmp_path: Path) -> None:
    table, skipped = read_csv(written(tmp_path, TEXT.replace("x", "1")), CsvFormat())
    assert (table.schema.sample_id, table.schema.label, table.schema.features) == ("id", "y", ("a", "b"))
    assert table.ids.tolist() == [b"u1", b"u2", b"u3"]
    assert table.require_label().tolist() == [1, 0, 1]
    assert np.isnan(table.features[1, 0])
    assert skipped == []


def test_bad_rows_are_named_or_skipped(tmp_path: Path) -> None:
    path = written(tmp_path, TEXT + "u4,1\n")
    with pytest.raises(DataError, match=r"line 2: b holds 'x'.*line 5: 2 columns instead of 4"):
        read_csv(path, CsvFormat())
    table, skipped = read_csv(path, CsvFormat(on_bad_row="skip"))
    assert table.ids.tolist() == [b"u2", b"u3"]
    assert len(skipped) == 2


def test_match_id_weight_and_delimiter(tmp_path: Path) -> None:
    path = written(tmp_path, "sid;phone;w;a\n1;p;2;3\n")
    table, _ = read_csv(path, CsvFormat(delimiter=";", match_id="phone", weight="w"))
    assert table.matching.tolist() == [b"p"]
    assert table.weight is not None
    assert table.weight.tolist() == [2]
    assert table.schema.features == ("a",)


def test_a_compressed_file_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress("\ufeffid,a\nä,1\n".encode()))
    table, _ = read_csv(path, CsvFormat())
    assert table.ids.tolist() == ["ä".encode()]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "header"),
        ("id,id\n", "once"),
        ("id,a\n", "no rows"),
        ("id,a\n,1\n", "line 2: an id"),
        ("id,a\n" + "u" * 300 + ",1\n", "longer than"),
    ],
)
def test_files_without_a_table_are_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_csv(written(tmp_path, text), CsvFormat())


def test_an_unknown_column_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'nope'"):
        read_csv(written(tmp_path, TEXT), CsvFormat(label="nope"))
    with pytest.raises(DataError, match="cannot be read"):
        read_csv(tmp_path / "gone.csv", CsvFormat())


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"id,a\n\xff\xfe,1\n")
    with pytest.raises(DataError, match="UTF-8"):
        read_csv(path, CsvFormat())


def test_ingest_describes_what_it_kept_or_says_why_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, TEXT.replace("x", "1"))
    assert main(str(path), str(tmp_path / "out"), "{}") == 0
    described = json.loads(capsys.readouterr().out)
    assert described["count"] == 3
    assert described["digest"] == Table.load(tmp_path / "out").digest().hex()
    assert main(str(tmp_path / "gone.csv"), str(tmp_path / "no"), "{}") == 1
    assert capsys.readouterr().err.count("\n") == 1
