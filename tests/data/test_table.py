from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from partyd.data.schema import anonymous_names
from partyd.data.table import Schema, Table
from partyd.errors import DataError
from partyd.types import Address, Role

OLD_DIGEST = "9ce2629bceea46d8a773a03a2632acdded5c2f45dc48d8fa4557972441262e18"
"""What version 0.1.0 said of `made`: checkpoints and audit logs hold digests, so they must not change."""


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


def test_digests_of_earlier_versions_still_hold(tmp_path: Path) -> None:
    assert made().digest().hex() == OLD_DIGEST
    made().save(tmp_path / "t")
    old = '{"rows":3,"sample_id":"id","match_id":"phone","label":"y","weight":"w","features":["a","b"]}'
    (tmp_path / "t" / "schema.json").write_text(old)
    assert Table.load(tmp_path / "t").digest().hex() == OLD_DIGEST


def test_what_is_said_of_columns_goes_with_them() -> None:
    schema = Schema(rows=3, features=("a", "b"), types={"a": "int32", "b": "int32"}, missing={"a": 1})
    table = Table(schema, np.array([b"u", b"v", b"w"]), np.zeros((3, 2)))
    part = table.with_features(("b",), np.zeros((3, 1)))
    assert (part.schema.types, part.schema.missing) == ({"b": "int32"}, {})
    assert table.take(np.array([0])).schema.missing == {}
    assert table.digest() != Table(Schema(rows=3, features=("a", "b")), table.ids, table.features).digest()


def test_anonymous_names_say_whose_and_which_alone() -> None:
    assert anonymous_names(Schema(rows=0, features=("age", "income")), Address("10000", Role.GUEST)) == (
        "guest_10000_x0",
        "guest_10000_x1",
    )
