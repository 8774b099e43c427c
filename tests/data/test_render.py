"""Tables as CSV, read back as FATE's client and as anybody else would."""

from __future__ import annotations

import csv
import json

import numpy as np

from partyd.data.render import CHUNK_ROWS, DETAIL, csv_header, csv_lines, is_scored, number
from partyd.data.table import Schema, Table


def plain(rows: int = 3) -> Table:
    return Table(
        schema=Schema(rows=rows, sample_id="sid", match_id="id", label="y", weight="w", features=("x", "a,b")),
        ids=np.array([f"s{i}".encode() for i in range(rows)]),
        match_ids=np.array([b'm"1', "ü".encode(), *[b"z"] * (rows - 2)]),
        label=np.arange(rows, dtype=np.float64),
        weight=np.full(rows, 0.5),
        features=np.column_stack([np.full(rows, 0.1), np.full(rows, np.nan)]),
    )


def scores(names: tuple[str, ...], columns: list[list[float]], label: list[float] | None = None) -> Table:
    rows = len(columns[0])
    return Table(
        schema=Schema(rows=rows, features=names, label=None if label is None else "y"),
        ids=np.array([f"u{i}".encode() for i in range(rows)]),
        features=np.array(columns, dtype=np.float64).T,
        label=None if label is None else np.array(label),
    )


def as_fate_reads(text: str) -> list[list[object]]:
    """Split lines as the client does: the column before the last is a mapping in quotes."""
    header, *lines = text.splitlines()
    columns = header.split(",")
    found = []
    for line in lines:
        cells = line.split(",")
        mapping = json.loads(",".join(cells[len(columns) - 2 : -1])[1:-1].replace("'", '"'))
        found.append([*cells[: len(columns) - 2], mapping, cells[-1]])
    return found


def test_every_cell_reads_back() -> None:
    lines = list(csv_lines(plain()))
    assert lines[0] == 'sid,id,y,w,x,"a,b"\n'
    rows = list(csv.reader(lines[1:]))
    assert rows == [
        ["s0", 'm"1', "0", "0.5", "0.1", ""],
        ["s1", "ü", "1", "0.5", "0.1", ""],
        ["s2", "z", "2", "0.5", "0.1", ""],
    ]


def test_a_table_of_ids_alone() -> None:
    rows = Table(schema=Schema(rows=1), ids=np.array([b"a"]), features=np.zeros((1, 0)))
    assert list(csv_lines(rows)) == ["id\n", "a\n"]
    assert not is_scored(rows)


def test_long_tables_are_written_in_pieces() -> None:
    lines = list(csv_lines(plain(CHUNK_ROWS + 5)))
    assert len(lines) == CHUNK_ROWS + 6
    assert lines[-1].startswith(f"s{CHUNK_ROWS + 4},z,{CHUNK_ROWS + 4},")


def test_binary_predictions_as_fates_client_reads_them() -> None:
    table = scores(("predict_score", "predict_result", "type"), [[0.25, 0.75], [0, 1], [0, 1]], [1.0, 0.0])
    text = "".join(csv_lines(table))
    assert csv_header(table) == "id,label,predict_score,predict_result,predict_detail,type\n"
    assert as_fate_reads(text) == [
        ["u0", "1", "0.25", "0", {"0": 0.75, "1": 0.25}, "train_set"],
        ["u1", "0", "0.75", "1", {"0": 0.25, "1": 0.75}, "validate_set"],
    ]
    assert next(csv.DictReader(text.splitlines()))["predict_detail"] == "{'0': 0.75, '1': 0.25}"


def test_predictions_of_classes_without_labels() -> None:
    names = ("predict_score", "predict_result", f"{DETAIL}3", f"{DETAIL}5", "type")
    (row,) = as_fate_reads("".join(csv_lines(scores(names, [[0.9], [5], [0.2], [0.9], [2]]))))
    assert row == ["u0", "0.9", "5", {"3": 0.2, "5": 0.9}, "test_set"]


def test_numbers_as_text() -> None:
    assert [number(value) for value in (1.0, -0.0, 0.1, 1e300, float("nan"), float("inf"))] == [
        "1", "0", "0.1", "1e+300", "", "inf",
    ]  # fmt: skip
