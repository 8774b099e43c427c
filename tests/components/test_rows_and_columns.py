"""Names of columns, repeated sample ids, several tables at a port, floors: what components share."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partyd.components import COMPONENTS
from partyd.components.base import Kind, Port, TaskContext, stored_tables
from partyd.components.columns import column, named
from partyd.components.limits import Limits
from partyd.components.rows import distinct, occurrence, with_distinct_ids
from partyd.components.simulate import Seat, simulate_task
from partyd.data.table import Table
from partyd.errors import BelowFloor, DataError, TaskFailed
from partyd.types import GUEST
from tests.components.tables import G, document, output, saved, table, task

ROWS = table(["a", "b"], {"x": [1, 2], "y": [3, float("nan")]})


def test_columns_by_name_and_by_what_others_call_them() -> None:
    assert named(ROWS, ["y"], G, "p", anonymous=False) == ("y",)
    assert named(ROWS, ["guest_10000_x1", "guest_10000_x0"], G, "p", anonymous=True) == ("y", "x")
    assert column(ROWS, "x").tolist() == [1, 2]
    for names, anonymous in ((["z"], False), (["x"], True), (["guest_10000_x0"], False)):
        with pytest.raises(DataError, match=f"p names '{names[0]}'"):
            named(ROWS, names, G, "p", anonymous=anonymous)


@given(st.lists(st.sampled_from(["a", "b", "a_1", "a_1_1", "ccc"]), max_size=12))
def test_ids_become_distinct_and_the_first_ones_stay(texts: list[str]) -> None:
    ids = np.array([text.encode() for text in texts], dtype="S5")
    found = distinct(ids).tolist()
    assert len(set(found)) == len(found)
    seen = set()
    for before, after in zip(ids.tolist(), found, strict=True):
        if before not in seen and before not in found[: len(seen)]:
            assert after.startswith(before)
        seen.add(before)
    assert occurrence(ids).tolist() == [texts[:i].count(text) for i, text in enumerate(texts)]


def test_a_table_of_distinct_ids_is_left_alone() -> None:
    assert with_distinct_ids(ROWS) == (ROWS, 0)
    again, changed = with_distinct_ids(replace(ROWS, ids=np.array([b"a", b"a"])))
    assert (again.ids.tolist(), changed) == ([b"a", b"a_1"], 1)


def test_several_tables_of_a_port_are_read_in_order(tmp_path: Path) -> None:
    one, other = saved(tmp_path, "one", ROWS), tmp_path / "several"
    for i in range(12):
        saved(other, str(i), table([str(i)], {"x": [i]}))
    seen: list[tuple[int, ...]] = []

    async def run(context: TaskContext) -> None:
        seen.append(tuple(len(rows) for rows in context.read_tables("in")))
        assert context.producers_of("in") == ()
        for port in ("in", "none"):
            with pytest.raises(TaskFailed):
                context.read_table(port)
        context.write_tables("out", context.read_tables("in")[:2])

    component = replace(COMPONENTS["union"], run=run, inputs=(Port("in", Kind.DATA, GUEST, several=True),))
    done = asyncio.run(simulate_task(component, {G: Seat(inputs={"in": (one, other)})}, tmp_path / "o"))
    assert seen == [(2, *[1] * 12)]
    assert [Table.load(folder).ids[0] for folder in stored_tables(done.outputs[G] / "out")] == [b"a", b"0"]
    assert stored_tables(one) == (one,)
    assert [folder.name for folder in stored_tables(other)] == [str(i) for i in range(12)]


def test_what_a_stage_needs() -> None:
    port = Port("p", Kind.DATA, GUEST, optional=True, needed=("train",))
    assert (port.needed_in("train"), port.needed_in("predict")) == (True, False)
    assert Port("q", Kind.DATA, GUEST).needed_in("predict")


def test_an_uploaded_table_goes_through_the_transformer_as_it_is(tmp_path: Path) -> None:
    uploaded = Table.load(saved(tmp_path, "t", table(["a", "b"], {"x": [1, 2]}, [0, 1])))
    params = {"namespace": "n", "name": "kept", "site_name": None}
    done = task("dataframe_transformer", {G: Seat(params, {"table": tmp_path / "t"})}, tmp_path)
    assert output(done, G, "dataframe_output").digest() == uploaded.digest()
    assert document(done, G) == {"count": 2, "columns": ["x"]}
    assert any("kept is not kept" in line for line in done.reports[G].lines)
    assert not done.transcript.sent


def test_floors_say_what_they_ask_for() -> None:
    limits = Limits(min_rows=10, min_intersection=5, key_bits=3072, min_batch=20)
    for insist, enough, word in (
        (limits.insist_on_rows, 10, "min_rows"),
        (limits.insist_on_intersection, 5, "min_intersection"),
        (limits.insist_on_key, 3072, "key_length"),
        (limits.insist_on_batch, 20, "min_batch"),
    ):
        insist(enough)
        with pytest.raises(BelowFloor, match=word) as caught:
            insist(enough - 1)
        assert caught.value.code == "below_floor"
        if word != "key_length":  # its length is known to all; how much data there is stays here
            assert str(enough - 1) not in str(caught.value)
            assert str(enough - 1) in caught.value.detail
