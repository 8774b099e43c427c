from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from partyd.data.table import Schema, Table
from partyd.errors import DataError


def made(rows: int = 3) -> Table:
    return Table(
        schema=Schema(rows=rows, match_id="phone", label="y", weight="w", features=("a", "b")),
        ids=np.array([f"u{i}".encode() for i in range(rows)]),
        match_ids=np.array([f"p{i}".encode() for i in range(rows)]),
        label=np.arange(rows, dtype=np.float64),
        weight=np.ones(rows),
        features=np.arange(2.0 * rows).reshape(rows, 2),
    )


def test_a_table_is_read_back_as_it_was(tmp_path: Path) -> None:
    table = made()
    table.save(tmp_path / "t")
    back = Table.load(tmp_path / "t")
    assert back.schema == table.schema
    assert back.digest() == table.digest()
    assert isinstance(back.features, np.memmap)
    assert back.matching.tolist() == [b"p0", b"p1", b"p2"]


def test_a_saved_table_is_linked_and_a_part_of_it_is_not(tmp_path: Path) -> None:
    made().save(tmp_path / "t")
    back = Table.load(tmp_path / "t")
    back.save(tmp_path / "whole")
    back.take(np.array([2, 0])).save(tmp_path / "part")
    assert (tmp_path / "whole/ids.npy").stat().st_ino == (tmp_path / "t/ids.npy").stat().st_ino
    assert (tmp_path / "part/ids.npy").stat().st_ino != (tmp_path / "t/ids.npy").stat().st_ino
    assert Table.load(tmp_path / "part").ids.tolist() == [b"u2", b"u0"]


def test_a_slice_of_a_mapped_column_is_written_as_it_is(tmp_path: Path) -> None:
    made().save(tmp_path / "t")
    back = Table.load(tmp_path / "t")
    cut = Table(Schema(rows=2), back.ids[:2], back.features[:2, :0])
    cut.save(tmp_path / "cut")
    assert Table.load(tmp_path / "cut").ids.tolist() == [b"u0", b"u1"]


def test_saving_over_a_table_leaves_its_links_alone(tmp_path: Path) -> None:
    made().save(tmp_path / "t")
    Table.load(tmp_path / "t").save(tmp_path / "link")
    made(5).save(tmp_path / "t")
    assert len(Table.load(tmp_path / "link")) == 3
    assert len(Table.load(tmp_path / "t")) == 5


def test_the_digest_follows_every_column_and_name() -> None:
    table = made()
    other = table.with_features(("a", "c"), table.features)
    changed = table.with_features(("a", "b"), table.features + 1)
    assert len({table.digest(), other.digest(), changed.digest()}) == 3


def test_columns_of_other_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="differ in length"):
        Table(Schema(rows=2), np.array([b"a"]), np.zeros((2, 0)))
    with pytest.raises(DataError, match="feature names"):
        Table(Schema(rows=1, features=("a",)), np.array([b"a"]), np.zeros((1, 2)))


def test_a_missing_label_is_named() -> None:
    with pytest.raises(DataError, match="label"):
        Table(Schema(rows=1), np.array([b"a"]), np.zeros((1, 0))).require_label()


@pytest.mark.parametrize("damage", ["gone", "schema", "column", "object"])
def test_a_damaged_table_is_named(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "t"
    if damage != "gone":
        made().save(folder)
    if damage == "schema":
        (folder / "schema.json").write_text("{")
    if damage == "column":
        (folder / "ids.npy").write_bytes(b"x")
    if damage == "object":
        np.save(folder / "ids.npy", np.array([{}, {}, {}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="upload it again"):
        Table.load(folder)
