from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partyd.algorithms.psi_files import BLOCK, SORTED_BYTES, TAG_BYTES, Compared, Tags, ascending, join, ranges
from partyd.crypto.prg import Prg
from partyd.errors import BadValue, TaskFailed

WHOLE, TIGHT = 1 << 28, 40 * SORTED_BYTES


def prg() -> Prg:
    return Prg(bytes(32), "order")


def tags(folder: Path, name: str, words: np.ndarray) -> Tags:
    kept = Tags(folder / name, len(words))
    kept.write(0, words.tobytes())
    return kept


def random_words(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, (count, 2), dtype=np.uint64)


@pytest.mark.parametrize("memory", [WHOLE, TIGHT])
def test_first_rows_are_those_of_each_id(tmp_path: Path, memory: int) -> None:
    values = np.random.default_rng(2).integers(0, 300, 500)
    ids = np.array([f"u{v}".encode() for v in values])
    compared = Compared.of(ids, tmp_path, memory)
    first = np.sort(np.unique(ids, return_index=True)[1])
    assert compared.rows is not None
    assert compared.rows.tolist() == first.tolist()
    assert (len(compared), compared.repeats) == (len(first), 500 - len(first))
    assert compared.take(np.array([0, 1])) == ids[first[:2]].tolist()
    assert list(tmp_path.iterdir()) == []


def test_where_no_id_repeats_positions_are_rows(tmp_path: Path) -> None:
    compared = Compared.of(np.array([b"b", b"a", b"c"]), tmp_path)
    assert compared.rows is None
    assert compared.in_order_of_ids(np.array([0, 1, 2])).tolist() == [1, 0, 2]
    assert len(Compared.of(np.zeros(0, "S1"), tmp_path)) == 0


@pytest.mark.parametrize("memory", [WHOLE, TIGHT])
@pytest.mark.parametrize("count", [0, 1, 1000])
def test_an_order_in_a_file_is_the_streams_permutation(tmp_path: Path, memory: int, count: int) -> None:
    compared = Compared(np.zeros(count, "S1"), tmp_path, memory)
    for _ in range(2):  # made, and read again
        assert compared.order(prg, "order", count).tolist() == prg().permutation(count).tolist()


def test_orders_of_two_attempts_do_not_share_a_file(tmp_path: Path) -> None:
    compared = Compared(np.zeros(50, "S1"), tmp_path)
    one, two = (compared.order(lambda s=s: Prg(bytes([s]) * 32, "order"), "order", 50) for s in (1, 2))
    assert one.tolist() != two.tolist()


@pytest.mark.parametrize("memory", [WHOLE, TIGHT])
def test_join_finds_what_a_dictionary_finds(tmp_path: Path, memory: int) -> None:
    words = random_words(900)
    own, theirs = words[:600], words[300:][np.random.default_rng(3).permutation(600)]
    found = join(tags(tmp_path, "own", own), tags(tmp_path, "theirs", theirs), tmp_path / "places.npy", memory)
    at = {row.tobytes(): i for i, row in enumerate(theirs)}
    assert found.tolist() == [at.get(row.tobytes(), -1) for row in own]


def test_tags_that_agree_in_one_word_are_not_equal(tmp_path: Path) -> None:
    theirs = np.array([[7, 1], [7, 2], [7, 3], [8, 1]], np.uint64)
    own = np.array([[8, 2], [7, 3], [7, 9], [7, 1], [2, 2]], np.uint64)
    found = join(tags(tmp_path, "own", own), tags(tmp_path, "theirs", theirs), tmp_path / "places.npy", WHOLE)
    assert found.tolist() == [-1, 2, -1, 0, -1]


@pytest.mark.parametrize(("own", "theirs"), [(0, 5), (5, 0), (0, 0)])
def test_empty_sets_have_nothing_in_common(tmp_path: Path, own: int, theirs: int) -> None:
    sides = [tags(tmp_path, name, random_words(count)) for name, count in (("own", own), ("theirs", theirs))]
    assert join(*sides, tmp_path / "places.npy", WHOLE).tolist() == [-1] * own


@pytest.mark.parametrize("side", [0, 1])
def test_a_tag_that_stands_twice_is_refused(tmp_path: Path, side: int) -> None:
    both = [random_words(50), random_words(50, 9)]
    both[side][40] = both[side][3]
    sides = [tags(tmp_path, f"{at}", words) for at, words in enumerate(both)]
    with pytest.raises(BadValue, match="same point in two chunks"):
        join(*sides, tmp_path / "places.npy", WHOLE)


def test_a_file_that_is_not_whole_is_noticed(tmp_path: Path) -> None:
    kept = Tags(tmp_path / "own.tags", 3)
    with pytest.raises(TaskFailed, match="rerun"):
        kept.words()
    kept.write(1, bytes(TAG_BYTES))
    with pytest.raises(TaskFailed, match="rerun"):
        kept.words()
    kept.write(2, b"\xff" * TAG_BYTES)
    kept.write(2, bytes(TAG_BYTES))  # the same place again
    assert kept.words().tolist() == [[0, 0]] * 3


@settings(max_examples=50)
@given(st.integers(0, 10**7), st.integers(SORTED_BYTES, 1 << 30))
def test_ranges_cover_every_word_once(count: int, memory: int) -> None:
    bounds = []
    for low, high in ranges(min(count, memory // SORTED_BYTES * 500), memory):
        bounds.append((int(low), int(high)))
    assert bounds[0][0] == 0
    assert bounds[-1][1] == 2**64 - 1
    assert all(one[1] + 1 == two[0] for one, two in pairwise(bounds))


def test_runs_are_as_small_as_the_memory_asks_for() -> None:
    keys = random_words(BLOCK // 64)[:, 0]
    runs = list(ascending(lambda: iter([keys[:100], keys[100:]]), len(keys), len(keys) * SORTED_BYTES // 4))
    assert len(runs) == 4
    assert max(map(len, runs)) < len(keys) // 3
    assert np.concatenate(runs).tolist() == np.argsort(keys, kind="stable").tolist()
