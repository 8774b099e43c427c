"""union as a task."""

from __future__ import annotations

from pathlib import Path

import pytest

from partyd.components.simulate import Seat
from partyd.data.table import Table
from partyd.errors import DataError
from tests.components.tables import G, document, output, saved, table, task

FIRST = table(["a", "b"], {"x": [1, 2], "y": [3, 4]}, [0, 1], match=["m", "n"], weight=[1, 2])


def joined(folder: Path, *tables: Table) -> tuple[Table, dict[str, object]]:
    paths = tuple(saved(folder, str(i), one) for i, one in enumerate(tables))
    done = task("union", {G: Seat(inputs={"input_datas": paths})}, folder / "out")
    assert not done.transcript.sent
    return output(done, G), document(done, G)


def test_rows_follow_each_other_with_all_their_columns(tmp_path: Path) -> None:
    other = table(["c"], {"y": [6], "x": [5]}, [1], match=["o"], weight=[3])
    rows, metric = joined(tmp_path, FIRST, other, FIRST.take(FIRST.features[:0, 0].astype("int64")))
    assert rows.ids.tolist() == [b"a", b"b", b"c"]
    assert rows.features.tolist() == [[1, 3], [2, 4], [5, 6]]
    assert rows.require_label().tolist() == [0, 1, 1]
    assert rows.matching.tolist() == [b"m", b"n", b"o"]
    assert rows.weight is not None
    assert rows.weight.tolist() == [1, 2, 3]
    assert metric == {"count": 3, "counts": [2, 1, 0]}


def test_a_sample_id_that_came_before_is_numbered(tmp_path: Path) -> None:
    rows, _ = joined(tmp_path, FIRST, FIRST, table(["a_1"], {"x": [0], "y": [0]}, [0], match=["q"], weight=[1]))
    assert rows.ids.tolist() == [b"a", b"b", b"a_1", b"b_1", b"a_1_1"]


def test_rows_that_came_before_may_be_left_out(tmp_path: Path) -> None:
    again = table(["b", "c", "c"], {"x": [7, 8, 9], "y": [0, 0, 0]}, [1, 1, 1], match=["n", "o", "o"], weight=[1, 1, 1])
    paths = (saved(tmp_path, "0", FIRST), saved(tmp_path, "1", again))
    done = task("union", {G: Seat({"keep_duplicate": False}, {"input_datas": paths})}, tmp_path / "out")
    rows = output(done, G)
    assert rows.ids.tolist() == [b"a", b"b", b"c"]
    assert rows.features[:, 0].tolist() == [1, 2, 8]
    assert document(done, G) == {"count": 3, "counts": [2, 3]}


@pytest.mark.parametrize(
    ("other", "names"),
    [
        (table(["c"], {"x": [5], "z": [6]}, [1], match=["o"], weight=[3]), "y, z"),
        (table(["c"], {"x": [5], "y": [6]}, match=["o"], weight=[3]), "label"),
        (table(["c"], {"x": [5], "y": [6]}, [0], weight=[3]), "match ids"),
        (table(["c"], {"x": [5], "y": [6]}, [0], match=["o"]), "weight"),
    ],
)
def test_tables_that_differ_are_refused(tmp_path: Path, other: Table, names: str) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        joined(tmp_path, FIRST, other)
    assert caught.group_contains(DataError, match=names)
