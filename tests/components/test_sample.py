"""sample as a task, and its draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from partyd.algorithms.sample import Drawable, Drawn, SampleParams, draw, insist_on_drawn
from partyd.components.simulate import Seat
from partyd.crypto.prg import Prg
from partyd.errors import BadValue, DataError
from partyd.types import GUEST, HOST
from tests.components.tables import G, H, document, output, saved, table, task

IDS = [f"u{i:03d}" for i in range(100)]
LABEL = [1.0] * 40 + [0.0] * 60
SEED = bytes(32)


def drawn(rows: int = 100, label: list[float] | None = None, **params: object) -> list[int]:
    known = None if label is None else np.array(label)
    return draw(SampleParams.model_validate(params), Drawable(rows, known), Prg(SEED, "t")).tolist()


@pytest.mark.parametrize(
    ("params", "count", "distinct"),
    [
        ({}, 100, True),
        ({"frac": 0.25}, 25, True),
        ({"frac": 0.001}, 1, True),
        ({"n": 7}, 7, True),
        ({"n": 300, "replace": True}, 300, False),
        ({"frac": 2.5, "replace": True}, 250, False),
        ({"frac": {"0": 0.5}}, 70, True),
        ({"frac": {0: 0.5, 1: 0.1}}, 34, True),
        ({"frac": {1: 2.0}, "replace": True}, 140, False),
        ({"frac": None, "n": None, "random_state": None}, 100, True),
    ],
)
def test_as_many_rows_as_asked_for(params: dict[str, object], count: int, distinct: bool) -> None:
    positions = drawn(label=LABEL, **params)
    assert len(positions) == count
    assert positions == sorted(positions)
    assert (len(set(positions)) == count) is distinct


def test_a_share_of_each_label() -> None:
    positions = drawn(label=LABEL, frac={0: 0.5, 1: 0.1})
    assert sum(i < 40 for i in positions) == 4
    assert sum(i >= 40 for i in positions) == 30


@pytest.mark.parametrize(
    ("params", "rows", "message"),
    [
        ({"n": 101}, 100, "101 rows cannot be drawn from 100"),
        ({"n": 1, "replace": True}, 0, "no rows"),
        ({"frac": {3: 0.5}}, 100, "the label 3"),
    ],
)
def test_what_cannot_be_drawn_is_said(params: dict[str, object], rows: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        drawn(rows, LABEL[:rows], **params)
    with pytest.raises(DataError, match="needs labels"):
        drawn(frac={0: 0.5})


@pytest.mark.parametrize(
    "bad", [{"n": 1, "frac": 0.5}, {"frac": 1.5}, {"frac": {0: 2.0}}, {"n": 0}, {"frac": -1}, {"fraction": 0.5}]
)
def test_bad_parameters_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SampleParams.model_validate(bad)


@pytest.mark.parametrize("positions", [[1, 0], [0, 0], [-1, 0], [3], [[0, 1]]])
def test_a_host_refuses_other_positions(positions: list[int]) -> None:
    with pytest.raises(BadValue):
        insist_on_drawn(np.array(positions), 3, replace=False)
    insist_on_drawn(np.array([0, 0, 2]), 3, replace=True)


def test_hosts_take_the_guests_rows_and_learn_positions_alone(tmp_path: Path) -> None:
    guest = saved(tmp_path, "g", table(IDS, {"x": range(100)}, LABEL))
    host = saved(tmp_path, "h", table(IDS, {"z": range(100)}))
    params = {"frac": {0: 0.5, 1: 1.5}, "replace": True}
    done = task("sample", {p: Seat(params, {"input_data": i}) for p, i in ((G, guest), (H, host))}, tmp_path)
    ours, theirs = output(done, G), output(done, H)
    assert ours.features.tolist() == theirs.features.tolist()
    assert ours.ids.tolist() == theirs.ids.tolist()
    assert len(np.unique(ours.ids)) == len(ours) == 90
    assert document(done, G) == {
        "total": {"original_count": 100, "sampled_count": 90},
        "0": {"original_count": 60, "sampled_count": 30},
        "1": {"original_count": 40, "sampled_count": 60},
    }
    assert document(done, H) == {"total": {"original_count": 100, "sampled_count": 90}}
    assert done.transcript.kinds(to=HOST) == {Drawn}
    assert not done.transcript.select(to=GUEST)


def test_a_draw_by_label_does_not_follow_the_state_that_hosts_know(tmp_path: Path) -> None:
    guest = saved(tmp_path, "g", table(IDS, {"x": range(100)}, LABEL))
    host = saved(tmp_path, "h", table(IDS, {"z": range(100)}))

    def rows(name: str, seed: bytes, **params: object) -> list[bytes]:
        seats = {p: Seat({"random_state": 7} | params, {"input_data": i}) for p, i in ((G, guest), (H, host))}
        ids: list[bytes] = output(task("sample", seats, tmp_path / name, seed=seed), G).ids.tolist()
        return ids

    assert rows("a", b"1", n=50) == rows("b", b"2", n=50)
    assert rows("c", b"1", frac={0: 0.5}) != rows("d", b"2", frac={0: 0.5})


def test_alone_nothing_is_exchanged(tmp_path: Path) -> None:
    params = {"n": 1000, "replace": True, "hetero_sync": False}
    done = task(
        "sample", {H: Seat(params, {"input_data": saved(tmp_path, "h", table(IDS, {"z": range(100)}))})}, tmp_path
    )
    assert len(output(done, H)) == 1000
    assert not done.transcript.sent


def test_hosts_of_another_size_are_named(tmp_path: Path) -> None:
    guest, host = table(IDS, {"x": range(100)}, LABEL), table(IDS[:9], {"z": range(9)})
    seats = {
        party: Seat({"n": 5}, {"input_data": saved(tmp_path, party.role.label, rows)})
        for party, rows in ((G, guest), (H, host))
    }
    with pytest.raises(ExceptionGroup) as caught:
        task("sample", seats, tmp_path)
    assert caught.group_contains(DataError, match="this host has 9")


def test_weights_and_match_ids_go_with_their_rows(tmp_path: Path) -> None:
    weight = [float(i) for i in range(100)]
    rows = table(IDS, {"x": weight}, LABEL, match=[f"m{i:03d}" for i in range(100)], weight=weight)
    seat = Seat({"n": 120, "replace": True, "hetero_sync": False}, {"input_data": saved(tmp_path, "in", rows)})
    found = output(task("sample", {G: seat}, tmp_path), G)
    assert found.weight is not None
    assert found.weight.tolist() == found.features[:, 0].tolist()
    assert [int(i[1:]) for i in found.matching.tolist()] == found.weight.tolist()
