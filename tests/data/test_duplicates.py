"""Repeated sample ids: found whatever their width and number, named by line, refused or dropped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partyd.data import duplicates, text
from partyd.data.duplicates import IdHashes, hashed
from partyd.data.formats import Format
from partyd.data.ingest import read_file
from partyd.data.npy import IdFile
from partyd.errors import DataError

IDS = st.binary(min_size=1, max_size=20).filter(lambda word: b"\0" not in word)


def repeated(folder: Path, blocks: list[list[bytes]]) -> list[int]:
    hashes, ids = IdHashes(folder / "hashes"), IdFile(folder / "ids.npy")
    for block in blocks:
        array = np.array(block, dtype=np.bytes_)
        hashes.append(array)
        ids.append(array)
    ids.finish()
    rows = sorted(int(row) for part in hashes.repeated(folder / "ids.npy") for row in part)
    hashes.close()
    return rows


@settings(max_examples=100, deadline=None)
@given(blocks=st.lists(st.lists(IDS, min_size=1), min_size=1), small=st.booleans())
def test_every_repetition_is_found_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[list[bytes]], small: bool
) -> None:
    ids = [one for block in blocks for one in block]
    wanted = [i for i, one in enumerate(ids) if one in ids[:i]]
    with pytest.MonkeyPatch.context() as patch:
        if small:
            patch.setattr(duplicates, "PART_BYTES", 24)
        assert repeated(tmp_path_factory.mktemp("ids"), blocks) == wanted


def test_hashes_do_not_depend_on_the_width_of_the_column() -> None:
    words = [b"a", b"abcdefgh", b"abcdefghi"]
    wide = hashed(np.array(words, dtype="S40"))
    assert [int(hashed(np.array([word]))[0]) for word in words] == wide.tolist()
    assert len(set(wide.tolist())) == 3


def test_ids_whose_hashes_meet_are_still_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "hashed", lambda ids: np.zeros(len(ids), dtype=np.uint64))
    assert repeated(tmp_path, [[b"a", b"b"], [b"c", b"b", b"a"]]) == [3, 4]


def written(folder: Path) -> Path:
    path = folder / "t.csv"
    path.write_text("id,y,a\nu1,1,1\n\nu2,0,2\nu1,1,\nu3,0,4\nu2,0,\n")
    return path


def test_repeated_ids_are_refused_by_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "BLOCK_BYTES", 12)
    with pytest.raises(DataError, match=r"line 5: the sample id 'u1' has come before; line 7: .*'u2'.*extend_sid"):
        read_file(written(tmp_path), Format(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_first_of_each_may_be_kept(tmp_path: Path) -> None:
    table, kept = read_file(written(tmp_path), Format(on_duplicate="skip"), tmp_path / "out")
    assert table.ids.tolist() == [b"u1", b"u2", b"u3"]
    assert table.features[:, 0].tolist() == [1, 2, 4]
    assert table.require_label().tolist() == [1, 0, 0]
    assert (kept.bad_rows, table.schema.missing, table.digest().hex()) == (2, {}, kept.digest)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "features.npy",
        "ids.npy",
        "label.npy",
        "schema.json",
    ]
