"""svmlight, tags, and tags with values, as dense tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from partyd.data import sparse
from partyd.data.formats import Format
from partyd.data.ingest import ingest, read_file
from partyd.data.orders import Order
from partyd.data.table import Table
from partyd.errors import DataError


def read(folder: Path, data: str, **said: object) -> Table:
    path = folder / "t.txt"
    path.write_text(data)
    return read_file(path, Format.model_validate(said), folder / f"out{len(list(folder.iterdir()))}")[0]


def test_svmlight_without_ids_numbers_the_rows(tmp_path: Path) -> None:
    table = read(tmp_path, "# a comment\n1 1:0.5 10:2 # so it is\n-1 qid:3 2:1\n\n1\n", input_format="svmlight")
    assert (table.schema.label, table.schema.features) == ("y", ("x1", "x2", "x10"))
    assert table.ids.tolist() == [b"1", b"2", b"3"]
    assert table.require_label().tolist() == [1, -1, 1]
    assert table.features.tolist() == [[0.5, 0, 2], [0, 1, 0], [0, 0, 0]]


def test_svmlight_with_ids(tmp_path: Path) -> None:
    table = read(tmp_path, "u1 1 0:1\nu2 0 007:3\n", input_format="svmlight", label="default")
    assert (table.ids.tolist(), table.schema.label) == ([b"u1", b"u2"], "default")
    assert table.schema.features == ("x0", "x7")
    table = read(tmp_path, "u1 1:1\nu2 2:3\n", input_format="svmlight", sample_id="id")
    assert (table.ids.tolist(), table.label) == ([b"u1", b"u2"], None)


def test_ids_of_our_making_leave_the_files_to_match_on(tmp_path: Path) -> None:
    table = read(tmp_path, "u1 1 0:1\nu1 0 1:3\n", input_format="svmlight", extend_sid=True)
    assert table.schema.sample_id == "extend_sid"
    assert table.matching.tolist() == [b"u1", b"u1"]
    assert len(set(table.ids.tolist())) == 2


def test_tags(tmp_path: Path) -> None:
    table = read(tmp_path, "u1,red, round\nu2,round\nu3\n", input_format="tag", head=False)
    assert table.schema.features == ("red", "round")
    assert table.features.tolist() == [[1, 1], [0, 1], [0, 0]]
    table = read(tmp_path, "u1 1 red\nu2 0 blue\n", input_format="tag", head=False, delimiter=" ", label="y")
    assert table.require_label().tolist() == [1, 0]


def test_tags_with_values(tmp_path: Path) -> None:
    said = {"input_format": "tag", "tag_with_value": True, "tag_value_delimiter": "="}
    table = read(tmp_path, "id,tags\nu1,a=1.5,b=2\nu2,b=-1\n", **said)
    assert (table.schema.features, table.features.tolist()) == (("a", "b"), [[1.5, 2], [0, -1]])


def test_semicolons_between_tags_with_values(tmp_path: Path) -> None:
    table = read(tmp_path, "u1,a:1.5;b:2\nu2,b:-1\n", input_format="tag", tag_with_value=True, head=False)
    assert (table.schema.features, table.features.tolist()) == (("a", "b"), [[1.5, 2], [0, -1]])
    table = read(tmp_path, "u1,1,a:1;b:2;\n", input_format="tag", tag_with_value=True, head=False, label="y")
    assert (table.require_label().tolist(), table.features.tolist()) == ([1], [[1, 2]])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1 x:1", "'x' is no index"),
        ("1 1:oops", "1 holds 'oops'"),
        ("1 1:1 1:2", "1 is there twice"),
        ("a b c 1:1", "more than an id and a label"),
        ("1 2:", "2 holds ''"),
        ("1 1:1 7", "'7' is no feature and value"),
    ],
)
def test_bad_lines_are_named_or_skipped(tmp_path: Path, line: str, words: str) -> None:
    data = f"1 1:1\n{line}\n0 2:1\n"
    with pytest.raises(DataError, match=f"line 2: .*{words}"):
        read(tmp_path, data, input_format="svmlight", missing=("x",))
    assert len(read(tmp_path, data, input_format="svmlight", on_bad_row="skip", missing=("x",))) == 2


def test_features_are_bounded_while_the_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("".join(f"1 {i}:1\n" for i in range(50)))
    order = Order(folder=tmp_path / "o", path=path, form=Format(input_format="svmlight"), max_columns=40)
    with pytest.raises(DataError, match=r"more than 40 features by line 41.*data\.max_columns"):
        ingest(order, lambda *_: None)


def test_a_feature_may_not_be_called_as_the_id(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="called as the id"):
        read(tmp_path, "u1,id\n", input_format="tag", head=False)


def test_many_rows_come_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse, "ROWS_BYTES", 200)
    table = read(tmp_path, "".join(f"1 {i % 3}:{i + 1}\n" for i in range(100)), input_format="svmlight")
    assert len(table) == 100
    assert table.features.sum() == 5050
