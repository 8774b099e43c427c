"""CSV: the fast reader against the plain one, headers, ids, missing values, encodings, and what it says of bad rows."""

from __future__ import annotations

import gzip
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partyd.data import dense, text
from partyd.data.formats import Format
from partyd.data.ingest import read_file
from partyd.data.orders import Kept
from partyd.data.table import Table
from partyd.errors import DataError
from tests.data.simple_csv import read_simply

TEXT = "id,y,a,b\nu1,1,0.5,x\nu2,0,NA,2\nu3,1,3,4\n"
SKIP = {"on_bad_row": "skip"}


def read(folder: Path, data: str | bytes, **said: object) -> tuple[Table, Kept]:
    path = folder / "t.csv"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return read_file(path, Format.model_validate(said), folder / f"out{len(list(folder.iterdir()))}")


def refused(folder: Path, data: str | bytes, **said: object) -> str:
    with pytest.raises(DataError) as error:
        read(folder, data, **said)
    assert not list(folder.glob("out*"))
    return str(error.value)


def test_columns_are_found_by_their_usual_names(tmp_path: Path) -> None:
    table, kept = read(tmp_path, TEXT.replace("x", "1"))
    assert (table.schema.sample_id, table.schema.label, table.schema.features) == ("id", "y", ("a", "b"))
    assert table.ids.tolist() == [b"u1", b"u2", b"u3"]
    assert table.require_label().tolist() == [1, 0, 1]
    assert np.isnan(table.features[1, 0])
    assert (kept.count, kept.bad_rows, kept.skipped, table.schema.missing) == (3, 0, (), {"a": 1})
    assert table.digest().hex() == kept.digest


def test_bad_rows_are_counted_named_and_refused_or_skipped(tmp_path: Path) -> None:
    said = refused(tmp_path, TEXT + "u4,1\n")
    assert "line 2: b holds 'x', which is no number; line 5: 2 columns instead of 4" in said
    assert "--bad-rows skip" in said
    table, kept = read(tmp_path, TEXT + "u4,1\n", **SKIP)
    assert table.ids.tolist() == [b"u2", b"u3"]
    assert (kept.bad_rows, len(kept.skipped)) == (2, 2)


def test_only_the_first_twenty_bad_rows_are_named(tmp_path: Path) -> None:
    rows = "".join(f"u{i},oops\n" for i in range(100))
    assert "line 21: x holds 'oops', which is no number and 80 more" in refused(tmp_path, "id,x\n" + rows)
    _, kept = read(tmp_path, "id,x\nok,1\n" + rows, **SKIP)
    assert (kept.bad_rows, len(kept.skipped)) == (100, 20)


def test_match_id_weight_and_delimiter(tmp_path: Path) -> None:
    table, _ = read(tmp_path, "sid;phone;w;a\n1;p;2;3\n", delimiter=";", match_id="phone", weight="w")
    assert (table.matching.tolist(), table.schema.features) == ([b"p"], ("a",))
    assert table.weight is not None
    assert table.weight.tolist() == [2]


@pytest.mark.parametrize("name", ["tab", "\\t", "\t", "space", "|"])
def test_delimiters_may_be_named(tmp_path: Path, name: str) -> None:
    mark = {"tab": "\t", "\\t": "\t", "space": " "}.get(name, name)
    table, _ = read(tmp_path, f"id{mark}a\n1{mark}2\n", delimiter=name)
    assert table.features.tolist() == [[2]]


def test_a_file_without_a_header_gets_one_or_is_told_one(tmp_path: Path) -> None:
    table, _ = read(tmp_path, "a,1,2\nb,3,4\n", head=False)
    assert (table.schema.sample_id, table.schema.features, len(table)) == ("id", ("x0", "x1"), 2)
    table, _ = read(tmp_path, "1,a,2\n3,b,4\n", head=False, header=("y", "id", "age"))
    assert (table.schema.label, table.schema.features, table.ids.tolist()) == ("y", ("age",), [b"a", b"b"])


def test_ids_of_our_making_leave_the_files_id_to_match_on(tmp_path: Path) -> None:
    table, _ = read(tmp_path, "id,a\nu1,1\nu1,2\n", extend_sid=True, match_id="id", sample_id="id", guess=False)
    assert (table.schema.sample_id, table.schema.match_id) == ("extend_sid", "id")
    assert table.matching.tolist() == [b"u1", b"u1"]
    assert table.ids.tolist() == [b"0", b"1"]
    table, _ = read(tmp_path, "phone,a\nu1,1\n", extend_sid=True, guess=False)
    assert (table.schema.match_id, table.schema.features) == ("phone", ("a",))


def test_a_match_id_that_is_the_sample_id_is_no_column_of_its_own(tmp_path: Path) -> None:
    table, _ = read(tmp_path, "id,a\nu1,1\n", match_id="id", sample_id="id")
    assert table.match_ids is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("", "header"),
        ("id,id\n", "once"),
        ("id,\nu,1\n", "once"),
        ("id,a\n", "no rows"),
        ("id,a\n,1\n", "line 2: an id"),
        ("id,a\n" + "u" * 300 + ",1\n", "longer than"),
        ("id,a\nu\0,1\n", "NUL"),
        ("id,a\nu,1e999\n", "'1e999', which is no number"),
        ("id,a\nu,1_000\n", "'1_000', which is no number"),
        ("id,a\nu,inf\n", "no number"),
        ("id," + "a" * 2000 + "\nu,1\n", "longer than 1024"),
        (b"id,a\nab\xff,1\n", "line 2, byte 8: this is no utf-8"),
        (b"\xef\xbb\xbfid,a\r\nab\xff,1\r\n", "line 2, byte 12"),
    ],
)
def test_files_without_a_table_are_refused_in_words(tmp_path: Path, data: str | bytes, words: str) -> None:
    assert words in refused(tmp_path, data)


def test_columns_that_are_not_there_or_named_twice(tmp_path: Path) -> None:
    assert "no column 'nope'; its columns are id, y, a, b" in refused(tmp_path, TEXT, label="nope")
    assert "named as two" in refused(tmp_path, TEXT, label="id")
    assert "named as two" in refused(tmp_path, TEXT, weight="y")
    with pytest.raises(DataError, match="cannot be read"):
        read_file(tmp_path / "gone.csv", Format(), tmp_path / "x")


def test_missing_values_have_words_that_may_be_chosen(tmp_path: Path) -> None:
    table, _ = read(tmp_path, "id,a,b\nu1,,NA\nu2,?,nUlL\nu3,nan,n/a\nu4, ,1\n")
    assert np.isnan(table.features).sum() == 7
    table, kept = read(tmp_path, "id,a,b\nu1,-999,2\nu2,3,-999\n", missing=("-999",))
    assert np.isnan(table.features).tolist() == [[True, False], [False, True]]
    assert table.schema.missing == {"a": 1, "b": 1}
    assert kept.table_schema == table.schema


def test_white_space_around_ids(tmp_path: Path) -> None:
    table, _ = read(tmp_path, "id,a\n u1 ,1\n\tu2, 2\n")
    assert table.ids.tolist() == [b"u1", b"u2"]
    table, _ = read(tmp_path, "id,a\n u1 ,1\nu2,2\n", strip_ids=False)
    assert table.ids.tolist() == [b" u1 ", b"u2"]


@pytest.mark.parametrize("encoding", ["latin-1", "gbk", "gb18030", "cp1252", "utf-8"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    name = "中文" if encoding.startswith("gb") else "Müller"
    table, _ = read(tmp_path, f"id,größe\n{name},1\n".replace("größe", "a").encode(encoding), encoding=encoding)
    assert table.ids.tolist() == [name.encode()]


def test_the_wrong_encoding_is_named_with_its_line_and_byte(tmp_path: Path) -> None:
    assert "line 3, byte 10: this is no gbk" in refused(tmp_path, b"id,a\nu,1\n\xff,2\n", encoding="gbk")


@pytest.mark.parametrize("packs", [False, True])
def test_packed_files_are_known_by_their_first_bytes(tmp_path: Path, packs: bool) -> None:
    data = "\ufeffid,a\nä,1\n".encode()
    table, _ = read(tmp_path, gzip.compress(data) if packs else data)
    assert table.ids.tolist() == ["ä".encode()]


def test_a_packed_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    data = gzip.compress(("id,a\n" + "".join(f"u{i},{i}\n" for i in range(10_000))).encode())
    assert "write the file again" in refused(tmp_path, data[:-100])
    assert "write the file again" in refused(tmp_path, data[:200] + b"\0" * 50 + data[250:])


def test_quoted_fields_blank_lines_and_ends_of_line(tmp_path: Path) -> None:
    data = 'id,y,a\r\n\r\n"u,1",1,"2"\r\n\r\n"u ""2""",0,3\r\n"u\r\n3",1,x\r\n'
    table, kept = read(tmp_path, data, **SKIP)
    assert table.ids.tolist() == [b"u,1", b'u "2"']
    assert kept.skipped == ("line 7: a holds 'x', which is no number",)


def test_quotes_may_mean_nothing(tmp_path: Path) -> None:
    table, _ = read(tmp_path, 'id,a\n5",1\nb,2\n', quote="")
    assert table.ids.tolist() == [b'5"', b"b"]


def test_a_quote_that_is_never_closed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(text, "MAX_LINE_BYTES", 5000)
    assert "a quote may be open" in refused(tmp_path, 'id,a\n"u1,1\n' + "u,2\n" * 3000)


def test_whole_numbers_are_refused_fractions(tmp_path: Path) -> None:
    said = refused(tmp_path, "id,y,a,b\nu,1,1,1.5\nv,0.5,2,2\n", dtype={"a": "int"}, label_type="int32")
    assert "line 3: y holds 0.5, which is no whole number as int32 says" in said
    table, _ = read(tmp_path, "id,y,a,b\nu,1,1,1.5\n", dtype={"a": "int", "b": "float"}, label_type="int32")
    assert (table.schema.types, table.schema.label_type) == ({"a": "int64"}, "int32")


def test_features_may_lie_there_as_float32(tmp_path: Path) -> None:
    table, kept = read(tmp_path, "id,a\nu,0.1\n", storage="float32")
    assert table.features.dtype == np.float64
    assert table.features[0, 0] == np.float32(0.1)
    assert table.digest().hex() == kept.digest
    assert (np.load(next(tmp_path.glob("out*")) / "features.npy")).dtype == np.float32


@pytest.mark.parametrize("lengths", [(1, 2, 3), (256, 1, 256), (4, 90, 256, 3)])
def test_ids_of_any_length_and_many_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lengths: Sequence[int]
) -> None:
    monkeypatch.setattr(text, "BLOCK_BYTES", 300)
    ids = [f"{i:04d}".ljust(lengths[i % len(lengths)], "x")[: max(4, lengths[i % len(lengths)])] for i in range(200)]
    table, _ = read(tmp_path, "id,a\n" + "".join(f"{name},{i}\n" for i, name in enumerate(ids)))
    assert [name.decode() for name in table.ids.tolist()] == ids
    assert table.features[:, 0].tolist() == list(range(200))


def test_too_many_columns_are_refused(tmp_path: Path) -> None:
    names = ",".join(f"x{i}" for i in range(10_000))
    assert "at most 10000 are taken (data.max_columns)" in refused(tmp_path, f"id,{names}\n")


CELLS = st.sampled_from(
    ["1", "-2.5", "1e3", "0.1", "", "NA", " 7 ", "oops", "1_0", "nan", "-0", "inf", "1e-320", '"4"', "007", "１"]
)
IDS = st.sampled_from(["a", "b", "id_1", " c ", "d\u00e9", "", '"q,r"', "x" * 256, "y" * 257, "z "])
ROWS = st.lists(st.tuples(IDS, st.lists(CELLS, min_size=1, max_size=4)), max_size=12)


@settings(max_examples=150, deadline=None)
@given(rows=ROWS, block=st.integers(5, 200), blank=st.booleans(), end=st.sampled_from(["\n", "\r\n"]))
def test_the_fast_reader_agrees_with_the_plain_one(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, list[str]]], block: int, blank: bool, end: str
) -> None:
    folder = tmp_path_factory.mktemp("csv")
    lines = ["id,y,a,b", *(",".join([name, *cells]) for name, cells in rows)]
    path = folder / "t.csv"
    path.write_bytes(((end * (1 + blank)).join(lines) + end).encode())
    form = Format(on_bad_row="skip")
    simple = read_simply(path, form)
    kept_rows = list(dict.fromkeys(simple.ids))
    both = form.model_copy(update={"on_duplicate": "skip"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "BLOCK_BYTES", block)
        if not simple.ids:
            with pytest.raises(DataError, match="no rows"):
                read_file(path, both, folder / "out")
            return
        table, kept = read_file(path, both, folder / "out")
    firsts = [simple.ids.index(name) for name in kept_rows]
    assert table.ids.tolist() == kept_rows
    assert kept.bad_rows == len(simple.bad_lines) + len(simple.ids) - len(kept_rows)
    for got, want in zip(table.features.tolist(), [simple.numbers[i] for i in firsts], strict=True):
        assert all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(got, want, strict=True))
    assert table.digest().hex() == kept.digest


def test_well_formed_blocks_do_not_go_row_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense.DenseRows, "_read_by_row", lambda *_: pytest.fail("went row by row"))
    table, _ = read(tmp_path, "id,y,a\n" + "".join(f"u_{i},{i % 2},{i}.25\n" for i in range(1000)))
    assert table.features.sum() == sum(i + 0.25 for i in range(1000))


@pytest.mark.parametrize("content", ['"' + "x" * (1 << 18) + '"\n', 'id,a\n1,"' + "x" * (1 << 18) + '"\n'])
def test_a_field_beyond_all_bounds_is_named_by_its_line(tmp_path: Path, content: str) -> None:
    with pytest.raises(DataError, match=r"line \d+: field larger than field limit"):
        read(tmp_path, content)
