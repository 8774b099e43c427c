"""Ids: the same bytes at every party, whatever the file's encoding and the order of its columns."""

from __future__ import annotations

import itertools
import json
import sqlite3
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partyd.components.simulate import Seat
from partyd.data.fate_meta import Meta, form_of
from partyd.data.formats import Format
from partyd.data.ids import composite, read_id
from partyd.data.ingest import ingest, read_file
from partyd.data.orders import Order
from partyd.data.table import Table
from partyd.errors import DataError
from tests.components.tables import G, H, task

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)


def uploaded(folder: Path, text: str, encoding: str = "utf-8", **meta: Any) -> Table:
    """Read a file as an upload with FATE's meta does."""
    folder.mkdir(parents=True)
    (folder / "file.csv").write_bytes(text.encode(encoding))
    form = form_of(Meta.model_validate({**meta, "encoding": encoding}), head=True, extend_sid=False)
    return read_file(folder / "file.csv", form, folder / "table")[0]


def read(folder: Path, text: str, **form: Any) -> Table:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "file.csv").write_text(text, encoding="utf-8", newline="")
    return read_file(folder / "file.csv", Format.model_validate({"guess": False, **form}), folder / "table")[0]


# -- the bytes


@given(st.lists(TEXTS, min_size=2, max_size=4), st.lists(TEXTS, min_size=2, max_size=4))
def test_different_lists_of_texts_make_different_ids(first: list[str], second: list[str]) -> None:
    encoded = [[text.encode() for text in texts] for texts in (first, second)]
    assert (composite(encoded[0]) == composite(encoded[1])) is (first == second)


def test_the_form_is_what_the_documentation_says() -> None:
    assert composite([b"19800101", b"Ann"]) == b"8:198001013:Ann"
    assert composite([b"Ann"]) == b"Ann"
    assert composite([read_id(" 张三 ".encode(), True), b"007"]) == b"6:" + "张三".encode() + b"3:007"
    with pytest.raises(ValueError, match="longer than 256"):
        composite([b"x" * 200, b"y" * 60])


def test_equal_texts_are_equal_however_they_are_composed() -> None:
    decomposed = unicodedata.normalize("NFD", "Zoë")
    assert read_id(decomposed.encode(), True) == read_id("Zoë".encode(), True) == "Zoë".encode()
    assert read_id(b"\xff\xfe", True) == b"\xff\xfe"


# -- columns


CSV = "sid,kind,number,x,y\ns1,ID,123,1,0\ns2,PASS,77,2,1\n"


def test_a_list_without_a_name_is_one_id_and_a_name_chooses_one(tmp_path: Path) -> None:
    both = read(tmp_path / "a", CSV, sample_id="sid", match_id_list=("kind", "number"), label="y")
    assert (both.schema.match_id, both.schema.features) == ("kind+number", ("x",))
    assert both.matching.tolist() == [b"2:ID3:123", b"4:PASS2:77"]
    turned = read(tmp_path / "b", CSV, sample_id="sid", match_id_list=("number", "kind"), label="y")
    assert turned.matching.tolist() == [b"3:1232:ID", b"2:774:PASS"]
    one = read(tmp_path / "c", CSV, sample_id="sid", match_id_list=("kind", "number"), match_id="number", label="y")
    assert (one.schema.match_id, one.schema.features, one.matching.tolist()) == ("number", ("x",), [b"123", b"77"])
    ranged = read(tmp_path / "d", CSV, sample_id="sid", match_id_range=2, label="y")
    assert ranged.matching.tolist() == both.matching.tolist()
    lone = read(tmp_path / "e", CSV.replace("ID", "1").replace("PASS", "2"), sample_id="sid", match_id_list=("number",))
    assert (lone.matching.tolist(), lone.schema.features) == ([b"123", b"77"], ("kind", "x", "y"))


def test_made_sample_ids_leave_the_listed_columns(tmp_path: Path) -> None:
    text = "kind,number,x\nID,1,5\nID,2,6\n"
    for name, form in (("a", {"match_id_list": ("kind", "number")}), ("b", {"match_id_range": 2})):
        table = read(tmp_path / name, text, extend_sid=True, **form)
        assert table.matching.tolist() == [b"2:ID1:1", b"2:ID1:2"]
        assert (table.schema.sample_id, table.schema.features) == ("extend_sid", ("x",))


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"match_id_list": ("kind", "nowhere")}, "no column 'nowhere'"),
        ({"match_id_list": ("kind", "number"), "match_id": "x"}, "none of the listed"),
        ({"match_id_list": ("kind", "y"), "label": "y"}, "named as two"),
        ({"match_id_range": 9}, "no 9 columns"),
        ({"match_id_list": ("kind", "number"), "input_format": "tag"}, "one id"),
    ],
)
def test_columns_that_cannot_be_ids_are_named(tmp_path: Path, form: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        read(tmp_path, CSV, sample_id="sid", **form)


def test_an_empty_or_long_part_is_a_bad_row_by_both_readers(tmp_path: Path) -> None:
    for i, quote in enumerate(("", '"')):
        text = f"sid,kind,number,x\n{quote}s1{quote},ID,,1\ns2,{'k' * 200},{'n' * 60},2\ns3,ID,3,3\n"
        form = {"sample_id": "sid", "match_id_list": ("kind", "number"), "on_bad_row": "skip"}
        table = read(tmp_path / str(i), text, **form)
        assert table.matching.tolist() == [b"2:ID1:3"]
        with pytest.raises(DataError, match="line 2: an id is empty"):
            read(tmp_path / f"r{i}", text, **{**form, "on_bad_row": "refuse"})


def test_both_readers_of_text_and_a_database_make_the_same_ids(tmp_path: Path) -> None:
    rows = [("s1", "Zoë", 7), ("s2", unicodedata.normalize("NFD", "Zoë"), 12)]
    text = "sid,name,number,x\n" + "".join(f"{sid}, {name} ,{number},1\n" for sid, name, number in rows)
    form = {"sample_id": "sid", "match_id_list": ("name", "number")}
    plain = read(tmp_path / "plain", text, **form)
    quoted = read(tmp_path / "quoted", text.replace("s1", '"s1"'), **form)
    file = tmp_path / "a.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE t (sid TEXT, name TEXT, number INTEGER, x REAL)")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, 1.0)", rows)
    connection.close()
    pytest.importorskip("sqlalchemy")
    order = Order(
        folder=tmp_path / "sql",
        url=f"sqlite:///{file}",
        table="t",
        form=Format.model_validate({"guess": False, **form}),
    )
    ingest(order, lambda *_: None)
    stored = Table.load(tmp_path / "sql")
    want = [b"4:" + "Zoë".encode() + b"1:7", b"4:" + "Zoë".encode() + b"2:12"]
    assert plain.matching.tolist() == quoted.matching.tolist() == stored.matching.tolist() == want


# -- through upload and intersection


def test_parties_with_other_encodings_and_orders_of_columns_find_each_other(tmp_path: Path) -> None:
    people = [("张三", "19800101"), ("李四", "19900202"), ("王五", "19750303"), ("张", "三19800101")]
    guest = "sid,姓名,生日,x,y\n" + "".join(f"g{i},{n},{b},{i},{i % 2}\n" for i, (n, b) in enumerate(people))
    ours = uploaded(tmp_path / "g", guest, sample_id_name="sid", match_id_list=["姓名", "生日"], label_name="y")
    theirs = [("19900202", "李四"), ("19800101", "张三"), ("19800101", "王五"), ("99", "张")]
    host = "born,z,name,row\n" + "".join(f"{b},{10 * i}, {n},h{i}\n" for i, (b, n) in enumerate(theirs))
    other = uploaded(tmp_path / "h", host, "gbk", sample_id_name="row", match_id_list=["name", "born"], dtype="float64")
    assert (ours.schema.features, other.schema.features) == (("x",), ("z",))
    inputs = {G: tmp_path / "g" / "table", H: tmp_path / "h" / "table"}
    done = task("psi", {p: Seat(inputs={"input_data": path}) for p, path in inputs.items()}, tmp_path / "out")
    mine, found = (Table.load(done.outputs[p] / "output_data") for p in (G, H))
    pairs = dict(zip(mine.ids.tolist(), found.ids.tolist(), strict=True))
    assert pairs == {b"g0": b"h1", b"g1": b"h0"}
    assert np.array_equal(np.sort(found.features[:, 0]), [0, 10])
    digests = [json.loads((path / "schema.json").read_bytes())["match_id"] for path in inputs.values()]
    assert digests == ["姓名+生日", "name+born"]


def test_every_order_of_the_files_columns_gives_the_same_ids(tmp_path: Path) -> None:
    cells = {"sid": ["a", "b"], "kind": ["K", "L"], "number": ["1", "2"]}
    found = set()
    for i, names in enumerate(itertools.permutations(cells)):
        lines = [",".join(names), *(",".join(cells[name][row] for name in names) for row in range(2))]
        table = read(tmp_path / str(i), "\n".join(lines) + "\n", sample_id="sid", match_id_list=("kind", "number"))
        found.add(tuple(table.matching.tolist()))
    assert found == {(b"1:K1:1", b"1:L1:2")}
